"""Figures of notebook 07: region against class, and what two splits promise."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from labkit.curves import BLUE, COLORS, PURPLE, VERMILION, new_figure

CHANCE = (0.45, 0.45, 0.45)


def region_and_class(history: pd.DataFrame, chance: float) -> Figure:
    """Dice of the region and of the classes by epoch; share of the pixels found as pet that have the right class.

    Args:
        history: columns `epoch, region, classes, right_class`.
        chance: share of right classes when always the more frequent class is predicted.
    """
    figure = new_figure(8.5, 3.0)
    left, right = figure.subplots(1, 2)
    for column, label, color, marker in (("region", "region", BLUE, "o"), ("classes", "classes", VERMILION, "s")):
        left.plot(history["epoch"], history[column], marker=marker, ms=4, color=color, label=label)
    left.set(xlabel="epoch", ylabel="validation Dice", ylim=(0, 1))
    left.legend(loc="lower right", fontsize=9)
    right.plot(history["epoch"], history["right_class"], marker="D", ms=4, color=PURPLE)
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
        bars = axes.bar(places, list(dice.values()), width * 0.95, color=COLORS[i], label=split)
        axes.bar_label(bars, [f"{value:.2f}" for value in dice.values()], fontsize=8, padding=2)
    axes.set_xticks(range(len(dice)), list(dice))
    axes.set(ylabel="test Dice, pooled", ylim=(0, 1.08))
    axes.grid(axis="x", visible=False)
    figure.legend(loc="outside upper center", ncols=len(scores), fontsize=9)
    return figure
