"""Fur: the colors, markings, strands and ragged edge of one pet, and the pen that draws with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dataset.drawing.breeds import WHITE, Breed
from dataset.drawing.canvas import Canvas, blended, ramp
from dataset.drawing.chance import Chance, Color, mix, scaled
from dataset.drawing.shapes import Frame, Shape

STRANDS = ((9.0, 2.0), (5.0, 1.3))  # length and width of coarse and fine strands, in units
TILE = 512  # side of the pattern of strands in pixels, more than the diagonal of an image


class Coat:
    """The fur of one pet on one canvas; `size` is the length of a head in units."""

    def __init__(self, canvas: Canvas, breed: Breed, chance: Chance, size: float, scene: Color) -> None:
        self.canvas, self.breed, self.size = canvas, breed, size
        base, second = chance.pick(breed.coats)
        share = breed.camouflage * chance.between(0.4, 1.0)
        if scene[0] < max(scene):  # no animal is green or blue, but some are grayish
            scene = mix(scene, (sum(scene) / 3,) * 3, 0.6)
        self.base = mix(chance.about(base, 0.05), scene, share)
        self.second = mix(chance.about(second, 0.04), scaled(scene, 0.62), share)
        self.pale = mix(chance.about(WHITE, 0.03), self.base, 0.08)
        self.bib = chance.chance(breed.bib)
        self.stripe = size * chance.between(0.17, 0.25)
        self.bold = chance.between(0.6, 1.0)
        self.broad = canvas.noise(chance, max(6.0, size * 0.42))
        self.lumps = canvas.noise(chance, max(3.0, size * 0.14))
        self.tufts = canvas.noise(chance, max(2.6, size * 0.07))
        coarse, fine = (chance.noise((TILE, TILE), y * canvas.density, x * canvas.density) for y, x in STRANDS)
        self.strands = (coarse + fine) * np.float32(0.5)
        self.cell = size * chance.between(0.26, 0.40)
        self.dots = chance.rng.random((3, 64, 64), dtype=np.float32)

    def strand(self, window: tuple[slice, slice], flow: float) -> np.ndarray:
        """Strands of hair [h, w] in -0.5..0.5, running along the angle `flow` (0 is straight down)."""
        x, y = self.canvas.x[:, window[1]], self.canvas.y[window[0]]
        c, s = np.float32(math.cos(flow)), np.float32(math.sin(flow))
        bend = (self.lumps[window] - np.float32(0.5)) * 10
        u, v = x * c + y * s + bend, y * c - x * s
        # moved so that the least of the whole image is just above 0
        u = u - min(0, c * self.canvas.width) - min(0, s * self.canvas.height) + 5
        v = v - min(0, c * self.canvas.height) - min(0, -s * self.canvas.width)
        u, v = u * np.float32(self.canvas.density), v * np.float32(self.canvas.density)
        i, j = v.astype(np.int32), u.astype(np.int32)
        share, i, j = u - j, i % TILE, j % TILE
        left = self.strands[i, j]
        return left + (self.strands[i, (j + 1) % TILE] - left) * share - np.float32(0.5)

    def marks(self, window: tuple[slice, slice], part: str, anchor: tuple[float, float]) -> np.ndarray | None:
        """Share [h, w] of the second color, or None where the part has no markings."""
        kind, x, y = self.breed.markings, self.canvas.x[:, window[1]], self.canvas.y[window[0]]
        if kind == "tabby":
            dx, dy = x - np.float32(anchor[0]), y - np.float32(anchor[1])
            rings = np.sqrt(dx * dx + dy * dy) * np.float32(1 / self.stripe)
            rings = rings + self.lumps[window] * np.float32(0.9)
            wave = np.abs(rings - np.floor(rings) - np.float32(0.5)) * 2
            gaps = ramp(self.broad[window], 0.12, 0.42)
            return ramp(wave, 0.42, 0.72) * gaps * np.float32(self.bold)
        if kind == "points":
            return {"ear": 0.95, "tail": 0.9, "paw": 0.85, "leg": 0.35}.get(part)
        if kind == "spots":
            if part == "ear":
                return np.float32(1.0)
            patch = ramp(self.broad[window], 0.60, 0.66)
            return patch if part == "head" else np.maximum(patch, self.spots(x, y))
        if kind == "patches":
            return ramp(self.broad[window], 0.42, 0.72)
        return {"ear": 0.75, "tail": 0.25}.get(part, np.float32(0.0)) + self.broad[window] * np.float32(0.3)

    def spots(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Round spots [h, w], one of random size to each cell of a grid."""
        u, v = x * np.float32(1 / self.cell), y * np.float32(1 / self.cell)
        u = u + v * np.float32(0.3)
        i, j = np.floor(u), np.floor(v)
        column, row = i.astype(np.int32) & 63, j.astype(np.int32) & 63
        sx, sy, size = (self.dots[k][row, column] for k in range(3))
        du = u - i - (np.float32(0.32) + np.float32(0.36) * sx)
        dv = v - j - (np.float32(0.32) + np.float32(0.36) * sy)
        far = np.sqrt(du * du + dv * dv) - np.float32(0.30) * size
        return 1 - ramp(far, -0.04, 0.06)


@dataclass(frozen=True)
class Pen:
    """Draws in the units of a frame, with the pet's coat, on the canvas."""

    canvas: Canvas
    coat: Coat
    frame: Frame

    def at(self, x: float, y: float, scale: float = 1.0, angle: float = 0.0) -> Pen:
        """A pen for a frame inside this one."""
        return replace(self, frame=self.frame.inner(x, y, scale, angle))

    def flat(
        self,
        shapes: Sequence[Shape],
        color: Color,
        *,
        opacity: float = 1.0,
        soft: float = 0.0,
        blend: float = 0.0,
        relief: float = 0.0,
        pet: str = "over",
    ) -> None:
        """Paint shapes in a plain color: eyes, noses, mouths; by default only where there is pet."""
        placed = [shape.placed(self.frame) for shape in shapes]
        self.canvas.paint(
            placed, color, blend=blend * self.frame.scale, opacity=opacity, soft=soft, relief=relief, pet=pet
        )

    def fur(
        self,
        shapes: Sequence[Shape],
        *,
        part: str = "body",
        blend: float = 0.0,
        anchor: tuple[float, float] = (0.0, 0.0),
        flow: float = 0.0,
        dim: float = 1.0,
        color: Color | None = None,
        inside: bool = False,
        hair: float = 1.0,
    ) -> None:
        """Paint shapes as fur.

        `part` picks the markings, `anchor` is the point that stripes run around, `flow` the direction of
        the hair (radians from straight down), `dim` darkens (far legs), `color` replaces the coat's own,
        `inside` keeps to the pet (bibs, muzzles), `hair` scales how ragged the edge is.
        """
        canvas, coat = self.canvas, self.coat
        placed = [shape.placed(self.frame) for shape in shapes]
        window = canvas.window(placed, 6)
        if window is None:
            return
        d = canvas.distance(placed, window, blend * self.frame.scale)
        flow = self.frame.turned(flow)
        strand = coat.strand(window, flow)
        ragged = np.float32(hair * min(coat.breed.hair * coat.size / 30, 0.07 * coat.size) + 0.8 * inside)
        furry = d + ragged * ((coat.tufts[window] - np.float32(0.62)) * np.float32(2.2) + strand * 2)
        cover = np.clip(np.float32(0.5) - furry * np.float32(0.5 if inside else 0.7), 0, 1)
        pets = canvas.pet[window]
        if inside:
            cover = cover * pets * np.float32(0.92)
        else:
            shadow = np.clip(1 - d * np.float32(5 / coat.size), 0, 1) * pets
            canvas.rgb[:, window[0], window[1]] *= 1 - np.float32(0.30) * shadow
            pets += (1 - pets) * cover
        marks = None if color else coat.marks(window, part, self.frame.point(*anchor))
        base = color or coat.base
        if marks is None:
            marks = np.float32(0.0)
        shade = 1 + np.float32(0.22) * strand + np.float32(0.16) * (coat.lumps[window] - np.float32(0.5))
        shade = shade * np.float32(dim)
        if not inside:
            shade = shade * (1 + np.float32(0.30) * canvas.rounded_light(d, coat.size * 0.45))
        canvas.lay(window, blended(base, coat.second, marks) * shade, cover)
