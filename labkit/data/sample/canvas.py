"""The picture being painted, and the coverage of the pet in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from labkit.data.sample.chance import Colour
from labkit.data.sample.shapes import Shape, union

Window = tuple[slice, slice]


def column(colour: Colour) -> np.ndarray:
    """A colour as an array [3, 1, 1] float32."""
    return np.array(colour, dtype=np.float32)[:, None, None]


def blended(first: Colour, second: Colour, share: np.ndarray) -> np.ndarray:
    """Colours [3, h, w] between two, following `share` [h, w] in 0..1."""
    return column(first) + (column(second) - column(first)) * share


def ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, eased in between; same shape as `values`."""
    t = np.clip((values - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


@dataclass(frozen=True)
class Scene:
    """What the painter of the pet needs: the rows (pixels) its feet may stand on, and a colour of the scene."""

    nearest: float
    farthest: float
    colour: Colour
    grassy: bool = False


class Canvas:
    """A picture of height H and width W.

    `rgb` [3, H, W] float32, 0..1; `pet` [H, W] float32, the share of each pixel that the pet covers;
    `x` [1, W] and `y` [H, 1] are pixel centres.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.rgb = np.zeros((3, height, width), np.float32)
        self.pet = np.zeros((height, width), np.float32)
        self.x = np.arange(width, dtype=np.float32)[None] + np.float32(0.5)
        self.y = np.arange(height, dtype=np.float32)[:, None] + np.float32(0.5)

    def window(self, shapes: Sequence[Shape], margin: float) -> Window | None:
        """The part of the picture that holds the shapes and a margin (pixels); None when outside."""
        boxes = [shape.bounds() for shape in shapes]
        x0 = max(0, int(min(b[0] for b in boxes) - margin))
        y0 = max(0, int(min(b[1] for b in boxes) - margin))
        x1 = min(self.width, int(max(b[2] for b in boxes) + margin) + 1)
        y1 = min(self.height, int(max(b[3] for b in boxes) + margin) + 1)
        if x1 - x0 < 2 or y1 - y0 < 2:
            return None
        return slice(y0, y1), slice(x0, x1)

    def distance(self, shapes: Sequence[Shape], window: Window, blend: float = 0.0) -> np.ndarray:
        """Signed distance [h, w] in pixels to the union of the shapes, within the window."""
        x, y = self.x[:, window[1]], self.y[window[0]]
        return union([shape.distance(x, y) for shape in shapes], blend)

    def lay(self, window: Window, colour: np.ndarray, cover: np.ndarray) -> None:
        """Cover the window with a colour ([3, h, w] or [3, 1, 1]) to the share `cover` [h, w]."""
        below = self.rgb[:, window[0], window[1]]
        below += (colour - below) * cover

    def paint(
        self,
        shapes: Sequence[Shape],
        colour: Colour | np.ndarray,
        *,
        blend: float = 0.0,
        opacity: float = 1.0,
        soft: float = 1.0,
        relief: float = 0.0,
        pet: str = "",
    ) -> None:
        """Paint shapes (in pixels) in a colour, or in a picture-sized array [3, H, W] of colours.

        `soft` is the width of the edge in pixels; `relief` shades the shape as if it were rounded;
        `pet` is "" for scenery, "add" where the shape belongs to the pet, "over" to stay within the pet,
        "hide" where it stands before the pet.
        """
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
        paint = colour[:, window[0], window[1]] if isinstance(colour, np.ndarray) else column(colour)
        if relief:
            paint = paint * (1 + np.float32(relief) * rounded_light(d))
        self.lay(window, paint, cover)


def rounded_light(d: np.ndarray, depth: float | None = None) -> np.ndarray:
    """Light and shade [h, w] in about -1..1 of a cushion with distance field `d`, lit from above left."""
    if depth is None:
        depth = max(3.0, -float(d.min()) * 0.9)
    rim = np.clip(1 + d * np.float32(1 / depth), 0, 1)
    gy, gx = np.gradient(d)
    return -(gx * np.float32(0.45) + gy * np.float32(0.85)) * rim
