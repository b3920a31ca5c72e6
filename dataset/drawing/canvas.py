"""The image being painted, and the share of each pixel that the pet covers.

Lengths are in drawing units; an image of any resolution shows the same scene, and `density` is its pixels per unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dataset.drawing.chance import Chance, Color
from dataset.drawing.shapes import Shape, union

Window = tuple[slice, slice]


def column(color: Color) -> np.ndarray:
    """A color as an array [3, 1, 1] float32."""
    return np.array(color, dtype=np.float32)[:, None, None]


def blended(first: Color, second: Color, share: np.ndarray) -> np.ndarray:
    """Colors [3, h, w] between two, following `share` [h, w] in 0..1."""
    return column(first) + (column(second) - column(first)) * share


def ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, eased in between; same shape as `values`."""
    t = np.clip((values - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


@dataclass(frozen=True)
class Scene:
    """What a scene tells the pet: the heights that its feet may stand on (y, in units), and a color of the scene."""

    nearest: float
    farthest: float
    color: Color
    grassy: bool = False


class Canvas:
    """An image of H by W pixels.

    `height` and `width` are in units; `rgb` [3, H, W] float32, 0..1; `pet` [H, W] float32, the share of each pixel
    that the pet covers; `x` [1, W] and `y` [H, 1] are the centers of the pixels, in units.
    """

    def __init__(self, shape: tuple[int, int], density: float) -> None:
        self.density, self.shape = density, shape
        self.height, self.width = (pixels / density for pixels in shape)
        self.rgb = np.zeros((3, *shape), np.float32)
        self.pet = np.zeros(shape, np.float32)
        self.y, self.x = ((np.arange(n, dtype=np.float32) + np.float32(0.5)) * np.float32(1 / density) for n in shape)
        self.x, self.y = self.x[None], self.y[:, None]

    def pixels(self) -> np.ndarray:
        """The image as `uint8 [H, W, 3]`."""
        image = np.floor(np.clip(self.rgb, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8)
        return np.ascontiguousarray(image.transpose(1, 2, 0))

    @property
    def all(self) -> Window:
        """The window that is the whole image."""
        return slice(0, self.shape[0]), slice(0, self.shape[1])

    def noise(self, chance: Chance, cell_y: float, cell_x: float | None = None) -> np.ndarray:
        """Smooth noise [H, W] float32 in 0..1 with lumps of `cell_y` by `cell_x` units."""
        cell_x = cell_y if cell_x is None else cell_x
        return chance.noise(self.shape, cell_y * self.density, cell_x * self.density)

    def color_at(self, colors: np.ndarray, x: float, y: float) -> Color:
        """The color at a point (units) in an array [3, H, W] of colors."""
        row, column = min(int(y * self.density), self.shape[0] - 1), min(int(x * self.density), self.shape[1] - 1)
        return tuple(float(c) for c in colors[:, row, column])

    def window(self, shapes: Sequence[Shape], margin: float) -> Window | None:
        """The pixels that hold the shapes and a margin (units); None where the shapes lie outside of the image."""
        boxes = [shape.bounds() for shape in shapes]
        x0 = max(0, int((min(b[0] for b in boxes) - margin) * self.density))
        y0 = max(0, int((min(b[1] for b in boxes) - margin) * self.density))
        x1 = min(self.shape[1], int((max(b[2] for b in boxes) + margin) * self.density) + 1)
        y1 = min(self.shape[0], int((max(b[3] for b in boxes) + margin) * self.density) + 1)
        if x1 - x0 < 2 or y1 - y0 < 2:
            return None
        return slice(y0, y1), slice(x0, x1)

    def distance(self, shapes: Sequence[Shape], window: Window, blend: float = 0.0) -> np.ndarray:
        """Signed distance [h, w] in units to the union of the shapes, within the window."""
        x, y = self.x[:, window[1]], self.y[window[0]]
        return union([shape.distance(x, y) for shape in shapes], blend)

    def lay(self, window: Window, color: np.ndarray, cover: np.ndarray) -> None:
        """Cover the window with a color ([3, h, w] or [3, 1, 1]) to the share `cover` [h, w]."""
        below = self.rgb[:, window[0], window[1]]
        below += (color - below) * cover

    def paint(
        self,
        shapes: Sequence[Shape],
        color: Color | np.ndarray,
        *,
        blend: float = 0.0,
        opacity: float = 1.0,
        soft: float = 0.0,
        relief: float = 0.0,
        pet: str = "",
    ) -> None:
        """Paint shapes in a color, or in an array [3, H, W] of colors that is as large as the image.

        `soft` is the width of the edge in units, one pixel at least; `relief` shades the shape as if it were rounded;
        `pet` is "" for scenery, "add" where the shape belongs to the pet, "over" to stay within the pet,
        "hide" where it stands before the pet.
        """
        soft = max(soft, 1 / self.density)
        window = self.window(shapes, soft)
        if window is None:
            return
        d = self.distance(shapes, window, blend)
        cover = np.clip(np.float32(0.5) - d * np.float32(1 / soft), 0, 1) * np.float32(opacity)
        pets = self.pet[window]
        if pet == "over":
            cover = cover * pets
        elif pet == "add":
            pets += (1 - pets) * cover
        elif pet == "hide":
            pets *= 1 - cover
        paint = color[:, window[0], window[1]] if isinstance(color, np.ndarray) else column(color)
        if relief:
            paint = paint * (1 + np.float32(relief) * self.rounded_light(d))
        self.lay(window, paint, cover)

    def rounded_light(self, d: np.ndarray, depth: float | None = None) -> np.ndarray:
        """Light and shade [h, w], about -1..1, of a rounded thing with distances `d`, lit from above left."""
        if depth is None:
            depth = max(3.0, -float(d.min()) * 0.9)
        rim = np.clip(1 + d * np.float32(1 / depth), 0, 1)
        gy, gx = np.gradient(d)
        return -(gx * np.float32(0.45) + gy * np.float32(0.85)) * rim * np.float32(self.density)
