"""Figures of notebooks 02 and 03: receptive fields, signals by depth, costs by scale, attention."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from course.figures.costs import plain_numbers
from labkit.curves import new_figure
from labkit.painting import BLUE, GREEN, ORANGE, PURPLE, VERMILION

LINES = [tuple(value / 255 for value in color) for color in (BLUE, ORANGE, GREEN, VERMILION, PURPLE)]


def receptive_fields(
    maps: Sequence[Sequence[np.ndarray]], fields: Sequence[int], titles: Sequence[str], labels: Sequence[str]
) -> Figure:
    """The pixels that one unit of each stage depends on; a frame shows the computed receptive field.

    Args:
        maps: `maps[row][stage]` is `float [S, S]`, the unit's gradient with respect to each pixel, absolute.
        fields: side of the computed receptive field of each stage, in pixels.
        titles: of the stages (columns).
        labels: of the rows; the frames are centered on the first row's gradient.
    """
    figure = new_figure(8.5, 1.85 * len(maps) + 0.2)
    grid = figure.subplots(len(maps), len(fields), squeeze=False)
    centers = [[(lit.min() + lit.max()) / 2 for lit in np.nonzero(gradient)] for gradient in maps[0]]
    for i, row in enumerate(maps):
        for axes, gradient, field, (y, x) in zip(grid[i], row, fields, centers, strict=True):
            # the fourth root: the edge of a field is thousands of times weaker than its center
            axes.imshow((gradient / gradient.max()) ** 0.25, cmap="magma", vmin=0, vmax=1)
            corner = x - field / 2, y - field / 2
            axes.add_patch(Rectangle(corner, field, field, fill=False, edgecolor="white", lw=1))
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
        grid[i][0].set_ylabel(labels[i], fontsize=9)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=9)
    return figure


def signal_by_depth(panels: Mapping[str, Mapping[str, Sequence[float]]], xlabel: str) -> Figure:
    """Quantities by depth on logarithmic axes, one panel each, one line for each network.

    Args:
        panels: title of the panel -> name of the network -> values from the first layer to the last.
        xlabel: of all panels.
    """
    figure = new_figure(8.5, 3.3)
    styles = dict(zip(next(iter(panels.values())), zip(LINES, ("-", "--", "-.", ":"), strict=False), strict=False))
    for axes, (title, lines) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for name, values in lines.items():
            color, style = styles[name]
            axes.plot(range(1, len(values) + 1), values, style, color=color, lw=2, label=name)
        axes.set(yscale="log", xlabel=xlabel)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(title, fontsize=10)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    return figure


def cost_by_scale(panels: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figure:
    """Costs by scale as grouped bars, one panel for each cost.

    Args:
        panels: title with its unit -> name of the network -> scale (`1/1`, `1/2`, ...) -> value.
    """
    figure = new_figure(8.5, 3.2)
    for axes, (title, networks) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        scales = sorted({scale for costs in networks.values() for scale in costs}, key=lambda s: int(s.split("/")[1]))
        width = 0.8 / len(networks)
        for i, (name, costs) in enumerate(networks.items()):
            places = np.arange(len(scales)) + (i - (len(networks) - 1) / 2) * width
            axes.bar(places, [costs.get(scale, 0) for scale in scales], width, color=LINES[i], label=name)
        axes.set_xticks(range(len(scales)), scales)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("scale of the stage", fontsize=9)
        axes.grid(axis="x", visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    return figure


def seed_lines(
    lines: Mapping[str, np.ndarray], x: Sequence[float], xlabel: str, ylabel: str, ticks: bool = False
) -> Figure:
    """A positive quantity over layers or depths: a thin line a seed, a thick one for a network's geometric mean.

    Args:
        lines: name of the network -> `float [seeds, len(x)]`.
        x: of the values.
        xlabel: of the axis.
        ylabel: of the axis, which is logarithmic.
        ticks: mark each `x`.
    """
    figure = new_figure(8.5, 3.2)
    axes = figure.subplots()
    for (name, values), color, marker in zip(lines.items(), LINES, "osD^v", strict=False):
        axes.plot(x, values.T, color=color, lw=0.8, alpha=0.5)
        axes.plot(x, np.exp(np.log(values).mean(axis=0)), color=color, lw=2.2, marker=marker, ms=4, label=name)
    axes.set(yscale="log", xlabel=xlabel, ylabel=ylabel)
    plain_numbers(axes.yaxis)
    if ticks:
        axes.set_xticks(x)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside upper right", ncols=4, fontsize=9, frameon=False)
    return figure


def attention_maps(
    image: np.ndarray, maps: Mapping[str, Mapping[str, np.ndarray]], weights: Mapping[str, np.ndarray]
) -> Figure:
    """CBAM's maps of an image in several networks, one row each, all on one color scale; beside them channels' weights.

    Args:
        image: `uint8 [H, W, 3]`.
        maps: name of the network -> title -> `float [h, w]` between 0 and 1.
        weights: name of the network -> `float [C]` between 0 and 1, of one stage.
    """
    columns = len(next(iter(maps.values())))
    figure = new_figure(8.5, 0.9 + len(maps) * (0.3 + max(1.35 * image.shape[0] / image.shape[1], 0.9)))
    grid = figure.subplots(len(maps), columns + 2, squeeze=False, width_ratios=[1] * (columns + 1) + [1.6])
    every = np.concatenate([values.ravel() for row in maps.values() for values in row.values()])
    extent = (0, image.shape[1], image.shape[0], 0)
    for i, (row, (name, panels)) in enumerate(zip(grid, maps.items(), strict=True)):
        row[0].imshow(image)
        row[0].set_ylabel(name, fontsize=9)
        for axes, (title, values) in zip(row[1:-1], panels.items(), strict=True):
            shown = axes.imshow(values, cmap="viridis", vmin=every.min(), vmax=every.max(), extent=extent)
            axes.set_title("" if i else title, fontsize=9)
        for axes in row[:-1]:
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
        row[-1].bar(range(len(weights[name])), weights[name], color=LINES[0])
        row[-1].set(ylim=(0, 1), xlabel="" if name != [*maps][-1] else "channel")
        row[-1].set_title("" if i else "weights of the channels", fontsize=9)
        row[-1].tick_params(labelsize=8)
    grid[0][0].set_title("image", fontsize=9)
    bar = figure.colorbar(shown, ax=grid[:, :-1].ravel().tolist(), orientation="horizontal", shrink=0.5, aspect=40)
    bar.set_label("weight of a place", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return figure
