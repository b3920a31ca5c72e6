"""Figures of notebook 05: scores by property of the image, by distance, probability, class; maps of mistakes."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy import stats

from course.figures.images import image_grid
from labkit import painting
from labkit.curves import BLUE, COLORS, PURPLE, SKY, VERMILION, new_figure


def scores_by(columns: Mapping[str, pd.Series], dice: pd.Series, parts: int = 5) -> Figure:
    """Dice of each image against some of its properties, a panel each, and the mean of every fifth with its interval.

    Args:
        columns: label of the axis -> a property of each image.
        parts: groups of equally many images; where there are too few images, fewer.
    """
    figure = new_figure(8.5, 3.2)
    for axes, (label, values) in zip(figure.subplots(1, len(columns), sharey=True), columns.items(), strict=True):
        axes.scatter(values, dice, s=8, alpha=0.4, color=SKY, linewidths=0, label="an image")
        groups = dice.groupby(pd.qcut(values, min(parts, len(values) // 2), duplicates="drop"), observed=True)
        centers, reach = values.groupby(groups.ngroup()).median(), stats.t.ppf(0.975, groups.count() - 1) * groups.sem()
        style = {"color": BLUE, "marker": "o", "linewidth": 1.6, "capsize": 3}
        axes.errorbar(centers, groups.mean(), reach, label=f"mean of {len(groups)} groups, 95 %", **style)
        axes.set(xlabel=label)
    figure.axes[0].set_ylabel("Dice of the image")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=2, fontsize=8)
    return figure


def error_rates(table: pd.DataFrame) -> Figure:
    """Share of wrong pixels by distance to the true outline, with intervals, a line a network.

    Args:
        table: columns `network, distance, rate, low, high`; distances as in `cases.error_by_distance`.
    """
    figure = new_figure(8.5, 3.2)
    axes = figure.subplots()
    for (network, rows), color, shift in zip(
        table.groupby("network", sort=False), COLORS, (0, 0.1, -0.1), strict=False
    ):
        reach = [rows["rate"] - rows["low"], rows["high"] - rows["rate"]]
        style = {"color": color, "marker": "o", "markersize": 4, "linewidth": 1.4, "capsize": 2}
        axes.errorbar(rows["distance"] + 0.5 + shift, rows["rate"], reach, label=network, **style)
    axes.axvline(0, color="black", linestyle="--", linewidth=1, label="true outline")
    steps = sorted(set(table["distance"]))
    names = [str(-step) if step < 0 else str(step + 1) for step in steps]
    axes.set_xticks([step + 0.5 for step in steps], [f"{names[0]}+", *names[1:-1], f"{names[-1]}+"])
    axes.set(xlabel="inside the pet  <-  pixels from the outline  ->  background", ylabel="share of pixels wrong")
    axes.set_ylim(0, None)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def reliability_diagram(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Share of pixels that are pet against the probability that the network gave them; below, how many pixels.

    Args:
        tables: of each network, from `calibration.reliability`.
    """
    figure = new_figure(8.5, 4.6)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1, label="calibrated")
    for number, ((network, full), color) in enumerate(zip(tables.items(), COLORS, strict=False)):
        table = full[full["pixels"] > 0]
        reach = [table["share"] - table["share_low"], table["share_high"] - table["share"]]
        style = {"color": color, "marker": "o", "markersize": 4, "linewidth": 1.4, "capsize": 2}
        top.errorbar(table["confidence"], table["share"], reach, label=network, **style)
        width = 0.8 * (full["high"] - full["low"]) / len(tables)
        bottom.bar(full["low"] + (0.6 + number) * width, full["pixels"], width, color=color)
    top.set(ylabel="share that is pet", ylim=(0, 1))
    bottom.set(xlabel="probability given by the network", ylabel="pixels", yscale="log", xlim=(0, 1))
    figure.legend(*top.get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return figure


def threshold_curve(table: pd.DataFrame, chosen: float) -> Figure:
    """By how much the Dice of the validation images changes with the threshold, against 0.5, with its interval.

    Args:
        table: columns `threshold, change, low, high`.
    """
    figure = new_figure(8.5, 2.8)
    axes = figure.subplots()
    axes.fill_between(table["threshold"], table["low"], table["high"], color=SKY, alpha=0.3, label="95 % interval")
    axes.plot(table["threshold"], table["change"], color=BLUE, marker="o", markersize=3, label="mean change")
    axes.axhline(0, color="black", linestyle="--", linewidth=1)
    axes.axvline(chosen, color=VERMILION, label=f"chosen: {chosen:g}")
    axes.set(xlabel="threshold", ylabel="validation Dice minus that at 0.5")
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def confusion_heatmap(confusion: torch.Tensor, names: Sequence[str]) -> Figure:
    """Predicted classes (columns) of each true class (row), as shares of the row; pixels are beside the class names.

    Args:
        confusion: `int64 [C, C]`, from `evaluate`; shares are written in for up to 12 classes, pixels for up to 5.
        names: of the C classes.
    """
    counts = confusion.double().numpy()
    number, total = len(names), counts.sum(1, keepdims=True)
    shares = np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)
    side = min(8.0, 2.6 + 0.62 * number)
    figure = new_figure(min(8.5, side + 0.9), side)
    axes = figure.subplots()
    axes.set_facecolor("0.85")  # a class in no image has no shares
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(number), names, rotation=90 if number > 5 else 0, fontsize=8)
    axes.set_yticks(range(number), [f"{n} ({int(t):,})" for n, t in zip(names, total[:, 0], strict=True)], fontsize=8)
    axes.set(xlabel="predicted", ylabel="truth (pixels)")
    axes.grid(False)
    figure.colorbar(drawn, ax=axes, label="share of the true pixels", shrink=0.7, fraction=0.05, pad=0.02)
    for (row, column), share in np.ndenumerate(shares if number <= 12 else np.empty((0, 0))):
        if np.isfinite(share):
            pixels = f"\n{int(counts[row, column]):,}" if number <= 5 else ""
            text = {"ha": "center", "va": "center", "fontsize": 8, "color": "white" if share > 0.5 else "black"}
            axes.text(column, row, f"{share:.1%}{pixels}" if number <= 8 else f"{share:.0%}", **text)
    return figure


def class_bars(table: pd.DataFrame) -> Figure:
    """Dice of each class as a bar, precision and recall as marks; the share of true pixels is beside the name.

    Args:
        table: from `class_table`.
    """
    figure = new_figure(8.5, 1.3 + 0.26 * len(table))
    axes = figure.subplots()
    rows = np.arange(len(table))[::-1]
    axes.barh(rows, table["dice"], height=0.7, color=BLUE, alpha=0.35, label="Dice")
    axes.scatter(table["precision"], rows, marker=">", s=30, color=VERMILION, label="precision (few extra pixels)")
    axes.scatter(table["recall"], rows, marker="<", s=30, color=BLUE, label="recall (few missed pixels)")
    labels = [f"{name} ({share:.1%})" for name, share in zip(table["class"], table["share"], strict=True)]
    axes.set_yticks(rows, labels, fontsize=8 if len(table) > 12 else None)
    axes.set(xlim=(0, 1.02), ylim=(-0.6, len(table) - 0.4), xlabel="pooled over all images, by class")
    figure.legend(loc="outside upper right", ncols=3, fontsize=8)
    return figure


def case_maps(
    images: Sequence[np.ndarray],
    predictions: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    notes: Sequence[str],
    columns: int = 5,
) -> Figure:
    """The mistakes of each case on the image in gray, at the image's own size, with a legend.

    Args:
        images: `uint8 [H, W, 3]`, of any sizes.
        predictions, truths: `[H, W]`, `bool` or class indices; 255 in the truth = ignored.
        notes: a line or two under each case.
    """
    maps = [painting.error_map(*case) for case in zip(images, predictions, truths, strict=True)]
    rows = [maps[i : i + columns] for i in range(0, len(maps), columns)]
    texts = [list(notes[i : i + columns]) for i in range(0, len(maps), columns)]
    figure = image_grid(rows, notes=texts, width=8.5)
    painted = {"missed": BLUE, "extra": VERMILION, "true outline, where right": (1, 1, 1)}
    if any(mask.dtype != bool and mask.max() > 1 for mask in predictions):
        painted["another class"] = PURPLE
    handles = [Patch(facecolor=color, edgecolor="0.5", label=name) for name, color in painted.items()]
    figure.legend(handles=handles, loc="outside upper right", ncols=4, fontsize=8)
    return figure
