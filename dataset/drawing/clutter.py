"""Things that lie about in the scenes, many of them in the colors of fur.

Each is drawn standing at (x, y), `size` about its half width, all in units; `pet` is as in `Canvas.paint`.
"""

from __future__ import annotations

from dataset.drawing.canvas import Canvas, blended
from dataset.drawing.chance import Chance, mix, scaled
from dataset.drawing.shapes import Box, Ellipse, Shape, Tube, curve
from dataset.drawing.textures import FURRY, any_color, fabric, grain, shag


def spot_shadow(canvas: Canvas, x: float, y: float, half: float, strength: float = 0.45) -> None:
    """The soft shadow of a thing that stands at (x, y), `half` its half width, all in units."""
    canvas.paint([Ellipse(x, y, half, half * 0.22)], (0.04, 0.035, 0.04), opacity=strength, soft=half * 0.35)


def cushion(chance: Chance, canvas: Canvas, x: float, y: float, size: float, pet: str) -> None:
    """A cushion of patterned or furry cloth."""
    skin = fabric(chance, canvas, size * chance.between(0.25, 0.5))
    body = Box(x, y - size * 0.6, size * 0.85, size * 0.62, size * 0.35, chance.between(-0.5, 0.5))
    canvas.paint([body], skin, relief=0.35, pet=pet, soft=1.3)


def pouf(chance: Chance, canvas: Canvas, x: float, y: float, size: float, pet: str) -> None:
    """A furry round seat, about the shape and color of a sleeping pet."""
    color = chance.about(chance.pick(FURRY), 0.06)
    skin = blended(scaled(color, 0.72), scaled(color, 1.12), shag(chance, canvas))
    canvas.paint([Ellipse(x, y - size * 0.55, size, size * 0.6)], skin, relief=0.35, pet=pet, soft=2.0)


def ball(chance: Chance, canvas: Canvas, x: float, y: float, size: float, pet: str) -> None:
    """A ball with a stripe."""
    size *= 0.5
    canvas.paint([Ellipse(x, y - size, size, size)], any_color(chance, 0.4), relief=0.45, pet=pet)
    stripe = curve(
        (x - size * 0.85, y - size),
        (x, y - size * 0.4),
        (x + size * 0.85, y - size),
        start=size * 0.13,
        end=size * 0.13,
    )
    canvas.paint([stripe], any_color(chance, 0.2), opacity=0.9)
    canvas.paint([Ellipse(x - size * 0.35, y - size * 1.45, size * 0.16, size * 0.12)], (0.97, 0.97, 0.95), opacity=0.7)


def yarn(chance: Chance, canvas: Canvas, x: float, y: float, size: float, pet: str) -> None:
    """A ball of wool and its loose end."""
    size *= 0.55
    color = any_color(chance, 0.5)
    tail = curve(
        (x, y),
        (x + size * 1.6, y + size * 0.2),
        (x + size * 1.2, y - size * 0.4),
        (x + size * 2.4, y),
        start=0.8,
        end=0.8,
    )
    canvas.paint([tail], scaled(color, 0.85))
    canvas.paint([Ellipse(x, y - size, size, size)], color, relief=0.4, pet=pet)
    for k in (-0.5, 0.0, 0.5):
        for flip in (-1, 1):
            thread = curve(
                (x - size * 0.75, y - size + k * size * flip),
                (x, y - size * (1.0 - k)),
                (x + size * 0.7, y - size - k * size * flip),
                start=0.5,
                end=0.5,
                steps=5,
            )
            canvas.paint([thread], scaled(color, 0.7), opacity=0.7)


def crate(chance: Chance, canvas: Canvas, x: float, y: float, size: float, pet: str) -> None:
    """A cardboard box."""
    color = chance.about(chance.pick(((0.72, 0.54, 0.35), (0.62, 0.46, 0.30), (0.80, 0.66, 0.48))), 0.05)
    high = size * chance.between(0.5, 0.75)
    canvas.paint(
        [Box(x, y - high, size, high)],
        blended(color, scaled(color, 0.85), grain(chance, canvas) - 0.5),
        pet=pet,
    )
    canvas.paint([Box(x, y - high, size * 0.1, high)], mix(color, (0.9, 0.85, 0.7), 0.5), opacity=0.8)
    canvas.paint([Box(x, y - high * 2, size * 1.05, 1.5)], scaled(color, 0.6), pet=pet)


def bowl(chance: Chance, canvas: Canvas, x: float, y: float, size: float, pet: str) -> None:
    """A food bowl."""
    size *= 0.65
    color = any_color(chance, 0.4)
    food = [Ellipse(x + k * size * 0.3, y - size * 0.68, size * 0.3, size * 0.22) for k in (-1.6, -0.6, 0.4, 1.4)]
    canvas.paint(food, (0.45, 0.28, 0.16), relief=0.4, pet=pet)
    canvas.paint(
        [
            Tube(((x, y - size * 0.55, size * 0.1), (x, y - size * 0.18, size * 0.2))),
            Box(x, y - size * 0.32, size * 0.85, size * 0.32, size * 0.16),
        ],
        color,
        relief=0.4,
        pet=pet,
    )


def bone(chance: Chance, canvas: Canvas, x: float, y: float, size: float, pet: str) -> None:
    """A bone to chew."""
    size *= 0.6
    parts: list[Shape] = [Box(x, y - size * 0.3, size * 0.7, size * 0.13)]
    parts += [
        Ellipse(x + sx * size * 0.75, y - size * (0.3 + 0.16 * sy), size * 0.22, size * 0.2)
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    canvas.paint(parts, chance.about((0.90, 0.87, 0.78), 0.04), relief=0.35, blend=1.5, pet=pet)


def plant(chance: Chance, canvas: Canvas, x: float, y: float, size: float, pet: str) -> None:
    """A plant in its pot."""
    pot = chance.pick(((0.74, 0.42, 0.28), (0.80, 0.78, 0.74), (0.35, 0.42, 0.50)))
    green = chance.about(chance.pick(((0.26, 0.46, 0.24), (0.36, 0.52, 0.26), (0.52, 0.50, 0.24))), 0.05)
    for k in range(7):
        lean = (k - 3) * 0.34 + chance.between(-0.15, 0.15)
        top = size * chance.between(1.2, 2.0)
        leaf = Tube(
            (
                (x, y - size * 0.6, 1.0),
                (x + lean * size * 0.5, y - size * 0.6 - top * 0.5, size * 0.16),
                (x + lean * size, y - size * 0.6 - top * (0.9 - 0.12 * abs(k - 3)), 0.6),
            )
        )
        canvas.paint([leaf], scaled(green, chance.between(0.75, 1.25)), relief=0.3, pet=pet)
    canvas.paint(
        [Tube(((x, y - size * 0.68, size * 0.42), (x, y - size * 0.28, size * 0.30)))],
        chance.about(pot, 0.04),
        relief=0.35,
        pet=pet,
    )


def books(chance: Chance, canvas: Canvas, x: float, y: float, size: float, pet: str) -> None:
    """A pile of books."""
    for _ in range(int(chance.between(2, 5))):
        thick = size * chance.between(0.10, 0.17)
        canvas.paint(
            [Box(x + chance.between(-0.12, 0.12) * size, y - thick, size * chance.between(0.6, 0.8), thick, 1.0)],
            any_color(chance, 0.5),
            relief=0.25,
            pet=pet,
        )
        y -= 2 * thick
