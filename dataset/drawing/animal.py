"""The pet about to be drawn, and the parts that all poses share: head, collar, legs and tail."""

from __future__ import annotations

from dataclasses import dataclass

from dataset.drawing.breeds import INK
from dataset.drawing.chance import Chance, Color, mix, scaled
from dataset.drawing.coats import Pen
from dataset.drawing.heads import Look, cat_front, cat_side, dog_front, dog_side
from dataset.drawing.shapes import Ellipse, Tube, curve

COLLARS: tuple[Color, ...] = (
    (0.80, 0.16, 0.18),
    (0.16, 0.36, 0.72),
    (0.10, 0.55, 0.45),
    (0.93, 0.74, 0.16),
    (0.55, 0.25, 0.60),
)


@dataclass(frozen=True)
class Animal:
    """One pet about to be drawn: its pen, expression and the choices that poses share."""

    pen: Pen
    look: Look
    chance: Chance
    profile: bool  # the head is seen from the side
    collar: Color | None

    @property
    def cat(self) -> bool:
        """Whether this is a cat."""
        return self.pen.coat.breed.species == "cat"

    def head(self, x: float, y: float, size: float = 0.5, tilt: float | None = None) -> None:
        """Draw the head about (x, y), `size` its half width."""
        tilt = self.chance.between(-0.14, 0.14) if tilt is None else tilt
        pen = self.pen.at(x, y, size, tilt)
        if self.cat:
            (cat_side if self.profile else cat_front)(pen, self.look)
        else:
            (dog_side if self.profile else dog_front)(pen, self.look)

    def neckband(self, x: float, y: float, half: float, tilt: float = 0.0) -> None:
        """Draw the collar with its tag, if the pet wears one."""
        if self.collar is None:
            return
        pen = self.pen.at(x, y, 1.0, tilt)
        band = curve((-half, -0.05), (0, 0.20), (half, -0.05), start=0.06, end=0.06, steps=6)
        pen.flat([band], self.collar, relief=0.3)
        pen.flat([Ellipse(0.02, 0.17, 0.085, 0.085)], (0.94, 0.80, 0.35), relief=0.4)

    def leg(self, hip: tuple[float, float], foot: tuple[float, float], width: float, *, far: bool = False) -> None:
        """Draw a leg from the hip (x, y) to the foot, with a paw that points to the right."""
        pen, dim = self.pen, 0.74 if far else 1.0
        knee = ((hip[0] + foot[0]) / 2 - 0.03, (hip[1] + foot[1]) / 2, width * 0.72)
        limb = Tube(((*hip, width), knee, (foot[0], foot[1] - 0.10, width * 0.58)))
        pen.fur([limb], part="leg", anchor=hip, dim=dim)
        self.paw(foot[0] + 0.05, foot[1], width * 0.95, dim)

    def paw(self, x: float, y: float, size: float, dim: float = 1.0) -> None:
        """Draw a paw standing on y."""
        pen, coat = self.pen, self.pen.coat
        own = coat.pale if coat.bib else None
        high = max(0.085, size * 0.62)
        pen.fur([Ellipse(x, y - high, size * 1.12, high)], part="paw", color=own, dim=dim, hair=0.6)
        dark = scaled(mix(coat.base, INK, 0.75), 0.8)
        for k in (-0.3, 0.3):
            toe = Tube(((x + k * size, y - high * 0.95, 0.016), (x + k * size, y - high * 0.25, 0.016)))
            pen.flat([toe], dark, opacity=0.75)

    def tail(self, root: tuple[float, float], *, up: bool) -> None:
        """Draw a tail that leaves to the left."""
        x, y = root
        lift = self.chance.between(0.5, 1.0) if up else self.chance.between(-0.05, 0.15)
        bushy = 1.0 + 0.25 * (self.pen.coat.breed.hair - 1)
        if self.cat:
            sway = self.chance.between(-0.3, 0.4)
            bends = (x, y), (x - 0.55, y + 0.1), (x - 0.75, y - lift), (x - 0.45 + sway, y - lift * 1.45)
            shape = curve(*bends, start=0.13 * bushy, end=0.09 * bushy)
        else:
            shape = curve((x, y), (x - 0.35, y), (x - 0.55, y - lift), start=0.13 * bushy, end=0.05 * bushy, steps=6)
        self.pen.fur([shape], part="tail", anchor=root, hair=1.4)
