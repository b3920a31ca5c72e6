"""Chance for the drawings: one reproducible stream of random numbers, and fields of smooth noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Color = tuple[float, float, float]


def mix(a: Color, b: Color, share: float) -> Color:
    """The color `share` of the way from `a` to `b`; colors are RGB in 0..1."""
    return tuple(p + (q - p) * share for p, q in zip(a, b, strict=True))


def scaled(color: Color, factor: float) -> Color:
    """The color made lighter (factor > 1) or darker (< 1), kept within 0..1."""
    return tuple(min(1.0, max(0.0, p * factor)) for p in color)


def spread_weights(size: int, cell: float, offset: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower lattice index, upper lattice index and eased weight of the upper one, each [size]."""
    at = np.arange(size, dtype=np.float32) * np.float32(1 / cell) + np.float32(offset)
    low = np.floor(at)
    t = at - low
    return low.astype(np.int64), low.astype(np.int64) + 1, t * t * (3 - 2 * t)


class Chance:
    """Random choices from one seed; the same seed and the same calls give the same answers everywhere."""

    def __init__(self, *seed: int) -> None:
        self.rng = np.random.default_rng(list(seed))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return float(self.rng.random()) < probability

    def between(self, low: float, high: float) -> float:
        """A number spread evenly over low..high."""
        return low + (high - low) * float(self.rng.random())

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, all equally likely."""
        return options[int(self.rng.integers(len(options)))]

    def weighted(self, options: dict[T, float]) -> T:
        """One of the keys, each as likely as its weight."""
        at = float(self.rng.random()) * sum(options.values())
        for option, weight in options.items():
            at -= weight
            if at < 0:
                return option
        return option

    def about(self, color: Color, amount: float = 0.06) -> Color:
        """A color near the given one."""
        light = self.between(-amount, amount)
        return tuple(min(0.97, max(0.03, p + light + self.between(-amount, amount) / 2)) for p in color)

    def noise(self, shape: tuple[int, int], cell_y: float, cell_x: float) -> np.ndarray:
        """Smooth noise float32 in 0..1 of the given shape, with lumps of `cell_y` by `cell_x` pixels."""
        y0, y1, wy = spread_weights(shape[0], cell_y, float(self.rng.random()))
        x0, x1, wx = spread_weights(shape[1], cell_x, float(self.rng.random()))
        grid = self.rng.random((int(y1[-1]) + 1, int(x1[-1]) + 1), dtype=np.float32)
        rows = grid[y0] + (grid[y1] - grid[y0]) * wy[:, None]
        left = rows[:, x0]
        return left + (rows[:, x1] - left) * wx[None]
