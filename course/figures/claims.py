"""Figures of notebook 08: runs of every arm, intervals of every comparison, curves of a claim's arms."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from labkit.curves import BLUE, COLORS, ORANGE, PURPLE, SKY, VERMILION, new_figure

GRAY = (0.45, 0.45, 0.45)
FOUND = {"as said": BLUE, "opposite": VERMILION, "open": GRAY}


def run_strip(arms: Mapping[str, Sequence[float]], measure: str = "test Dice") -> Figure:
    """One row an arm, the best at the top: a small dot for each run and a bar for their mean."""
    order = sorted(arms, key=lambda name: np.mean(arms[name]))
    figure = new_figure(8.5, 1.0 + 0.19 * len(order))
    axes = figure.subplots()
    for row, name in enumerate(order):
        axes.scatter(arms[name], np.full(len(arms[name]), row), s=14, color=BLUE, alpha=0.7, linewidths=0)
        axes.scatter(np.mean(arms[name]), row, marker="|", s=70, color=VERMILION, zorder=3)
    axes.set_yticks(range(len(order)), order, fontsize=8)
    axes.set(xlabel=f"{measure} of a run (dots), mean of the arm (bar)", ylim=(-0.7, len(order) - 0.3))
    return figure


def forest(table: pd.DataFrame, unit: str = "difference of test Dice") -> Figure:
    """One row a comparison: its effect with its interval; what was found by color, what was said of it as a tick.

    `table` has `effect, low, high, than, found` and `label`, the row's text; rows without an effect are left out.
    """
    rows = table.dropna(subset="effect").iloc[::-1].reset_index(drop=True)
    figure = new_figure(8.5, 1.1 + 0.24 * len(rows))
    axes = figure.subplots()
    axes.axvline(0, color="black", linewidth=0.8)
    for name, color in FOUND.items():
        part = rows[rows["found"] == name]
        if len(part):
            reach = [part["effect"] - part["low"], part["high"] - part["effect"]]
            axes.errorbar(part["effect"], part.index, xerr=reach, fmt="o", color=color, markersize=4, label=name)
    said = rows[rows["than"] != 0]
    axes.scatter(said["than"], said.index, marker="|", s=90, color="black", label="bound that was said")
    axes.set_yticks(range(len(rows)), rows["label"], fontsize=8)
    axes.set(xlabel=f"{unit}, with its interval", ylim=(-0.7, len(rows) - 0.3))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.6 / figure.get_figheight()), ncols=4, fontsize=8)
    return figure


def arm_curves(arms: Mapping[str, Sequence[pd.DataFrame]], columns: Mapping[str, str]) -> Figure:
    """Curves by epoch: a thin line a run, a thick one for the mean of an arm, a panel for each of `columns`.

    `columns` are names of the records' table of epochs with their titles.
    """
    figure = new_figure(8.5, 3.0)
    panels = np.atleast_1d(figure.subplots(1, len(columns)))
    for axes, (column, title) in zip(panels, columns.items(), strict=True):
        for (name, runs), color in zip(arms.items(), (*COLORS, PURPLE, SKY), strict=False):
            for run in runs:
                axes.plot(run["epoch"], run[column], color=color, alpha=0.3, linewidth=0.8)
            mean = pd.concat(runs).groupby("epoch")[column].mean()
            axes.plot(mean.index, mean, color=color, linewidth=2, label=name)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    return figure


def coverage(intervals: Sequence[tuple[float, float]], truth: float) -> Figure:
    """Intervals of simulated studies in their order, and the truth; those that miss it stand out."""
    figure = new_figure(8.5, 2.8)
    axes = figure.subplots()
    for missed, color in ((False, SKY), (True, VERMILION)):
        chosen = [(i, low, high) for i, (low, high) in enumerate(intervals) if (low <= truth <= high) != missed]
        if chosen:
            place, low, high = zip(*chosen, strict=True)
            axes.vlines(
                place, low, high, color=color, linewidth=1.4, label="misses the truth" if missed else "holds it"
            )
    axes.axhline(truth, color=ORANGE, linewidth=1.4, label=f"truth: {truth:g}")
    axes.set(xlabel="simulated study", ylabel="interval of the difference")
    axes.legend(loc="upper right", fontsize=8, ncols=3)
    return figure
