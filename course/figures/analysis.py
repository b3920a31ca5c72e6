"""Figures of notebook 05: scores by image, breed, class and size of the pet, and single cases."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from course.figures.images import image_grid
from labkit import painting
from labkit.curves import BLUE, ORANGE, VERMILION, new_figure


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
    """Mean Dice of each breed as a dot, its images as bars; the hardest breed is at the top."""
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
    colors = [BLUE if distance < 0 else VERMILION for distance in distances["distance"]]
    bars = axes.bar(distances["distance"] + 0.5, rates, width=0.9, color=colors)
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


def case_images(
    images: Sequence[np.ndarray],
    predictions: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    notes: Sequence[str],
    names: Sequence[str] = (),
) -> Figure:
    """For each case, from top to bottom: the image, the prediction over it, the mistakes.

    Args:
        images: `uint8 [H, W, 3]`.
        predictions: `bool [H, W]`; class indices for several classes, one color for each.
        truths: likewise; 255 = ignored.
        notes: a line or two under each case.
        names: of the classes; a legend names those in the masks where there are more than two.
    """
    tint = painting.overlay if predictions[0].dtype == bool else painting.class_overlay
    rows = [
        list(images),
        [tint(i, p) for i, p in zip(images, predictions, strict=True)],
        [painting.error_map(i, p, t) for i, p, t in zip(images, predictions, truths, strict=True)],
    ]
    blank = [""] * len(images)
    labels = ["image", "prediction", "mistakes"]
    figure = image_grid(rows, labels=labels, notes=[blank, blank, list(notes)], width=8.5)
    if len(names) > 2:
        held = np.unique([index for mask in (*predictions, *truths) for index in np.unique(mask)])
        figure.legend(
            handles=[
                Patch(color=painting.CLASS_COLORS[i] / 255, label=names[i]) for i in held if 0 < i < painting.IGNORED
            ],
            loc="outside lower center",
            ncols=6,
            fontsize=8,
        )
    return figure
