"""Figures of notebook 06: the steps of a gate, and its maps during the training."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from labkit.curves import new_figure


def gate_steps(image: np.ndarray, panels: Mapping[str, np.ndarray]) -> Figure:
    """An image and the steps of a gate side by side, in gray on one scale from 0 to 1.

    Args:
        image: `uint8 [H, W, 3]`.
        panels: title -> `float [h, w]`, of any size.
    """
    columns = 1 + len(panels)
    figure = new_figure(8.5, 0.9 + 8.5 / columns * image.shape[0] / image.shape[1])
    grid = figure.subplots(1, columns)
    grid[0].imshow(image)
    grid[0].set_title("image", fontsize=10)
    for axes, (title, values) in zip(grid[1:], panels.items(), strict=True):
        shown = axes.imshow(values, cmap="gray", vmin=0, vmax=1)
        axes.set_title(title, fontsize=10)
    _bare(grid)
    bar = figure.colorbar(shown, ax=list(grid), orientation="horizontal", shrink=0.4, aspect=30, pad=0.04)
    bar.set_label("value", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return figure


def gates_by_epoch(
    images: Sequence[np.ndarray], maps: Sequence[Sequence[np.ndarray]], epochs: Sequence[int], labels: Sequence[str]
) -> Figure:
    """A gate's maps of the same images during the training; all maps share one color scale.

    Args:
        images: `uint8 [H, W, 3]`, one for each row, of any sizes; maps are stretched to them.
        maps: `maps[row][column]` is `float [h, w]` between 0 and 1.
        epochs: of the columns.
        labels: of the rows.
    """
    tallness = [image.shape[0] / image.shape[1] for image in images]
    figure = new_figure(8.5, 0.5 + 7.6 / (len(epochs) + 1) * sum(tallness))
    grid = figure.subplots(len(images), len(epochs) + 1, squeeze=False, height_ratios=tallness)
    low, high = (float(limit([m for row in maps for m in row])) for limit in (np.min, np.max))
    for row, image, row_maps, label in zip(grid, images, maps, labels, strict=True):
        row[0].imshow(image)
        row[0].set_ylabel(label, fontsize=8)
        for axes, weights in zip(row[1:], row_maps, strict=True):
            extent = (0, image.shape[1], image.shape[0], 0)
            shown = axes.imshow(weights, cmap="viridis", vmin=low, vmax=high, extent=extent)
    _bare(grid)
    for axes, title in zip(grid[0], ["image", *(f"epoch {epoch}" for epoch in epochs)], strict=True):
        axes.set_title(title, fontsize=9)
    bar = figure.colorbar(shown, ax=grid, shrink=0.8, fraction=0.03, pad=0.01)
    bar.set_label("weight of the gate", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return figure


def _bare(grid: np.ndarray) -> None:
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set_visible(False)
