"""Arrays to pictures: overlay, error map, outline, montage. All pictures are `uint8 [H, W, 3]`."""

from collections.abc import Sequence

import numpy as np

# a palette that people with colour-blindness can tell apart (Okabe and Ito)
ORANGE, SKY, GREEN, VERMILION, PURPLE, BLUE = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (213, 94, 0),
    (204, 121, 167),
    (0, 114, 178),
)
CLASS_COLOURS = ((0, 0, 0), ORANGE, SKY, GREEN, VERMILION, PURPLE, BLUE)


def trimap_picture(trimap: np.ndarray) -> np.ndarray:
    """A trimap `[H, W]` in colours: pet orange, background dark grey, border white."""
    colours = np.array([(0, 0, 0), ORANGE, (60, 60, 60), (255, 255, 255)], dtype=np.uint8)
    return colours[trimap]


def mask_picture(mask: np.ndarray) -> np.ndarray:
    """A class-index mask `[H, W]` in colours: background black, class 1 orange, ...; 255 (ignored) light grey."""
    colours = np.full((256, 3), 200, dtype=np.uint8)
    colours[: len(CLASS_COLOURS)] = CLASS_COLOURS
    return colours[mask.astype(np.uint8)]


def overlay(image: np.ndarray, mask: np.ndarray, opacity: float = 0.5, colour: Sequence[int] = SKY) -> np.ndarray:
    """The image with the mask's pixels tinted.

    Args:
        image: `uint8 [H, W, 3]`.
        mask: `bool [H, W]`.
        opacity: 0 leaves the image, 1 paints over it.
        colour: red, green, blue, 0 to 255.
    """
    tinted = image.astype(np.float32)
    tinted[mask] = (1 - opacity) * tinted[mask] + opacity * np.asarray(colour, dtype=np.float32)
    return tinted.round().astype(np.uint8)


def outline(mask: np.ndarray, thickness: int = 1) -> np.ndarray:
    """Pixels of the mask `bool [H, W]` that have a neighbour outside it, `thickness` pixels deep."""
    inner = mask
    for _ in range(thickness):
        padded = np.pad(inner, 1, mode="edge")
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def with_outline(image: np.ndarray, mask: np.ndarray, colour: Sequence[int] = (255, 255, 255)) -> np.ndarray:
    """The image with the mask's outline drawn on it."""
    drawn = image.copy()
    drawn[outline(mask)] = colour
    return drawn


def error_map(image: np.ndarray, prediction: np.ndarray, truth: np.ndarray, opacity: float = 0.65) -> np.ndarray:
    """The image, greyed, with its mistakes: missed pet pixels blue, background taken for pet vermilion.

    Args:
        image: `uint8 [H, W, 3]`.
        prediction: `bool [H, W]`.
        truth: `bool [H, W]`.
        opacity: of the colours.
    """
    grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    missed = overlay(grey, truth & ~prediction, opacity, BLUE)
    return with_outline(overlay(missed, prediction & ~truth, opacity, VERMILION), truth)


def montage(rows: Sequence[Sequence[np.ndarray]], gap: int = 4, paper: int = 255) -> np.ndarray:
    """Pictures of one size, `rows[i][j]` each `uint8 [H, W, 3]`, side by side with a gap between them."""
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    sheet = np.full((len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 3), paper, dtype=np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            sheet[i * (height + gap) :, j * (width + gap) :][:height, :width] = picture
    return sheet
