"""Figures of notebook 10: costs of the networks, and the scores of smaller ones."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import Bbox

from labkit.curves import new_figure
from labkit.painting import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION

COLORS = [tuple(c / 255 for c in color) for color in (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)]
MARKERS = "osD^vP"
PLACES = [(7, 0, "left"), (-7, 0, "right"), *((x, y, "center") for y in (9, -9, 18, -18) for x in (0, 24, -24))]
"""Places of a label: points right of and above its mark, and its alignment."""


def cost_scatter(table: pd.DataFrame) -> Figure:
    """Multiply-adds against parameters, both logarithmic, one labeled mark for each network.

    Args:
        table: columns `name, family, parameters, multiply_adds`, one row for each network.
    """
    figure = new_figure(8.5, 5.2)
    axes = figure.subplots()
    for (family, rows), color, marker in zip(table.groupby("family", sort=False), COLORS, MARKERS, strict=False):
        x, y = rows["parameters"] / 1e6, rows["multiply_adds"] / 1e9
        axes.scatter(x, y, color=color, marker=marker, s=40, label=family, edgecolors="white", linewidths=0.5)
    axes.set(xscale="log", yscale="log", xlabel="parameters (millions)", ylabel="multiply-adds (billions)")
    axes.set_xlim(table["parameters"].min() / 1.6e6, table["parameters"].max() / 0.6e6)
    axes.set_ylim(table["multiply_adds"].min() / 1.6e9, table["multiply_adds"].max() / 0.6e9)
    plain_numbers(axes.xaxis)
    plain_numbers(axes.yaxis)
    figure.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    points = [(row.parameters / 1e6, row.multiply_adds / 1e9, row.name) for row in table.itertuples(index=False)]
    _label(axes, points)
    return figure


def plain_numbers(axis: Axis) -> None:
    """1, 2, 5, 10, ... on a logarithmic axis instead of powers; over more than two decades 1, 3, 10, ..."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1, 3)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _label(axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Write each name beside its mark, where it covers the fewest marks and names."""
    axes.figure.draw_without_rendering()  # the layout decides where a pixel lies
    marks = axes.transData.transform([(x, y) for x, y, _ in points])
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in marks]
    frame = axes.get_window_extent()
    for x, y, name in points:
        best = None
        for dx, dy, ha in PLACES:
            text = axes.annotate(name, (x, y), (dx, dy), textcoords="offset points", ha=ha, va="center", fontsize=8)
            text.set_in_layout(False)
            box = text.get_window_extent()
            covered = sum(box.overlaps(other) for other in taken) + 3 * (not _inside(box, frame))
            if best is None or covered < best[0]:
                if best:
                    best[1].remove()
                best = covered, text, box
            else:
                text.remove()
        taken.append(best[2])


def _inside(box: Bbox, frame: Bbox) -> bool:
    return frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1


def width_against_score(table: pd.DataFrame, panels: Mapping[str, tuple[str, Iterable[str]]]) -> Figure:
    """Validation Dice against the logarithm of a cost, one line for each form, one mark for each width.

    Args:
        table: `records/compression.csv`: columns `width, form, valid_dice_per_image`, and those of the panels.
        panels: label of the axis, with its unit -> column and forms.
    """
    figure = new_figure(8.5, 3.6)
    forms = list(dict.fromkeys(form for _, drawn in panels.values() for form in drawn))
    handles = {}
    for axes, (label, (column, drawn)) in zip(
        figure.subplots(1, len(panels), sharey=True), panels.items(), strict=True
    ):
        for form in drawn:
            i, rows = forms.index(form), table[table["form"] == form].dropna(subset=column).sort_values("width")
            style = {"color": COLORS[i], "marker": MARKERS[i], "ms": 5, "lw": 1.2}
            (handles[form],) = axes.plot(rows[column], rows["valid_dice_per_image"], label=form, **style)
        whole = table[table["form"] == "float32"]
        for x, y, width in zip(whole[column], whole["valid_dice_per_image"], whole["width"], strict=True):
            axes.annotate(
                f"width {width}", (x, y), (6, -8), textcoords="offset points", ha="left", va="center", fontsize=8
            )
        axes.set_xscale("log")
        axes.set_xlabel(label)
        axes.margins(x=0.25, y=0.15)
        plain_numbers(axes.xaxis)
    figure.axes[0].set_ylabel("validation Dice per image")
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return figure
