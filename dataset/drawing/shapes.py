"""Shapes as signed distances: negative inside, zero on the outline, in the unit of the coordinates.

Only + - * / sqrt, minimum and maximum touch the arrays: those are rounded the same way on every
machine, where the sine or exponential of an array need not be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frame:
    """Where a drawing sits: its own units are mirrored, turned, scaled and moved to the units of the image.

    `x`, `y` are where its origin lies (y points down), `scale` is the length of its own unit, `angle`
    is in radians (positive turns clockwise on the screen), `flip` mirrors left and right.
    """

    x: float
    y: float
    scale: float
    angle: float = 0.0
    flip: bool = False

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Where in the image a point lies that is given in the units of this frame."""
        x = -x if self.flip else x
        c, s = math.cos(self.angle), math.sin(self.angle)
        return self.x + self.scale * (c * x - s * y), self.y + self.scale * (s * x + c * y)

    def turned(self, angle: float) -> float:
        """Angle on the screen of an angle given in this frame."""
        return self.angle + (-angle if self.flip else angle)

    def inner(self, x: float, y: float, scale: float, angle: float = 0.0) -> Frame:
        """A frame inside this one: origin at (x, y), `scale` units of this frame per unit of that one."""
        px, py = self.point(x, y)
        return Frame(px, py, self.scale * scale, self.turned(angle), self.flip)


@dataclass(frozen=True)
class Tube:
    """A chain of circles (x, y, radius), joined by tapering strokes: legs, tails, ears, lines."""

    knots: tuple[tuple[float, float, float], ...]

    def placed(self, frame: Frame) -> Tube:
        """The same shape in the units of the image."""
        return Tube(tuple((*frame.point(x, y), r * frame.scale) for x, y, r in self.knots))

    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return (
            min(x - r for x, y, r in self.knots),
            min(y - r for x, y, r in self.knots),
            max(x + r for x, y, r in self.knots),
            max(y + r for x, y, r in self.knots),
        )

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Signed distance [h, w] at columns `x` [1, w] and rows `y` [h, 1]."""
        found = None
        for (ax, ay, ar), (bx, by, br) in zip(self.knots[:-1], self.knots[1:], strict=True):
            ux, uy = bx - ax, by - ay
            length = max(ux * ux + uy * uy, 1e-6)
            dx, dy = x - np.float32(ax), y - np.float32(ay)
            t = dx * np.float32(ux / length) + dy * np.float32(uy / length)
            np.clip(t, 0, 1, out=t)
            px = dx - t * np.float32(ux)
            py = dy - t * np.float32(uy)
            d = np.sqrt(px * px + py * py) - (np.float32(ar) + t * np.float32(br - ar))
            found = d if found is None else np.minimum(found, d)
        return found


@dataclass(frozen=True)
class Ellipse:
    """An ellipse about (x, y) with half axes `rx`, `ry`, turned by `angle`."""

    x: float
    y: float
    rx: float
    ry: float
    angle: float = 0.0

    def placed(self, frame: Frame) -> Ellipse:
        """The same shape in the units of the image."""
        s = frame.scale
        return Ellipse(*frame.point(self.x, self.y), self.rx * s, self.ry * s, frame.turned(self.angle))

    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom (of the circle around it)."""
        r = max(self.rx, self.ry)
        return self.x - r, self.y - r, self.x + r, self.y + r

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Signed distance [h, w], exact on the outline and close near it."""
        u, v = turned_offsets(x, y, self.x, self.y, self.angle)
        u, v = u * np.float32(1 / self.rx), v * np.float32(1 / self.ry)
        near = np.sqrt(u * u + v * v)
        u, v = u * np.float32(1 / self.rx), v * np.float32(1 / self.ry)
        steep = np.sqrt(u * u + v * v)
        return near * (near - 1) / np.maximum(steep, np.float32(1e-5))


@dataclass(frozen=True)
class Box:
    """A rectangle about (x, y) with half sides `hx`, `hy`, corners of radius `corner`, turned by `angle`."""

    x: float
    y: float
    hx: float
    hy: float
    corner: float = 0.0
    angle: float = 0.0

    def placed(self, frame: Frame) -> Box:
        """The same shape in the units of the image."""
        s = frame.scale
        px, py = frame.point(self.x, self.y)
        return Box(px, py, self.hx * s, self.hy * s, self.corner * s, frame.turned(self.angle))

    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom (generous when turned)."""
        c, s = abs(math.cos(self.angle)), abs(math.sin(self.angle))
        rx, ry = self.hx * c + self.hy * s, self.hx * s + self.hy * c
        return self.x - rx, self.y - ry, self.x + rx, self.y + ry

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Signed distance [h, w]."""
        u, v = turned_offsets(x, y, self.x, self.y, self.angle)
        u = np.abs(u) - np.float32(self.hx - self.corner)
        v = np.abs(v) - np.float32(self.hy - self.corner)
        inside = np.minimum(np.maximum(u, v), 0)
        u, v = np.maximum(u, 0), np.maximum(v, 0)
        return np.sqrt(u * u + v * v) + inside - np.float32(self.corner)


Shape = Tube | Ellipse | Box


def turned_offsets(x: np.ndarray, y: np.ndarray, cx: float, cy: float, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (u, v) from (cx, cy) along axes turned by `angle`; each broadcasts to [h, w]."""
    dx, dy = x - np.float32(cx), y - np.float32(cy)
    if angle == 0:
        return dx, dy
    c, s = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return dx * c + dy * s, dy * c - dx * s


def union(distances: list[np.ndarray], blend: float) -> np.ndarray:
    """Distance [h, w] to the union of shapes whose joints are rounded over a width of `blend`."""
    total = distances[0]
    for d in distances[1:]:
        if blend > 0:
            near = np.maximum(np.float32(blend) - np.abs(total - d), 0) * np.float32(1 / blend)
            total = np.minimum(total, d) - near * near * np.float32(blend / 4)
        else:
            total = np.minimum(total, d)
    return total


def curve(*points: tuple[float, float], start: float, end: float, steps: int = 8) -> Tube:
    """A smooth tube along a Bezier curve with 3 or 4 control points; radius goes from `start` to `end`."""
    knots = []
    n = len(points) - 1
    for i in range(steps + 1):
        t = i / steps
        weights = [math.comb(n, k) * t**k * (1 - t) ** (n - k) for k in range(n + 1)]
        x = sum(w * p[0] for w, p in zip(weights, points, strict=True))
        y = sum(w * p[1] for w, p in zip(weights, points, strict=True))
        knots.append((x, y, start + (end - start) * t))
    return Tube(tuple(knots))
