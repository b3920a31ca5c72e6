"""Figures of notebook 05: scores by image, by breed, by size of the pet, and the cases behind them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from labkit import painting
from labkit.workbook.display import new_figure
from labkit.workbook.plots.pictures import picture_grid
from labkit.workbook.plots.training import BLUE, ORANGE, VERMILION


def score_histogram(table: pd.DataFrame) -> Figure:
    """How many images have which Dice, and Dice against the pet's share of the image."""
    figure = new_figure(8.5, 3.0)
    left, right = figure.subplots(1, 2)
    left.hist(table["dice"], bins=np.linspace(0, 1, 41), color=BLUE)
    left.axvline(table["dice"].mean(), color=VERMILION, label=f"mean {table['dice'].mean():.3f}")
    left.axvline(table["dice"].median(), color=ORANGE, label=f"median {table['dice'].median():.3f}")
    left.set(xlabel="Dice of an image", ylabel="images")
    left.legend(loc="upper left", fontsize=8)
    right.scatter(table["foreground"], table["dice"], s=8, alpha=0.5, color=BLUE, linewidths=0)
    right.set(xlabel="share of the image that is pet", ylabel="Dice of the image", xlim=(0, 1), ylim=(0, 1.02))
    return figure


def breed_bars(breeds: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Mean Dice of each breed as a dot, its images as a strip behind it; the hardest at the top."""
    figure = new_figure(8.5, 1.0 + 0.26 * len(breeds))
    axes = figure.subplots()
    order = breeds.iloc[::-1].reset_index(drop=True)
    for row, breed in order.iterrows():
        values = table.loc[table["breed"] == breed["breed"], "dice"]
        axes.scatter(values, np.full(len(values), row), marker="|", s=60, alpha=0.35, color=BLUE)
        axes.scatter(breed["dice"], row, s=36, color=VERMILION, zorder=3)
    axes.set_yticks(range(len(order)), [f"{b} ({s})" for b, s in zip(order["breed"], order["species"], strict=True)])
    axes.set(xlabel="Dice: each image (bars), mean of the breed (dot)", ylim=(-0.6, len(order) - 0.4))
    return figure


def threshold_curve(scores: Mapping[float, float], chosen: float) -> Figure:
    """Mean Dice of the validation images against the threshold."""
    figure = new_figure(6.0, 2.6)
    axes = figure.subplots()
    axes.plot(list(scores), list(scores.values()), color=BLUE, marker="o", markersize=3)
    axes.axvline(chosen, color=VERMILION, label=f"chosen: {chosen:g}")
    axes.set(xlabel="threshold", ylabel="validation Dice")
    axes.legend()
    return figure


def distance_bars(distances: pd.DataFrame) -> Figure:
    """Error rate of each band of pixels around the true outline, and the band's share of all mistakes."""
    figure = new_figure(8.5, 3.0)
    axes = figure.subplots()
    rates = distances["errors"] / distances["pixels"].clip(lower=1)
    colours = [BLUE if distance < 0 else VERMILION for distance in distances["distance"]]
    bars = axes.bar(distances["distance"] + 0.5, rates, width=0.9, color=colours)
    shares = distances["errors"] / max(1, distances["errors"].sum())
    axes.bar_label(bars, [f"{share:.0%}" for share in shares], fontsize=8, padding=2)
    first, last = distances["distance"].iloc[[0, -1]]
    axes.set_xticks(
        distances["distance"] + 0.5,
        [
            f"≤{d}" if d == first else f"≥{d + 1}" if d == last else str(d if d < 0 else d + 1)
            for d in distances["distance"]
        ],
    )
    axes.set(xlabel="pixels from the outline: inside the pet (blue), outside (red)", ylabel="share of pixels wrong")
    axes.margins(y=0.15)
    return figure


def case_pictures(
    images: Sequence[np.ndarray], predictions: Sequence[np.ndarray], truths: Sequence[np.ndarray], notes: Sequence[str]
) -> Figure:
    """For each case, from above: the image, the prediction over it, the mistakes."""
    rows = [
        list(images),
        [painting.overlay(i, p) for i, p in zip(images, predictions, strict=True)],
        [painting.error_map(i, p, t) for i, p, t in zip(images, predictions, truths, strict=True)],
    ]
    blank = [""] * len(images)
    return picture_grid(rows, labels=["image", "prediction", "mistakes"], notes=[blank, blank, list(notes)], width=8.5)
