"""Figures of notebook 01: sizes and shares of the pets, and sampling grids of augmentation."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course.figures.images import image_grid, trimap_image
from labkit.curves import new_figure
from labkit.painting import BLUE, GREEN, ORANGE, SKY, VERMILION

SERIES = tuple("#{:02x}{:02x}{:02x}".format(*color) for color in (ORANGE, BLUE, GREEN, VERMILION, SKY))


def pet_grid(
    images: Sequence[np.ndarray], trimaps: Sequence[np.ndarray], titles: Sequence[str], notes: Sequence[str]
) -> Figure:
    """Images of different sizes above their trimaps, at one scale, padded to white squares.

    Args:
        images: each `uint8 [H, W, 3]`.
        trimaps: each `uint8 [H, W]`, values 1, 2, 3.
        titles: above each image.
        notes: below each image.
    """
    side = max(max(trimap.shape) for trimap in trimaps)
    rows = [[_padded(image, side) for image in images], [_padded(trimap_image(t), side) for t in trimaps]]
    return image_grid(rows, titles, ["image", "trimap"], [notes, [""] * len(notes)])


def _padded(image: np.ndarray, side: int) -> np.ndarray:
    """The image centered in a white square."""
    margins = [((side - length) // 2, side - length - (side - length) // 2) for length in image.shape[:2]]
    return np.pad(image, [*margins, (0, 0)], constant_values=255)


def size_and_share(
    heights: Sequence[int], widths: Sequence[int], shares: Mapping[str, np.ndarray], side: int
) -> Figure:
    """Sizes of the images on the left, histograms of the foreground's share on the right.

    Args:
        heights: of the images, in pixels.
        widths: likewise.
        shares: name of each group of images -> foreground shares, 0 to 1.
        side: the square that all images are squashed to, drawn too.
    """
    figure = new_figure(8.5, 3.1)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.5))
    sizes, counts = np.unique(np.stack([widths, heights]), axis=1, return_counts=True)
    area = 8 + 160 * counts / counts.max()
    left.scatter(*sizes, s=area, color=SERIES[1], alpha=0.55, linewidths=0, label="images on disk")
    left.plot(side, side, "s", color=SERIES[3], markersize=8, label=f"squashed to {side} x {side}")
    ends = 0.8 * min(*sizes.min(axis=1), side), 1.12 * max(*sizes.max(axis=1), side)
    left.set(xlim=ends, ylim=ends, xlabel="width in pixels", ylabel="height in pixels")
    left.set_aspect("equal")
    left.legend(loc="lower right", fontsize=8, handletextpad=0.2)
    bins = np.linspace(0, 1, 26)
    for (name, values), color in zip(shares.items(), SERIES, strict=False):
        right.hist(values, bins, histtype="stepfilled", alpha=0.35, color=color)
        right.hist(values, bins, histtype="step", color=color, linewidth=1.5)
        right.axvline(values.mean(), color=color, linestyle="--", linewidth=1.2)
        right.plot([], [], color=color, linewidth=6, alpha=0.6, label=f"{name} (mean {values.mean():.2f})")
    right.set(xlim=(0, 1), xlabel="foreground's share of the image", ylabel="training images")
    right.legend(fontsize=9)
    for place in (left, right):
        place.spines[["top", "right"]].set_visible(False)
    return figure


def warped_meshes(
    image: np.ndarray, grids: Mapping[str, np.ndarray], results: Sequence[np.ndarray], lines: int = 9
) -> Figure:
    """For each sampling grid: the mesh on the source above, the result with a straight mesh below.

    The result's left edge is orange and its top edge blue, in both rows.

    Args:
        image: `uint8 [S, S, 3]`, the source.
        grids: title -> grid `float [S, S, 2]` for `grid_sample` (x, y in [-1, 1]).
        results: the image sampled by each grid, `uint8 [S, S, 3]`.
        lines: number of mesh lines each way.
    """
    side = image.shape[0]
    margin = 0.1 * side
    figure = new_figure(8.5, 3.6)
    axes = figure.subplots(2, len(grids), squeeze=False)
    rows, columns = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    straight = np.stack([columns, rows], axis=-1)
    for j, ((title, grid), result) in enumerate(zip(grids.items(), results, strict=True)):
        for place, shown, mesh in ((axes[0][j], image, ((grid + 1) * side - 1) / 2), (axes[1][j], result, straight)):
            place.imshow(shown)
            _draw_mesh(place, mesh, lines)
            place.set(xticks=[], yticks=[], xlim=(-margin, side + margin), ylim=(side + margin, -margin))
            place.grid(False)
            for spine in place.spines.values():
                spine.set_visible(False)
        axes[0][j].set_title(title, fontsize=10)
    axes[0][0].set_ylabel("source", fontsize=10)
    axes[1][0].set_ylabel("result", fontsize=10)
    return figure


def _draw_mesh(place: Axes, mesh: np.ndarray, lines: int) -> None:
    """Draw every n-th row and column of places `[S, S, 2]` (x, y in pixels); the first of each in color."""
    chosen = np.linspace(0, len(mesh) - 1, lines).round().astype(int)
    for k in chosen[::-1]:
        first = k == 0
        width = 2.4 if first else 0.7
        place.plot(*mesh[k].T, color=SERIES[1] if first else "white", linewidth=width)
        place.plot(*mesh[:, k].T, color=SERIES[0] if first else "white", linewidth=width)
