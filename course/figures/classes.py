"""Figures of notebook 07: masks of several classes, region against class, and what two splits promise."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from course.figures.images import image_grid
from labkit import painting
from labkit.curves import BLUE, COLORS, VERMILION, new_figure

GRAY = "0.45"


def class_panels(rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str], classes: int) -> Figure:
    """Images and masks in their class colors, with a legend of the colors.

    Args:
        rows: as for `image_grid`.
        titles: above each column.
        classes: number of classes, background included.
    """
    figure = image_grid(rows, titles=titles)
    tallness = max(image.shape[0] / image.shape[1] for row in rows for image in row)
    figure.set_size_inches(8.5, 0.4 + len(rows) * (0.1 + 7.8 / len(titles) * tallness))
    colors = painting.CLASS_COLORS[:classes] / 255
    handles = [Patch(facecolor=color, edgecolor="0.5", label=f"{index}") for index, color in enumerate(colors)]
    figure.legend(handles=handles, title="class", loc="outside right upper", fontsize=8, title_fontsize=8)
    return figure


def region_and_class(history: pd.DataFrame, everything: float, chance: float) -> Figure:
    """Dice of the region, and the share of right classes among the found pixels, by epoch, with their baselines.

    Args:
        history: columns `epoch, region, right_class`.
        everything: Dice of the region when every pixel is called foreground.
        chance: share of right classes when always the most frequent class is said.
    """
    figure = new_figure(8.5, 3.0)
    panels = (
        ("region", "Dice of the region", BLUE, everything, "all pixels called foreground"),
        ("right_class", "right class, of the pixels found", VERMILION, chance, "always the most frequent class"),
    )
    for axes, (column, label, color, baseline, name) in zip(figure.subplots(1, 2), panels, strict=True):
        axes.plot(history["epoch"], history[column], marker="o", markersize=4, color=color)
        axes.axhline(baseline, color=GRAY, linestyle="--", linewidth=1, label=f"{name}: {baseline:.2f}")
        axes.set(xlabel="epoch", ylabel=label, ylim=(0, 1))
        axes.set_xticks(history["epoch"])
        axes.legend(loc="lower right", fontsize=8)
    return figure


def promise_and_truth(scores: pd.DataFrame) -> Figure:
    """Dice of each class under several splits: a bar for the mean of the folds, a dot for each fold.

    Args:
        scores: columns `split, fold`, and one for each class.
    """
    figure = new_figure(8.5, 3.2)
    axes = figure.subplots()
    classes = [name for name in scores.columns if name not in ("split", "fold")]
    splits = list(scores.groupby("split", sort=False))
    width = 0.8 / len(splits)
    for number, (split, rows) in enumerate(splits):
        places = np.arange(len(classes)) + (number - (len(splits) - 1) / 2) * width
        means = rows[classes].mean()
        axes.bar(places, means, width * 0.95, color=COLORS[number], alpha=0.6, label=split)
        for place, name in zip(places, classes, strict=True):
            axes.plot(np.full(len(rows), place), rows[name], "o", color="black", markersize=3)
    axes.plot([], [], "o", color="black", markersize=3, label="one fold")
    axes.set_xticks(range(len(classes)), classes)
    axes.set(ylabel="validation Dice, pooled", ylim=(0, 1.02))
    axes.grid(axis="x", visible=False)
    figure.legend(loc="outside upper center", ncols=len(splits) + 1, fontsize=9)
    return figure
