"""Microscope slides: tiles in groups, where a split inside the groups promises too much.

Each slide has a stain, a focus, a noise and a cell size of its own, and its tiles share them. How dark and in which
hue a kind of structure takes the stain differs from slide to slide; its shape does not. So color tells the kinds
apart on a slide that was seen in training, and on a new slide only shape and texture do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dataset.drawing.canvas import Canvas, column, ramp
from dataset.drawing.chance import Chance, Color, mix, scaled
from dataset.drawing.shapes import Ellipse, Shape

CLASSES = ("background", "nucleus", "cluster", "satellite")
NUCLEUS, CLUSTER, SATELLITE = 1, 2, 3
OFTEN = {NUCLEUS: 0.55, CLUSTER: 0.25, SATELLITE: 0.2}
TILE = 96.0  # height and width in units
GLASS: tuple[Color, ...] = ((0.93, 0.90, 0.84), (0.94, 0.89, 0.91), (0.90, 0.92, 0.94), (0.88, 0.84, 0.76))
# hematoxylin, toluidine blue, silver, eosin
STAINS: tuple[Color, ...] = ((0.38, 0.24, 0.56), (0.24, 0.30, 0.58), (0.46, 0.28, 0.22), (0.60, 0.24, 0.46))
ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))


@dataclass(frozen=True)
class Slide:
    """What the tiles of one slide share."""

    glass: Color
    inks: tuple[Color, Color, Color]
    """Colors that nuclei, clusters and satellites take."""
    plasma: Color
    """Color of the cells' bodies, which are background."""
    radius: float
    """Of a nucleus, in units; a tile is 96 units high and wide."""
    crowd: float
    """Structures on a full tile, about."""
    blur: int
    """Passes of a 1-2-1 filter over 96 pixels: how far out of focus."""
    noise: float
    """Of the camera, as a share of white; `shade` is how much darker one corner is than the opposite one."""
    shade: float


def prepare_slide(seed: int, number: int) -> Slide:
    """The look of slide `number`, from seed and number alone."""
    chance = Chance(seed, number)
    stain, counter = chance.about(chance.pick(STAINS), 0.06), chance.about(chance.pick(STAINS), 0.06)
    glass = chance.about(chance.pick(GLASS), 0.03)
    # the three kinds take three steps of darkness and of the counterstain, each in an order of the slide's own
    steps, shares = chance.pick(ORDERS), chance.pick(ORDERS)
    inks = tuple(
        scaled(mix(mix(stain, counter, 0.5 * share), glass, 0.24 * step), chance.between(0.94, 1.06))
        for step, share in zip(steps, shares, strict=True)
    )
    return Slide(
        glass=glass,
        inks=inks,
        plasma=mix(glass, mix(stain, counter, 0.5), chance.between(0.12, 0.26)),
        radius=chance.between(6.5, 9.5),
        crowd=chance.between(6.0, 12.0),
        blur=chance.pick((0, 0, 1, 2, 4)),
        noise=chance.between(0.01, 0.05),
        shade=chance.between(0.0, 0.16),
    )


def draw_tile(slide: Slide, seed: int, number: int, place: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Tile `place` of slide `number`: image `uint8 [size, size, 3]` and class indices `uint8 [size, size]`."""
    chance, canvas = Chance(seed, number, place + 1), Canvas((size, size), size / TILE)
    mask = np.zeros((size, size), np.uint8)
    lay_ground(chance, canvas, slide)
    count = max(3, round(slide.crowd * chance.between(0.6, 1.4)))
    if chance.chance(0.2):  # as in real slides: nothing to find, or hardly anything
        count = chance.pick((0, 0, 1))
    taken: list[tuple[float, float, float]] = []
    for _ in range(count):
        place_structure(chance, canvas, mask, slide, chance.weighted(OFTEN), taken)
    finish(chance, canvas, slide)
    return canvas.pixels(), mask


def lay_ground(chance: Chance, canvas: Canvas, slide: Slide) -> None:
    """Glass, the pale bodies of cells with their folds, and crumbs that belong to no class."""
    height, width = canvas.height, canvas.width
    for cell, share in ((34, 0.03), (9, 0.02)):
        canvas.rgb += column(slide.glass) * (0.5 - np.float32(share) * canvas.noise(chance, cell))
    grain = 1 + (canvas.noise(chance, 4) - np.float32(0.5)) * np.float32(0.12)
    for _ in range(int(chance.between(2, 6))):
        x, y, rx = chance.between(0, width), chance.between(0, height), chance.between(14, 30)
        body = Ellipse(x, y, rx, rx * chance.between(0.5, 1.0), chance.between(0, 3))
        canvas.paint([body], column(slide.plasma) * grain, opacity=chance.between(0.35, 0.8), soft=3)
    for _ in range(int(chance.between(0, 5))):
        x, y, rx = chance.between(0, width), chance.between(0, height), chance.between(0.8, 1.8)
        spot = Ellipse(x, y, rx, rx * chance.between(0.5, 1.0))
        canvas.paint([spot], chance.pick(slide.inks), opacity=0.7, soft=1.5)


def place_structure(
    chance: Chance, canvas: Canvas, mask: np.ndarray, slide: Slide, kind: int, taken: list[tuple[float, float, float]]
) -> None:
    """Draw a structure where there is room for it, and write its class index into the mask; nothing without room."""
    radius = slide.radius * {NUCLEUS: 1.0, CLUSTER: 1.05, SATELLITE: 0.72}[kind] * chance.between(0.8, 1.2)
    for _ in range(12):
        x, y = chance.between(0, canvas.width), chance.between(0, canvas.height)
        if all((x - u) ** 2 + (y - v) ** 2 > (0.9 * (radius + r)) ** 2 for u, v, r in taken):
            break
    else:
        return
    taken.append((x, y, radius))
    shapes = outline(chance, kind, x, y, radius)
    window = canvas.window(shapes, 2)
    if window is None:
        return
    d = canvas.distance(shapes, window, blend=0.25 * radius if kind == CLUSTER else 0)
    cover = np.clip(np.float32(0.5) - d / np.float32(1.4), 0, 1) * np.float32(0.92)
    cell = max(1.5, (0.3 if kind == CLUSTER else 0.55) * radius * canvas.density)
    coarse = chance.noise(d.shape, cell, cell) - np.float32(0.5)
    light = 1 + coarse * np.float32(0.55 if kind == CLUSTER else 0.25) + np.float32(0.12) * canvas.rounded_light(d)
    ink = column(slide.inks[kind - 1]) * light
    if kind == NUCLEUS:  # a darker membrane
        ink = ink * (1 - np.float32(0.22) * ramp(d, -2.4, -0.6))
    if kind == SATELLITE:  # a pale middle
        ink = ink + (column(slide.glass) - ink) * (np.float32(0.75) * (1 - ramp(d, -0.75 * radius, -0.35 * radius)))
    canvas.lay(window, ink, cover)
    mask[window][d < 0] = kind


def outline(chance: Chance, kind: int, x: float, y: float, radius: float) -> list[Shape]:
    """An oval nucleus, a mulberry of four to six lobes, or a small round satellite."""
    if kind != CLUSTER:
        flat = math.sqrt(chance.between(0.72 if kind == NUCLEUS else 0.85, 1.0))
        return [Ellipse(x, y, radius / flat, radius * flat, chance.between(0, 3.2))]
    lobes, turn = chance.pick((4, 5, 6)), chance.between(0, 6.3)
    shapes: list[Shape] = []
    for lobe in range(lobes):
        angle = turn + 2 * math.pi * lobe / lobes + chance.between(-0.5, 0.5)
        far, small = radius * chance.between(0.4, 0.75), radius * chance.between(0.3, 0.55)
        u, v = x + far * math.cos(angle), y + far * math.sin(angle)
        shapes.append(Ellipse(u, v, small, small * chance.between(0.8, 1.0)))
    return [*shapes, Ellipse(x, y, 0.5 * radius, 0.5 * radius)]


def finish(chance: Chance, canvas: Canvas, slide: Slide) -> None:
    """Uneven light, the lens and the camera; only + - * / so that every machine gives the same pixels."""
    canvas.rgb *= 1 - np.float32(slide.shade) * (canvas.x / canvas.width + canvas.y / canvas.height) / 2
    for _ in range(round(slide.blur * canvas.density**2)):  # as far out of focus at any resolution
        for axis in (1, 2):
            padded = np.pad(canvas.rgb, [(1, 1) if i == axis else (0, 0) for i in range(3)], mode="edge")
            first, middle, last = (padded.take(range(i, i + canvas.rgb.shape[axis]), axis) for i in range(3))
            canvas.rgb = (first + middle * 2 + last) * np.float32(0.25)
    grains = chance.rng.random(canvas.rgb.shape, dtype=np.float32) - np.float32(0.5)
    canvas.rgb += grains * np.float32(2 * slide.noise)
