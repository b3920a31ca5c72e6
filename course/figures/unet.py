"""Figures of notebook 02: patterns of upsampling, feature maps."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from course.figures.images import image_grid
from labkit.curves import new_figure


def up_patterns(rows: Mapping[str, Sequence[np.ndarray]], titles: Sequence[str]) -> Figure:
    """The outputs of several kinds of upsampling for a constant input: a square with its value for each pixel.

    Args:
        rows: label -> `float [H, W]` for each kind; whole numbers are written without decimals. In each map the
            smallest value is light and the largest dark; a map of one value has one color.
        titles: of the kinds (columns).
    """
    figure = new_figure(8.5, 8.5 / len(titles) * len(rows) + 0.3)
    grid = figure.subplots(len(rows), len(titles), squeeze=False)
    for axes, (label, maps) in zip(grid, rows.items(), strict=True):
        form = "{:.0f}" if all(np.allclose(m, np.round(m), atol=1e-5) for m in maps) else "{:.1f}"
        for place, values in zip(axes, maps, strict=True):
            flat = np.ptp(values) < 1e-4
            share = np.full_like(values, 0.5) if flat else (values - values.min()) / np.ptp(values)
            edges = {"edgecolors": "white", "linewidth": 1}
            place.pcolormesh(share, cmap="Blues", vmin=-0.4, vmax=1.3, **edges)
            for (i, j), value in np.ndenumerate(values):
                shade = "white" if share[i, j] > 0.6 else "black"
                place.text(j + 0.5, i + 0.5, form.format(value), ha="center", va="center", fontsize=8, color=shade)
            place.set(xticks=[], yticks=[], aspect="equal")
            place.invert_yaxis()
            place.grid(False)
            place.spines[:].set_visible(False)
        axes[0].set_ylabel(label, fontsize=9)
    for place, title in zip(grid[0], titles, strict=True):
        place.set_title(title, fontsize=9)
    return figure


def feature_maps(image: np.ndarray, stages: Mapping[str, np.ndarray], shown: int = 5) -> Figure:
    """The image at the scale of each stage, and the stage's feature maps with the largest variation.

    Args:
        image: `uint8 [H, W, 3]`.
        stages: name of the stage -> `float [C, h, w]`. Each map is scaled to its own range.
        shown: number of maps of each stage.
    """
    rows, labels = [], []
    for name, maps in stages.items():
        chosen = strongest_channels(maps)[:shown]
        reduced = np.asarray(Image.fromarray(image).resize(maps.shape[:0:-1], Image.BOX))
        rows.append([reduced, *(painted_map(maps[channel]) for channel in chosen)])
        labels.append(f"{name}\n{maps.shape[1]} × {maps.shape[2]}")
    titles = ["image", *(f"rank {rank}" for rank in range(1, max(map(len, rows))))]
    return image_grid(rows, titles=titles, labels=labels, width=7.5)


def strongest_channels(maps: np.ndarray) -> np.ndarray:
    """Indices of the channels of `[C, h, w]`, `int64 [C]`, from the largest spatial deviation to the smallest."""
    return np.argsort(-maps.std(axis=(1, 2)), kind="stable")


def painted_map(values: np.ndarray) -> np.ndarray:
    """One map `[h, w]` from its smallest value (dark) to its largest (bright), `uint8 [h, w, 3]`."""
    spread = np.ptp(values)
    share = (values - values.min()) / (spread if spread > 0 else 1)
    return matplotlib.colormaps["viridis"](share, bytes=True)[..., :3]
