"""Figures of notebook 06: gates, region against class, and splits."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from labkit.curves import new_figure
from labkit.painting import BLUE, GREEN, ORANGE, PURPLE, VERMILION

LINES = [tuple(value / 255 for value in color) for color in (BLUE, VERMILION, ORANGE, GREEN, PURPLE)]
CHANCE = (0.45, 0.45, 0.45)


def gate_steps(panels: Mapping[str, np.ndarray]) -> Figure:
    """The steps of a gate side by side, each with its own color scale.

    Args:
        panels: title -> `float [h, w]`, drawn in colors, or `uint8 [H, W, 3]`.
    """
    figure = new_figure(8.5, 2.5)
    for axes, (title, values) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        shown = axes.imshow(values, cmap="viridis")
        axes.set_title(title, fontsize=9)
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        if values.ndim == 2:
            bar = figure.colorbar(shown, cax=axes.inset_axes((0.08, -0.13, 0.84, 0.07)), orientation="horizontal")
            bar.ax.tick_params(labelsize=8)
            bar.ax.locator_params(nbins=3)
    return figure


def gates_by_epoch(
    images: Sequence[np.ndarray], maps: Sequence[Sequence[np.ndarray]], epochs: Sequence[int], labels: Sequence[str]
) -> Figure:
    """A gate's maps of the same images during the training; all maps share one color scale.

    Args:
        images: `uint8 [H, W, 3]`, one for each row.
        maps: `maps[row][column]` is `float [H, W]` between 0 and 1.
        epochs: of the columns.
        labels: of the rows.
    """
    figure = new_figure(8.5, 0.45 + 8.0 / (len(epochs) + 1.6) * len(images))
    grid = figure.subplots(len(images), len(epochs) + 1, squeeze=False)
    low, high = (float(limit([m for row in maps for m in row])) for limit in (np.min, np.max))
    for row, image, row_maps, label in zip(grid, images, maps, labels, strict=True):
        row[0].imshow(image)
        row[0].set_ylabel(label, fontsize=9)
        for axes, weights in zip(row[1:], row_maps, strict=True):
            shown = axes.imshow(weights, cmap="viridis", vmin=low, vmax=high)
        for axes in row:
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
    for axes, title in zip(grid[0], ["image", *(f"epoch {epoch}" for epoch in epochs)], strict=True):
        axes.set_title(title, fontsize=9)
    bar = figure.colorbar(shown, ax=grid, shrink=0.8, fraction=0.03, pad=0.01)
    bar.set_label("weight of the gate", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return figure


def region_and_class(history: pd.DataFrame, chance: float) -> Figure:
    """Dice of the region and of the classes by epoch; share of the pixels found as pet that have the right class.

    Args:
        history: columns `epoch, region, classes, right_class`.
        chance: share of right classes when always the more frequent class is predicted.
    """
    figure = new_figure(8.5, 3.0)
    left, right = figure.subplots(1, 2)
    for column, label, color, marker in (("region", "region", 0, "o"), ("classes", "classes", 1, "s")):
        left.plot(history["epoch"], history[column], marker=marker, ms=4, color=LINES[color], label=label)
    left.set(xlabel="epoch", ylabel="validation Dice", ylim=(0, 1))
    left.legend(loc="lower right", fontsize=9)
    right.plot(history["epoch"], history["right_class"], marker="D", ms=4, color=LINES[4])
    right.axhline(chance, color=CHANCE, ls="--", lw=1, label=f"always the same class: {chance:.2f}")
    right.set(xlabel="epoch", ylabel="right class, where a pet was found", ylim=(0, 1))
    right.legend(loc="lower right", fontsize=9)
    for axes in (left, right):
        axes.set_xticks(history["epoch"])
    return figure


def promise_and_truth(scores: Mapping[str, Mapping[str, float]]) -> Figure:
    """Dice of each class under several splits, as grouped bars.

    Args:
        scores: name of the split -> class -> Dice.
    """
    figure = new_figure(8.5, 3.0)
    axes = figure.subplots()
    width = 0.8 / len(scores)
    for i, (split, dice) in enumerate(scores.items()):
        places = np.arange(len(dice)) + (i - (len(scores) - 1) / 2) * width
        bars = axes.bar(places, list(dice.values()), width * 0.95, color=LINES[i], label=split)
        axes.bar_label(bars, [f"{value:.2f}" for value in dice.values()], fontsize=8, padding=2)
    axes.set_xticks(range(len(dice)), list(dice))
    axes.set(ylabel="test Dice, pooled", ylim=(0, 1.08))
    axes.grid(axis="x", visible=False)
    figure.legend(loc="outside upper center", ncols=len(scores), fontsize=9)
    return figure
