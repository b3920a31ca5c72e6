"""Arrays to pictures: overlay, error map, outline, montage. All pictures are `uint8 [H, W, 3]`."""

from collections.abc import Sequence

import numpy as np

# a palette that people with color-blindness can tell apart (Okabe and Ito)
ORANGE, SKY, GREEN, VERMILION, PURPLE, BLUE = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (213, 94, 0),
    (204, 121, 167),
    (0, 114, 178),
)
IGNORED = 255  # as in the masks; painted light gray


def _spread_colors(given: Sequence[Sequence[int]], apart_from: Sequence[Sequence[int]], number: int) -> np.ndarray:
    """`given` and after it colors each as far from all before (and from `apart_from`) as can be, `uint8 [number, 3]`.

    Far is Euclidean in Oklab, where equal distances look equal (Ottosson, "A perceptual color space for image
    processing", 2020); picking the farthest next is the idea of Glasbey et al., "Color displays for categorical
    images", Color Research and Application 32 (2007).
    """
    steps = np.arange(0, 256, 17)
    candidates = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    candidates = candidates[_oklab(candidates)[:, 0] > 350]  # darker ones look black on a screen
    places, chosen = _oklab(candidates), list(map(tuple, given))
    nearest = np.full(len(candidates), np.iinfo(np.int64).max)
    for color in (*apart_from, *given):
        nearest = np.minimum(nearest, ((places - _oklab(np.array(color))) ** 2).sum(1))
    while len(chosen) < number:
        farthest = int(nearest.argmax())
        chosen.append(tuple(candidates[farthest]))
        nearest = np.minimum(nearest, ((places - places[farthest]) ** 2).sum(1))
    return np.array(chosen, dtype=np.uint8)


def _oklab(colors: np.ndarray) -> np.ndarray:
    """sRGB `[..., 3]`, 0 to 255, in thousandths of Oklab; whole numbers, so that every machine picks the same."""
    share = colors / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    cones = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566]]
    cones += [[0.0883024619, 0.2817188376, 0.6299787005]]
    axes = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099]]
    axes += [[0.0259040371, 0.7827717662, -0.8086757660]]
    return (np.cbrt(linear @ np.array(cones).T) @ np.array(axes).T * 1000).round().astype(np.int64)


CLASS_COLORS = np.concatenate(
    [
        _spread_colors(
            given=((0, 0, 0), ORANGE, SKY, GREEN, VERMILION, PURPLE, BLUE),
            apart_from=((255, 255, 255), (200, 200, 200)),  # outlines and ignored pixels
            number=IGNORED,
        ),
        np.full((1, 3), 200, dtype=np.uint8),
    ]
)
"""The color of each value of a mask, `uint8 [256, 3]`: background black, class 1 orange, ...; 255 (ignored) gray.

The first 38 can be told apart; the first seven by people with color-blindness, too."""
CLASS_COLORS.flags.writeable = False


def trimap_picture(trimap: np.ndarray) -> np.ndarray:
    """A trimap `[H, W]` in colors: pet orange, background dark gray, border white."""
    colors = np.array([(0, 0, 0), ORANGE, (60, 60, 60), (255, 255, 255)], dtype=np.uint8)
    return colors[trimap]


def mask_picture(mask: np.ndarray) -> np.ndarray:
    """A class-index mask `[H, W]` in colors: background black, class 1 orange, ...; 255 (ignored) light gray."""
    return CLASS_COLORS[mask.astype(np.uint8)]


def overlay(image: np.ndarray, mask: np.ndarray, opacity: float = 0.5, color: Sequence[int] = SKY) -> np.ndarray:
    """The image with the mask's pixels tinted.

    Args:
        image: `uint8 [H, W, 3]`.
        mask: `bool [H, W]`.
        opacity: 0 leaves the image, 1 paints over it.
        color: red, green, blue, 0 to 255; one for all, or one for each of the mask's pixels.
    """
    tinted = image.astype(np.float32)
    tinted[mask] = (1 - opacity) * tinted[mask] + opacity * np.asarray(color, dtype=np.float32)
    return tinted.round().astype(np.uint8)


def class_overlay(image: np.ndarray, mask: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """The image `uint8 [H, W, 3]` with the classes of a mask `[H, W]` tinted; background and 255 stay as they are."""
    shown = (mask > 0) & (mask != IGNORED)
    return overlay(image, shown, opacity, CLASS_COLORS[mask[shown]])


def outline(mask: np.ndarray, thickness: int = 1) -> np.ndarray:
    """Pixels of the mask `bool [H, W]` that have a neighbor outside it, `thickness` pixels deep."""
    inner = mask
    for _ in range(thickness):
        padded = np.pad(inner, 1, mode="edge")
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def with_outline(image: np.ndarray, mask: np.ndarray, color: Sequence[int] = (255, 255, 255)) -> np.ndarray:
    """The image with the mask's outline drawn on it."""
    drawn = image.copy()
    drawn[outline(mask)] = color
    return drawn


def error_map(image: np.ndarray, prediction: np.ndarray, truth: np.ndarray, opacity: float = 0.65) -> np.ndarray:
    """The image, grayed, with its mistakes: missed pet pixels blue, background taken for pet vermilion.

    With several classes, pixels that belong to one and were taken for another are purple. The white line is where
    the true foreground, of whichever class, ends; an ignored pixel is never a mistake.

    Args:
        image: `uint8 [H, W, 3]`.
        prediction: `bool [H, W]`, or class indices.
        truth: `bool [H, W]`, or class indices, 255 = ignored.
        opacity: of the colors.
    """
    gray = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    prediction, truth = prediction.astype(np.uint8), truth.astype(np.uint8)
    wrong, pet = (prediction != truth) & (truth != IGNORED), (truth > 0) & (truth != IGNORED)
    painted = overlay(gray, wrong & (prediction == 0), opacity, BLUE)
    painted = overlay(painted, wrong & (truth == 0), opacity, VERMILION)
    painted = overlay(painted, wrong & pet & (prediction > 0), opacity, PURPLE)
    return with_outline(painted, pet)


def agreement(image: np.ndarray, prediction: np.ndarray, truth: np.ndarray, opacity: float = 0.65) -> np.ndarray:
    """Report 004's picture: classes that were found are white, all that is wrong is red (vermilion), on the image.

    Arguments as for `error_map`, which also tells what kind of mistake it is. Background that was found stays as it is.
    """
    prediction, truth = prediction.astype(np.uint8), truth.astype(np.uint8)
    found = overlay(image, (prediction == truth) & (truth > 0), opacity, (255, 255, 255))
    return overlay(found, (prediction != truth) & (truth != IGNORED), opacity, VERMILION)


def montage(rows: Sequence[Sequence[np.ndarray]], gap: int = 4, paper: int = 255) -> np.ndarray:
    """Pictures of one size, `rows[i][j]` each `uint8 [H, W, 3]`, side by side with a gap between them."""
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    sheet = np.full((len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 3), paper, dtype=np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            sheet[i * (height + gap) :, j * (width + gap) :][:height, :width] = picture
    return sheet
