"""Masks as images, and images in a grid."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from labkit.curves import BLUE, VERMILION, new_figure
from labkit.painting import CLASS_COLORS, ORANGE, WHITE, outline, overlay

ERRORS = {"missed": BLUE, "extra": VERMILION, "true outline, where right": (1, 1, 1)}
"""What the colors of an error map mean."""


def trimap_image(trimap: np.ndarray) -> np.ndarray:
    """A trimap `[H, W]` in colors: pet orange, background dark gray, border white."""
    return np.array([(0, 0, 0), ORANGE, (60, 60, 60), WHITE], dtype=np.uint8)[trimap]


def mask_image(mask: np.ndarray) -> np.ndarray:
    """A mask `[H, W]` (class indices, or `bool`) in `CLASS_COLORS`."""
    return CLASS_COLORS[mask.astype(np.uint8)]


def with_outline(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image with the mask's outline drawn on it in white."""
    return overlay(image, outline(mask), 1.0, WHITE)


def image_grid(
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    notes: Sequence[Sequence[str]] | None = None,
    width: float = 8.5,
    legend: Mapping[str, tuple] | None = None,
) -> Figure:
    """Images in a grid without axes.

    Args:
        rows: `rows[i][j]` is `uint8 [H, W, 3]`, or `[H, W]` to be shown in gray.
        titles: above each column.
        labels: left of each row.
        notes: text under each image.
        width: of the whole figure in inches.
        legend: what the colors mean, such as `ERRORS`; above the images.
    """
    columns = max(len(row) for row in rows)
    side = width / columns
    line = 0.22 * bool(notes)
    figure = new_figure(width, len(rows) * (side + line) + 0.3 * bool(titles) + 0.3 * bool(legend))
    if legend:
        handles = [Patch(facecolor=color, edgecolor="0.5", label=name) for name, color in legend.items()]
        figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), fontsize=8)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for i, row in enumerate(rows):
        for j in range(columns):
            place = axes[i][j]
            place.set(xticks=[], yticks=[])
            place.grid(False)
            for spine in place.spines.values():
                spine.set_visible(False)
            if j >= len(row):
                continue
            place.imshow(row[j], cmap="gray" if row[j].ndim == 2 else None)
            if titles and i == 0:
                place.set_title(titles[j], fontsize=10)
            if labels and j == 0:
                place.set_ylabel(labels[i], fontsize=10)
            if notes:
                place.set_xlabel(notes[i][j], fontsize=8)
    return figure
