"""Figures of notebook 05 that compare: effects with their intervals, seeds, costs, distributions under chance."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from scipy import stats

from course.compare import Difference, Variance, mean_interval
from labkit.curves import BLUE, COLORS, VERMILION, new_figure

GRAY = "0.6"


def mean_row(label: str, values: np.ndarray, group: str = "") -> dict[str, object]:
    """A line of an interval plot: the mean of a number that each image has, with its 95 % interval."""
    return dict(zip(("label", "value", "low", "high", "group"), (label, *mean_interval(values), group), strict=True))


def interval_plot(
    rows: pd.DataFrame | Sequence[Mapping],
    xlabel: str,
    reference: float | None = None,
    points: Sequence[np.ndarray] = (),
) -> Figure:
    """Values with their intervals, one below the other.

    Args:
        rows: `label, value, low, high` of each line, from the top; perhaps `group`, which colors the lines.
        reference: of a dashed line, such as no difference.
        points: for each row the single values behind it, drawn as small marks.
    """
    table = pd.DataFrame(rows)
    figure = new_figure(8.5, 0.9 + 0.3 * len(table))
    axes = figure.subplots()
    groups = list(dict.fromkeys(table["group"])) if "group" in table and table["group"].any() else []
    for place, row in enumerate(table.itertuples()):
        color = COLORS[groups.index(row.group)] if groups else BLUE
        if len(points):
            paint = {"alpha": 0.3, "color": GRAY} if len(points[place]) > 20 else {"color": "black", "zorder": 3}
            axes.scatter(points[place], np.full(len(points[place]), place), marker="|", s=90, **paint)
        axes.plot([row.low, row.high], [place, place], color=color, linewidth=2, solid_capstyle="butt")
        axes.plot(row.value, place, marker="o", color=color, markersize=6)
    for group, color in zip(groups, COLORS, strict=False):
        axes.plot([], [], color=color, marker="o", label=group)
    if groups:
        figure.legend(loc="outside upper right", ncols=4, fontsize=8)
    if reference is not None:
        axes.axvline(reference, color="black", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(table)), table["label"])
    axes.set(xlabel=xlabel, ylim=(len(table) - 0.4, -0.6))
    axes.grid(axis="y", visible=False)
    return figure


def sweep_figure(results: pd.DataFrame) -> Figure:
    """Validation Dice of what a sweep compared: mean and standard deviation over seeds, and a mark a run.

    Args:
        results: the sweep's `results.csv`; runs that are not done are left out.
    """
    done = results[results["status"] == "done"]
    keys = [key for key in done if key in ("recipe", "arm") or ("." in key and key != "training.seed")]
    keys = [key for key in keys if done[key].nunique() > 1] or ["recipe"]
    rows, points = [], []
    for values, runs in done.groupby(keys, sort=False, dropna=False):
        named = [
            str(v) if k in ("recipe", "arm") else f"{k.rpartition('.')[2]} {v}"
            for k, v in zip(keys, values, strict=True)
        ]
        points.append(runs["valid_dice"].to_numpy())
        mean, deviation = points[-1].mean(), points[-1].std(ddof=1) if len(runs) > 1 else 0.0
        rows.append({"label": ", ".join(named), "value": mean, "low": mean - deviation, "high": mean + deviation})
    return interval_plot(rows, "validation Dice, per image: mean and standard deviation; a mark a run", points=points)


def precision_by_seeds(difference: Difference, seeds: Variance, up_to: int = 10) -> Figure:
    """Half the width of the 95 % interval against the number of seeds of each network, and its two parts.

    Args:
        difference: of the two networks, for the part of the images, which more seeds do not narrow.
        seeds: variance of a run's mean score.
    """
    figure = new_figure(8.5, 3.0)
    axes = figure.subplots()
    number, reach = np.arange(1, up_to + 1), stats.norm.ppf(0.975)
    images, runs = difference.images.value, 2 * seeds.value / number
    axes.plot(number, reach * np.sqrt(images + runs), color=BLUE, marker="o", markersize=4, label="images and seeds")
    axes.plot(number, reach * np.sqrt(runs), color=COLORS[1], linestyle="--", label="seeds alone")
    axes.axhline(reach * np.sqrt(images), color=COLORS[2], linestyle=":", label="images alone")
    axes.axhline(abs(difference.effect), color=VERMILION, linewidth=1, label="the difference that was found")
    axes.set(xlabel="seeds of each network", ylabel="half width of the interval, Dice", ylim=(0, None))
    axes.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def seed_curves(epochs: pd.DataFrame, goal: float) -> Figure:
    """Validation Dice by epoch: a thin line a run, a thick one for the mean of a network's seeds.

    Args:
        epochs: columns `network, seed, epoch, valid_dice`.
        goal: drawn as a dashed line.
    """
    figure = new_figure(8.5, 3.4)
    axes = figure.subplots()
    for (network, rows), color in zip(epochs.groupby("network", sort=False), COLORS, strict=False):
        table = rows.pivot(index="epoch", columns="seed", values="valid_dice")
        axes.plot(table.index, table, color=color, linewidth=0.8, alpha=0.6)
        axes.plot(table.index, table.mean(axis=1), color=color, linewidth=2.2, label=network)
    axes.axhline(goal, color="black", linestyle="--", linewidth=1, label=f"goal: {goal:g}")
    axes.set(xlabel="epoch", ylabel="validation Dice, per image", ylim=(0, 1))
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def score_by_cost(table: pd.DataFrame, costs: Mapping[str, str]) -> Figure:
    """Test Dice against several costs, one panel each, one dot a run.

    Args:
        table: a row a run: `network, dice` and the columns of the costs.
        costs: label of the axis, with its unit -> column.
    """
    figure = new_figure(8.5, 3.0)
    for axes, (label, column) in zip(figure.subplots(1, len(costs), sharey=True), costs.items(), strict=True):
        for (network, rows), color in zip(table.groupby("network", sort=False), COLORS, strict=False):
            axes.scatter(rows[column], rows["dice"], color=color, s=30, alpha=0.7, linewidths=0, label=network)
        axes.set(xscale="log", xlabel=label)
        axes.set_xlim(table[column].min() / 2, table[column].max() * 2)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    figure.axes[0].set_ylabel("test Dice of a run")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=3, fontsize=8)
    return figure


def chance_histogram(chance: np.ndarray, found: float, xlabel: str) -> Figure:
    """What comes out when the labels are shuffled, and what came out without shuffling."""
    figure = new_figure(8.5, 2.6)
    axes = figure.subplots()
    axes.hist(chance, bins=40, color=GRAY, label="labels shuffled")
    axes.axvline(found, color=VERMILION, linewidth=2, label="as they are")
    axes.set(xlabel=xlabel, ylabel="shuffles")
    figure.legend(loc="outside right upper", fontsize=8)
    return figure
