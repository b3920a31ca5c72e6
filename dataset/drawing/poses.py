"""Whole pets in their poses; the origin is on the ground below the body, y points down, units are heads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dataset.drawing.animal import Animal
from dataset.drawing.shapes import Ellipse, Tube, curve


def bib(animal: Animal, x: float, y: float, wide: float, high: float) -> None:
    """A pale chest."""
    if animal.pen.coat.bib:
        animal.pen.fur([Ellipse(x, y, wide, high)], color=animal.pen.coat.pale, inside=True)


def sit_front(m: Animal) -> None:
    """Sitting, facing us."""
    pen, hair = m.pen, m.pen.coat.breed.hair
    if m.cat:
        tail = curve(
            (0.25, -0.16),
            (0.95, 0.02),
            (1.15, -0.35),
            (0.85 + m.chance.between(0, 0.3), -0.75),
            start=0.14,
            end=0.09,
        )
        pen.fur([tail], part="tail", anchor=(0.2, -0.2), hair=1.4)
    else:
        wag = m.chance.between(0.3, 0.6)
        pen.fur([curve((0.3, -0.2), (0.8, -0.2), (0.95, -wag), start=0.11, end=0.05)], part="tail", hair=1.4)
    wide = 0.05 * (hair - 1)
    pen.fur([Tube(((0, -1.15, 0.31 + wide), (0, -0.42, 0.47 + wide)))], blend=0.2, anchor=(0.0, -2.6))
    bib(m, 0.0, -0.95, 0.24, 0.42)
    for side in (-1, 1):
        pen.fur([Ellipse(0.43 * side, -0.28, 0.24, 0.29)], anchor=(0.2 * side, -1.4))
        m.paw(0.47 * side, 0.0, 0.19)
    for side in (-1, 1):
        limb = Tube(((0.16 * side, -0.85, 0.15), (0.17 * side, -0.14, 0.115)))
        pen.fur([limb], part="leg", anchor=(0.16 * side, -1.5))
        m.paw(0.17 * side, 0.02, 0.16)
    m.neckband(0.0, -1.18, 0.31)
    m.head(0.0, -1.52, 0.54)


def sit_side(m: Animal) -> None:
    """Sitting, seen from the side, facing right."""
    pen = m.pen
    m.tail((-0.55, -0.16), up=m.chance.chance(0.5))
    m.leg((0.42, -0.80), (0.52, 0.0), 0.15, far=True)
    pen.fur([Tube(((-0.22, -0.44, 0.45), (0.24, -1.05, 0.33)))], blend=0.2, anchor=(-1.2, -1.6), flow=0.4)
    bib(m, 0.46, -0.95, 0.2, 0.36)
    m.leg((0.30, -0.82), (0.36, 0.01), 0.17)
    pen.fur([Ellipse(-0.22, -0.32, 0.40, 0.33, -0.3)], anchor=(0.3, -1.0), flow=0.4)
    m.paw(0.10, 0.01, 0.22)
    m.neckband(0.32, -1.20, 0.30, -0.25)
    m.head(0.36, -1.52, 0.52)


def stand_side(m: Animal) -> None:
    """Standing, seen from the side, facing right."""
    pen, breed = m.pen, m.pen.coat.breed
    back, half = -0.52 - 0.45 * breed.legs, 0.66 * breed.length
    step = m.chance.between(-0.16, 0.16)
    m.tail((-half - 0.18, back - 0.12), up=True)
    m.leg((-half + 0.10, back + 0.1), (-half + 0.16 - step, -0.05), 0.19, far=True)
    m.leg((half - 0.02, back + 0.1), (half + 0.08 + step, -0.05), 0.16, far=True)
    pen.fur(
        [Tube(((-half, back, 0.35), (0, back + 0.03, 0.34), (half, back - 0.02, 0.37)))],
        anchor=(-3.4, back),
        flow=1.2,
    )
    pen.fur(
        [Tube(((half + 0.05, back - 0.1, 0.3), (half + 0.25, back - 0.4, 0.27)))],
        anchor=(-1.4, back),
        flow=0.8,
    )
    bib(m, half + 0.20, back + 0.02, 0.17, 0.3)
    m.leg((-half - 0.02, back + 0.06), (-half - 0.05 + step, 0.0), 0.23)
    m.leg((half - 0.02, back + 0.1), (half - 0.06 - step, 0.0), 0.18)
    m.neckband(half + 0.26, back - 0.26, 0.28, -0.3)
    m.head(half + 0.36, back - 0.52, 0.50)


def lie_side(m: Animal) -> None:
    """Lying like a sphinx, seen from the side, facing right."""
    pen, half = m.pen, 0.60 * m.pen.coat.breed.length
    m.tail((-half - 0.28, -0.22), up=m.chance.chance(0.3))
    pen.fur([Tube(((half + 0.05, -0.22, 0.15), (half + 0.62, -0.13, 0.11)))], part="leg", dim=0.76)
    pen.fur([Tube(((-half, -0.41, 0.40), (half - 0.1, -0.47, 0.36)))], anchor=(-3.0, -0.5), flow=1.2)
    pen.fur([Tube(((half - 0.05, -0.5, 0.32), (half + 0.15, -0.8, 0.28)))], anchor=(-1.4, -0.5), flow=0.6)
    bib(m, half + 0.15, -0.52, 0.2, 0.3)
    pen.fur([Ellipse(-half + 0.02, -0.32, 0.40, 0.32)], anchor=(-half + 0.6, -0.9), flow=0.8)
    m.paw(-half + 0.40, 0.01, 0.22)
    pen.fur(
        [Tube(((half - 0.05, -0.17, 0.17), (half + 0.48, -0.11, 0.12)))],
        part="leg",
        anchor=(half - 0.2, -0.3),
        flow=1.3,
    )
    m.paw(half + 0.52, 0.02, 0.18)
    m.neckband(half + 0.18, -0.72, 0.28, -0.3)
    m.head(half + 0.26, -1.00, 0.52)


def loaf(m: Animal) -> None:
    """Lying, facing us, paws in front."""
    pen = m.pen
    m.tail((-0.6, -0.2), up=m.chance.chance(0.4))
    pen.fur([Ellipse(0, -0.48, 0.84, 0.48), Ellipse(0, -0.30, 0.90, 0.30)], blend=0.2, anchor=(0.0, -3.0))
    bib(m, 0.0, -0.38, 0.34, 0.34)
    for side in (-1, 1):
        pen.fur([Tube(((0.34 * side, -0.22, 0.18), (0.30 * side, -0.05, 0.15)))], part="leg", anchor=(0, -1.2))
        m.paw(0.29 * side, 0.10, 0.21)
    m.neckband(0.0, -0.52, 0.36)
    m.head(m.chance.between(-0.1, 0.1), -0.86, 0.56)


def curl(m: Animal) -> None:
    """Curled up, mostly asleep, the tail about the feet."""
    pen = m.pen
    pen.fur(
        [Ellipse(-0.05, -0.44, 0.98, 0.46), Ellipse(-0.4, -0.5, 0.55, 0.44)],
        blend=0.2,
        anchor=(0.3, 0.7),
        flow=1.2,
    )
    pen.fur([Ellipse(-0.52, -0.32, 0.40, 0.32)], anchor=(0.1, -0.9), flow=0.6)
    m.paw(0.10, 0.02, 0.20)
    thick = 0.14 if m.cat else 0.10
    tail = curve((-0.95, -0.28), (-0.9, 0.06), (-0.3, -0.02), (0.12, -0.14), start=thick, end=thick * 0.65)
    pen.fur([tail], part="tail", anchor=(-1.0, -0.4), hair=1.4)
    m.head(0.56, -0.42, 0.52, m.chance.between(-0.05, 0.35))
    m.paw(0.34, 0.06, 0.18)


def bow(m: Animal) -> None:
    """The bow of a dog that wants to play (or a cat that stretches), seen from the side, facing right."""
    pen, half = m.pen, 0.62 * m.pen.coat.breed.length
    m.tail((-half - 0.12, -1.15), up=True)
    m.leg((-half + 0.12, -0.9), (-half + 0.14, -0.04), 0.2, far=True)
    pen.fur([Tube(((half + 0.1, -0.34, 0.15), (half + 0.66, -0.13, 0.11)))], part="leg", dim=0.76)
    pen.fur([Tube(((-half, -0.98, 0.36), (half, -0.48, 0.35)))], anchor=(-3.2, -2.0), flow=1.4)
    m.leg((-half - 0.02, -0.92), (-half - 0.04, 0.0), 0.25)
    pen.fur(
        [Tube(((half, -0.32, 0.18), (half + 0.5, -0.12, 0.12)))],
        part="leg",
        anchor=(half - 0.2, -0.4),
        flow=1.3,
    )
    m.paw(half + 0.54, 0.01, 0.19)
    bib(m, half + 0.15, -0.45, 0.2, 0.26)
    m.neckband(half + 0.2, -0.62, 0.28, -0.2)
    m.head(half + 0.32, -0.84, 0.50)


def portrait(m: Animal) -> None:
    """Head and shoulders."""
    pen = m.pen
    shoulders = [
        Tube(((0, -1.0, 0.40), (0, -0.3, 0.62))),
        Ellipse(-0.42, -0.1, 0.36, 0.5),
        Ellipse(0.42, -0.1, 0.36, 0.5),
    ]
    pen.fur(shoulders, blend=0.25, anchor=(0.0, -2.4))
    bib(m, 0.0, -0.55, 0.30, 0.55)
    m.neckband(0.0, -1.0, 0.40)
    m.head(0.0, -1.42, 0.62)


@dataclass(frozen=True)
class Pose:
    """A way to sit, stand or lie: how to draw it, the room it needs (units) and how often it comes."""

    draw: Callable[[Animal], None]
    left: float
    right: float
    top: float
    often: float
    profiles: float = 0.0  # chance of a head in profile


POSES: tuple[Pose, ...] = (
    Pose(sit_front, 0.9, 1.15, 2.25, 1.5),
    Pose(sit_side, 1.15, 1.1, 2.25, 1.3, 0.45),
    Pose(stand_side, 1.45, 1.6, 2.2, 1.5, 0.5),
    Pose(lie_side, 1.5, 1.4, 1.7, 1.2, 0.4),
    Pose(loaf, 1.1, 1.0, 1.6, 1.1),
    Pose(curl, 1.1, 1.15, 1.1, 0.8),
    Pose(bow, 1.35, 1.5, 1.8, 0.7, 0.35),
    Pose(portrait, 0.9, 0.9, 2.2, 1.6),
)
