"""Arrays to images: overlay, error map, outline, montage. All results are `uint8 [H, W, 3]`."""

import colorsys
from collections.abc import Sequence

import numpy as np

# a palette that people with color-blindness can tell apart (Okabe and Ito)
ORANGE, SKY, GREEN = (230, 159, 0), (86, 180, 233), (0, 158, 115)
VERMILION, PURPLE, BLUE = (213, 94, 0), (204, 121, 167), (0, 114, 178)
WHITE = (255, 255, 255)
IGNORED = 255  # as in the masks; painted light gray


def _class_colors() -> np.ndarray:
    """Okabe and Ito's colors, then hues a golden section apart in four tones (saturation, value)."""
    colors = [(0, 0, 0), ORANGE, SKY, GREEN, VERMILION, PURPLE, BLUE]
    tones = ((1, 1), (0.5, 0.6), (0.45, 1), (1, 0.55))
    for number in range(IGNORED - len(colors)):
        hue = (0.2 + 0.618034 * number) % 1
        colors.append([round(255 * share) for share in colorsys.hsv_to_rgb(hue, *tones[number % len(tones)])])
    return np.array([*colors, (200, 200, 200)], dtype=np.uint8)


CLASS_COLORS = _class_colors()
"""The color of each value of a mask, `uint8 [256, 3]`: background black, class 1 orange, ...; 255 (ignored) gray.
The first 38 can be told apart; the first seven by people with color-blindness, too."""
CLASS_COLORS.flags.writeable = False


def overlay(image: np.ndarray, mask: np.ndarray, opacity: float = 0.5, color: Sequence[int] = SKY) -> np.ndarray:
    """The image `uint8 [H, W, 3]` with the pixels of the mask `bool [H, W]` tinted.

    Opacity 0 leaves the image, 1 paints over it. The color is one for all, or one for each of the mask's pixels.
    """
    tinted = image.astype(np.float32)
    tinted[mask] = (1 - opacity) * tinted[mask] + opacity * np.asarray(color, dtype=np.float32)
    return tinted.round().astype(np.uint8)


def class_overlay(image: np.ndarray, mask: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """The image with the classes of a mask `[H, W]` tinted; background and 255 stay as they are."""
    shown = (mask > 0) & (mask != IGNORED)
    return overlay(image, shown, opacity, CLASS_COLORS[mask[shown]])


def outline(mask: np.ndarray) -> np.ndarray:
    """Pixels of the mask `bool [H, W]` that have one of their four neighbors outside it."""
    padded = np.pad(mask, 1, mode="edge")
    return mask & ~(padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:])


def error_map(image: np.ndarray, prediction: np.ndarray, truth: np.ndarray, opacity: float = 0.65) -> np.ndarray:
    """The image in gray with its mistakes: missed pet pixels blue, background taken for pet vermilion.

    With several classes, pixels that belong to one and were taken for another are purple. The true foreground has a
    white outline, which leaves mistakes visible; an ignored pixel is never a mistake.

    The image is `uint8 [H, W, 3]`; prediction and truth `[H, W]` are `bool`, or class indices with 255 for ignored.
    """
    gray = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    prediction, truth = prediction.astype(np.uint8), truth.astype(np.uint8)
    wrong, pet = (prediction != truth) & (truth != IGNORED), (truth > 0) & (truth != IGNORED)
    painted = overlay(gray, wrong & (prediction == 0), opacity, BLUE)
    painted = overlay(painted, wrong & (truth == 0), opacity, VERMILION)
    painted = overlay(painted, wrong & pet & (prediction > 0), opacity, PURPLE)
    return overlay(painted, outline(pet) & ~wrong, 1.0, WHITE)


def agreement(image: np.ndarray, prediction: np.ndarray, truth: np.ndarray, opacity: float = 0.65) -> np.ndarray:
    """As report 004 draws it: classes that were found are white, all that is wrong is vermilion, on the image.

    Arguments as for `error_map`, which also tells what kind of mistake it is.
    """
    prediction, truth = prediction.astype(np.uint8), truth.astype(np.uint8)
    found = overlay(image, (prediction == truth) & (truth > 0), opacity, WHITE)
    return overlay(found, (prediction != truth) & (truth != IGNORED), opacity, VERMILION)


def montage(rows: Sequence[Sequence[np.ndarray]], gap: int = 4) -> np.ndarray:
    """Images of one size, `rows[i][j]` each `uint8 [H, W, 3]`, as a grid with white gaps; all rows are equally long."""
    cells = np.pad(np.array(rows), ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    lines, columns, height, width, _ = cells.shape
    sheet = cells.swapaxes(1, 2).reshape(lines * height, columns * width, 3)
    return sheet[: lines * height - gap, : columns * width - gap]
