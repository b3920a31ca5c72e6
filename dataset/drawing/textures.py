"""Colors and textures that the scenes are made of."""

from __future__ import annotations

import math

import numpy as np

from dataset.drawing.canvas import Canvas, blended, ramp
from dataset.drawing.chance import Chance, Color, mix

# Colors of coats, which half of the things in a scene share so that color alone tells little.
FURRY: tuple[Color, ...] = (
    (0.80, 0.56, 0.30),
    (0.66, 0.38, 0.16),
    (0.84, 0.74, 0.60),
    (0.88, 0.86, 0.82),
    (0.50, 0.49, 0.50),
    (0.30, 0.29, 0.31),
    (0.15, 0.14, 0.15),
    (0.42, 0.29, 0.20),
    (0.63, 0.57, 0.49),
)
BRIGHT: tuple[Color, ...] = (
    (0.35, 0.55, 0.58),
    (0.72, 0.30, 0.28),
    (0.45, 0.58, 0.36),
    (0.36, 0.42, 0.62),
    (0.86, 0.74, 0.42),
    (0.70, 0.52, 0.62),
    (0.55, 0.70, 0.74),
)


def any_color(chance: Chance, furry: float = 0.5) -> Color:
    """A color for a thing, from the coats with chance `furry`."""
    return chance.about(chance.pick(FURRY if chance.chance(furry) else BRIGHT), 0.07)


def bands(at: np.ndarray, edge: float = 0.1) -> np.ndarray:
    """0 and 1 in turn along `at` (one of each per unit), with soft edges; same shape."""
    wave = np.abs(at - np.floor(at) - np.float32(0.5)) * 2
    return ramp(wave, 0.5 - edge, 0.5 + edge)


def cloth(chance: Chance, canvas: Canvas, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A pattern [H, W] in 0..1 over coordinates u, v (in units of the pattern)."""
    kind = chance.pick(("stripes", "checks", "dots", "plain", "tartan", "patches", "fur", "flowers"))
    if kind == "stripes":
        return bands(u + 0 * v)
    if kind == "checks":
        return np.abs(bands(u + 0 * v) - bands(v + 0 * u))
    if kind == "tartan":
        return (bands(u + 0 * v) + bands(v + 0 * u)) * np.float32(0.5)
    if kind in ("dots", "flowers"):
        i, j = np.floor(u), np.floor(v)
        du, dv = u - i - np.float32(0.5), v - j - np.float32(0.5)
        far = np.sqrt(du * du + dv * dv)
        if kind == "flowers":
            far = far - np.float32(0.12) * bands((du + dv) * 3) - np.float32(0.08) * bands((du - dv) * 3)
        return 1 - ramp(far, 0.22, 0.30)
    if kind == "patches":
        return ramp(canvas.noise(chance, chance.between(9, 24)), 0.45, 0.58)
    if kind == "fur":
        return shag(chance, canvas)
    return canvas.noise(chance, 3.0) * np.float32(0.35)


def shag(chance: Chance, canvas: Canvas) -> np.ndarray:
    """Strands [H, W] in 0..1, like those of fur: rugs, cushions, grass."""
    long = canvas.noise(chance, chance.between(6, 11), chance.between(1.6, 2.4))
    return (long + canvas.noise(chance, 4.0, 1.5)) * np.float32(0.5)


def grain(chance: Chance, canvas: Canvas) -> np.ndarray:
    """Uneven light [H, W] about 1 of a surface that is not quite plain."""
    rough = canvas.noise(chance, chance.between(14, 40)) - np.float32(0.5)
    fine = canvas.noise(chance, chance.between(1.5, 3.5)) - np.float32(0.5)
    return 1 + rough * np.float32(chance.between(0.08, 0.35)) + fine * np.float32(chance.between(0.05, 0.25))


def fabric(chance: Chance, canvas: Canvas, period: float, furry: float = 0.5) -> np.ndarray:
    """Colors [3, H, W] of a patterned cloth that fills the image; `period` in units."""
    first, second = any_color(chance, furry), any_color(chance, furry)
    second = mix(first, second, chance.between(0.35, 1.0))
    angle = chance.between(-0.6, 0.6)
    c, s = np.float32(math.cos(angle) / period), np.float32(math.sin(angle) / period)
    u, v = canvas.x * c + canvas.y * s, canvas.y * c - canvas.x * s
    return blended(first, second, cloth(chance, canvas, u, v)) * grain(chance, canvas)
