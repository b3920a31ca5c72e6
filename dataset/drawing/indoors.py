"""Scenes in the house: rooms, sofas and blankets."""

from __future__ import annotations

import numpy as np

from dataset.drawing import clutter, textures
from dataset.drawing.canvas import Canvas, Scene, blended, ramp
from dataset.drawing.chance import Chance, Color, mix, scaled
from dataset.drawing.shapes import Box, Ellipse, Tube, curve


def paint_floor(chance: Chance, canvas: Canvas, horizon: float) -> Color:
    """A floor in perspective below the row `horizon`; returns its color."""
    first = textures.any_color(chance, 0.75)
    second = mix(first, textures.any_color(chance, 0.75), chance.between(0.15, 0.7))
    depth = np.maximum(canvas.y - np.float32(horizon - 0.25 * canvas.height), 4)
    v = np.float32(canvas.height * chance.between(0.9, 1.6)) / depth
    u = (canvas.x - np.float32(canvas.width * chance.between(0.2, 0.8))) / depth * np.float32(chance.between(2.5, 4.5))
    kind = chance.pick(("planks", "tiles", "checks", "carpet"))
    if kind == "planks":
        lane = np.floor(u)
        tone = (lane * np.float32(0.37) - np.floor(lane * np.float32(0.37))) * np.float32(0.7)
        seam = ramp(np.abs(u - lane - np.float32(0.5)), 0.44, 0.5)
        share = tone + seam * np.float32(0.6) + canvas.noise(chance, 14, 2) * np.float32(0.3)
    elif kind == "tiles":
        line = np.maximum(np.abs(u - np.floor(u) - np.float32(0.5)), np.abs(v * 2 - np.floor(v * 2) - np.float32(0.5)))
        share = ramp(line, 0.43, 0.49)
    elif kind == "checks":
        share = np.abs(textures.bands(u * np.float32(0.7)) - textures.bands(v * np.float32(1.4)))
    else:
        share = textures.shag(chance, canvas)
    below = slice(max(0, int(horizon * canvas.density)), None)
    floor = blended(first, second, share + 0 * canvas.x) * textures.grain(chance, canvas)
    canvas.rgb[:, below] = floor[:, below]
    return mix(first, second, 0.4)


def paint_wall(chance: Chance, canvas: Canvas) -> Color:
    """A wall over the whole image; returns its color."""
    if chance.chance(0.3):
        first = textures.any_color(chance, 0.6)
        second = scaled(mix(first, (0.5, 0.45, 0.4), 0.4), chance.between(0.75, 1.15))
        brick = canvas.height / chance.between(9, 14)
        v = canvas.y * np.float32(1 / brick)
        u = canvas.x * np.float32(0.45 / brick) + np.float32(0.5) * (np.floor(v) - 2 * np.floor(v * np.float32(0.5)))
        seam = np.maximum(
            ramp(np.abs(u - np.floor(u) - np.float32(0.5)), 0.44, 0.49),
            ramp(np.abs(v - np.floor(v) - np.float32(0.5)), 0.38, 0.46),
        )
        canvas.rgb[:] = blended(first, second, seam) * textures.grain(chance, canvas)
        return first
    pale = mix(textures.any_color(chance, 0.55), (0.85, 0.82, 0.76), chance.between(0.0, 0.55))
    other = mix(pale, textures.any_color(chance, 0.6), chance.between(0.15, 0.6))
    period = np.float32(1 / chance.between(10, 26))
    canvas.rgb[:] = blended(pale, other, textures.cloth(chance, canvas, canvas.x * period, canvas.y * period))
    canvas.rgb *= textures.grain(chance, canvas)
    return pale


def decorate_wall(chance: Chance, canvas: Canvas, horizon: float) -> None:
    """A window, pictures or a shelf on the wall."""
    w, h = canvas.width, canvas.height
    for _ in range(int(chance.between(0, 3))):
        x, y, size = (
            chance.between(0.05, 0.95) * w,
            chance.between(0.1, 0.6) * horizon,
            chance.between(0.08, 0.16) * h,
        )
        kind = chance.pick(("picture", "window", "clock", "shelf"))
        if kind == "picture":
            canvas.paint([Box(x, y, size * 1.2, size)], scaled(textures.any_color(chance, 0.8), 0.7), relief=0.2)
            canvas.paint([Box(x, y, size, size * 0.8)], textures.fabric(chance, canvas, size))
            canvas.paint([Ellipse(x, y + size * 0.2, size * 0.4, size * 0.35)], textures.any_color(chance, 0.7))
        elif kind == "window":
            canvas.paint([Box(x, y, size * 1.3, size * 1.6)], (0.9, 0.88, 0.84))
            canvas.paint([Box(x, y, size * 1.1, size * 1.4)], chance.about((0.66, 0.80, 0.90), 0.08))
            canvas.paint([Box(x, y, 1.5, size * 1.4), Box(x, y, size * 1.1, 1.5)], (0.9, 0.88, 0.84))
        elif kind == "clock":
            canvas.paint([Ellipse(x, y, size * 0.7, size * 0.7)], scaled(textures.any_color(chance), 0.6))
            canvas.paint([Ellipse(x, y, size * 0.58, size * 0.58)], (0.93, 0.91, 0.86))
            canvas.paint(
                [Tube(((x, y - size * 0.4, 0.8), (x, y, 0.8), (x + size * 0.3, y + size * 0.1, 0.8)))],
                (0.15, 0.14, 0.15),
            )
        else:
            for k in range(4):
                high = size * chance.between(0.35, 0.6)
                canvas.paint(
                    [Box(x + (k - 1.5) * size * 0.5, y - high, size * 0.22, high, 1)],
                    textures.any_color(chance),
                )
            canvas.paint([Box(x, y, size * 1.5, 2)], scaled(textures.any_color(chance, 0.9), 0.6))


def room(chance: Chance, canvas: Canvas) -> Scene:
    """A room: wall, skirting board, floor, a rug and some furniture."""
    w, h = canvas.width, canvas.height
    horizon = h * chance.between(0.38, 0.68)
    wall = paint_wall(chance, canvas)
    decorate_wall(chance, canvas, horizon)
    floor = paint_floor(chance, canvas, horizon)
    canvas.paint(
        [Box(w / 2, horizon - 2, w, h * 0.02)],
        scaled(mix(wall, (0.8, 0.78, 0.74), 0.5), chance.between(0.6, 1.1)),
    )
    if chance.chance(0.45):
        x, wide, high = chance.between(0, 1) * w, chance.between(0.15, 0.3) * w, chance.between(0.12, 0.3) * h
        wood = textures.any_color(chance, 0.85)
        clutter.spot_shadow(canvas, x, horizon + high * 0.25, wide)
        canvas.paint(
            [Box(x, horizon - high * 0.8, wide, high, 2)],
            blended(wood, scaled(wood, 0.8), textures.shag(chance, canvas)),
            relief=0.15,
        )
        for k in (-0.5, 0.5):
            canvas.paint(
                [Box(x + k * wide, horizon - high * 0.8, wide * 0.42, high * 0.75, 1)],
                scaled(wood, 1.12),
                opacity=0.7,
            )
            canvas.paint([Ellipse(x + k * wide * 0.3, horizon - high * 0.8, 1.6, 1.6)], scaled(wood, 0.4))
    if chance.chance(0.6):
        rug = textures.fabric(chance, canvas, h * chance.between(0.06, 0.14), 0.7)
        x, y = chance.between(0.25, 0.75) * w, (horizon + h) / 2 + chance.between(0, 0.15) * h
        flat = Ellipse(x, y, w * chance.between(0.35, 0.6), (h - horizon) * chance.between(0.28, 0.45))
        canvas.paint([flat], rug, soft=2.0)
        floor = canvas.color_at(rug, x, y)
    return Scene(0.97 * h, horizon + 0.35 * (h - horizon), chance.pick((wall, floor)))


def sofa(chance: Chance, canvas: Canvas) -> Scene:
    """On a sofa."""
    w, h = canvas.width, canvas.height
    paint_wall(chance, canvas)
    decorate_wall(chance, canvas, 0.4 * h)
    skin = textures.fabric(chance, canvas, h * chance.between(0.07, 0.16), 0.75)
    top, seat = h * chance.between(0.18, 0.4), h * chance.between(0.62, 0.76)
    lean = chance.between(-0.15, 0.15) * w
    for k in (-1, 0, 1):
        canvas.paint(
            [Box(w / 2 + lean + k * w * 0.42, (top + seat) / 2, w * 0.205, (seat - top) / 2 + 6, h * 0.08)],
            skin,
            relief=0.3,
            soft=1.5,
        )
    canvas.paint(
        [Box(w / 2 + lean, seat + h * 0.14, w * 0.8, h * 0.16, h * 0.05)],
        skin * np.float32(1.06),
        relief=0.3,
        soft=1.5,
    )
    canvas.paint([Box(w / 2, h, w, h * 0.08)], skin * np.float32(0.72))
    for side in (-1, 1):
        canvas.paint(
            [Box(w / 2 + lean + side * w * 0.62, seat + h * 0.08, w * 0.13, h * 0.26, w * 0.1)],
            skin * np.float32(0.95),
            relief=0.3,
        )
    for _ in range(int(chance.between(0, 3))):
        clutter.cushion(
            chance, canvas, chance.between(0.1, 0.9) * w, seat + h * 0.04, h * chance.between(0.14, 0.22), ""
        )
    return Scene(seat + 0.2 * h, seat + 0.06 * h, canvas.color_at(skin, w / 2, seat))


def blanket(chance: Chance, canvas: Canvas) -> Scene:
    """On a bed or a blanket that fills the image, with folds."""
    w, h = canvas.width, canvas.height
    canvas.rgb[:] = textures.fabric(chance, canvas, h * chance.between(0.08, 0.2), 0.7)
    for _ in range(int(chance.between(2, 6))):
        x, y = chance.between(0, 1) * w, chance.between(0, 1) * h
        fold = curve(
            (x - w * 0.4, y + chance.between(-0.2, 0.2) * h),
            (x, y),
            (x + w * 0.4, y + chance.between(-0.3, 0.3) * h),
            start=3,
            end=1,
            steps=5,
        )
        canvas.paint([fold], (0.05, 0.05, 0.06), opacity=0.28, soft=7)
        canvas.paint(
            [Tube(tuple((a + 2, b - 4, r * 0.6) for a, b, r in fold.knots))],
            (1.0, 0.98, 0.95),
            opacity=0.2,
            soft=6,
        )
    for _ in range(int(chance.between(0, 3))):
        clutter.cushion(
            chance, canvas, chance.between(0, 1) * w, chance.between(0.3, 0.6) * h, h * chance.between(0.14, 0.24), ""
        )
    return Scene(0.98 * h, 0.6 * h, canvas.color_at(canvas.rgb, w / 2, 0.8 * h))
