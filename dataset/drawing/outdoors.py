"""Scenes out of doors: gardens and paths strewn with leaves."""

from __future__ import annotations

import numpy as np

from dataset.drawing import textures
from dataset.drawing.canvas import Canvas, Scene, blended, column, ramp
from dataset.drawing.chance import Chance, scaled
from dataset.drawing.shapes import Box, Ellipse, Tube


def garden(chance: Chance, canvas: Canvas) -> Scene:
    """Outdoors: sky, trees or a fence, and grass."""
    w, h = canvas.width, canvas.height
    horizon = h * chance.between(0.3, 0.6)
    top, low = chance.pick(
        (
            ((0.42, 0.62, 0.86), (0.80, 0.88, 0.94)),
            ((0.70, 0.74, 0.78), (0.88, 0.87, 0.85)),
            ((0.55, 0.55, 0.75), (0.96, 0.78, 0.58)),
        )
    )
    canvas.rgb[:] = blended(top, low, np.clip(canvas.y * np.float32(1 / horizon), 0, 1) + 0 * canvas.x)
    puffs = canvas.noise(chance, h * 0.09, w * 0.2) + canvas.noise(chance, h * 0.035, w * 0.06) * np.float32(0.45)
    clouds = ramp(puffs, 0.72, 1.05) * np.float32(0.8)
    canvas.lay(canvas.all, column((0.95, 0.95, 0.96)), clouds)
    back = chance.pick(("hedge", "fence", "trees", "house"))
    if back == "fence":
        wood = textures.any_color(chance, 0.9)
        for k in range(10):
            x, high = (k + 0.5) * w / 9, h * 0.16 + chance.between(-2, 2)
            canvas.paint(
                [Box(x, horizon - high * 0.8, w * 0.045, high, 3)],
                scaled(wood, chance.between(0.85, 1.1)),
                relief=0.2,
            )
        canvas.paint([Box(w / 2, horizon - h * 0.16, w, h * 0.02)], scaled(wood, 0.8))
    elif back == "house":
        canvas.paint(
            [Box(w * chance.between(0, 1), horizon - h * 0.1, w * 0.35, h * 0.28)],
            textures.fabric(chance, canvas, 12),
            relief=0.05,
        )
    leafy = chance.about(
        chance.pick(((0.24, 0.38, 0.20), (0.36, 0.42, 0.20), (0.55, 0.38, 0.18), (0.40, 0.36, 0.26))), 0.05
    )
    leaves = blended(scaled(leafy, 0.6), scaled(leafy, 1.35), canvas.noise(chance, 4.0))
    tops = chance.noise((1, canvas.shape[1]), 1.0, w * 0.14 * canvas.density) * (back in ("hedge", "trees"))
    edge = horizon - h * (0.05 + 0.30 * tops)
    canvas.lay(canvas.all, leaves, np.clip(canvas.y - edge, 0, 1))
    if back == "trees":
        for _ in range(3):
            x, bark = chance.between(0, 1) * w, chance.about((0.36, 0.26, 0.19), 0.06)
            canvas.paint(
                [Tube(((x, horizon + 4, w * 0.035), (x + chance.between(-8, 8), -10, w * 0.02)))],
                blended(scaled(bark, 0.7), scaled(bark, 1.3), textures.shag(chance, canvas)),
                relief=0.3,
            )
    grass = chance.about(
        chance.pick(((0.36, 0.52, 0.22), (0.45, 0.50, 0.26), (0.62, 0.56, 0.32), (0.50, 0.46, 0.30))), 0.05
    )
    blades = blended(
        scaled(grass, 0.62),
        scaled(grass, 1.25),
        textures.shag(chance, canvas) + textures.grain(chance, canvas) - 1,
    )
    canvas.lay(
        canvas.all,
        blades,
        np.clip(canvas.y - np.float32(horizon) + 6 * canvas.noise(chance, 9.0, 2.0), 0, 1),
    )
    petal = textures.any_color(chance, 0.3)
    for _ in range(int(chance.between(0, 14))):
        x, y = chance.between(0, 1) * w, chance.between(horizon + 6, h)
        canvas.paint([Ellipse(x, y, 1.5, 1.5), Ellipse(x + 2.4, y, 1.5, 1.5), Ellipse(x + 1.2, y - 2, 1.5, 1.5)], petal)
    return Scene(0.97 * h, horizon + 0.4 * (h - horizon), chance.pick((grass, leafy)), grassy=True)


def path(chance: Chance, canvas: Canvas) -> Scene:
    """A path strewn with autumn leaves."""
    scene = garden(chance, canvas)
    w, h = canvas.width, canvas.height
    colors = (
        (0.76, 0.44, 0.16),
        (0.60, 0.30, 0.12),
        (0.84, 0.64, 0.26),
        (0.42, 0.28, 0.16),
        (0.70, 0.58, 0.40),
    )
    top = scene.farthest - 0.3 * (scene.nearest - scene.farthest)
    for _ in range(70):
        y = chance.between(top, h)
        size = 1.5 + 4.0 * (y - top) / (h - top)
        leaf = Ellipse(chance.between(0, 1) * w, y, size * 1.3, size * 0.6, chance.between(-1.5, 1.5))
        canvas.paint([leaf], chance.about(chance.pick(colors), 0.06))
    return Scene(scene.nearest, scene.farthest, chance.pick(colors), grassy=True)
