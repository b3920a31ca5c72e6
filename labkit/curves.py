"""Curves of trainings that are over, and of the learning-rate range test."""

from collections.abc import Sequence

import matplotlib
from cycler import cycler
from matplotlib.figure import Figure

from labkit import painting
from labkit.errors import LabError
from labkit.training import RateSweep, Run

STYLE = {
    "figure.dpi": 100,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "image.interpolation": "nearest",
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "labkit",  # the same names in every run
}
matplotlib.rcParams.update(STYLE)  # axes take their style when they are made, in many places
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = (
    tuple(value / 255 for value in color)
    for color in (painting.BLUE, painting.ORANGE, painting.GREEN, painting.VERMILION, painting.PURPLE, painting.SKY)
)
COLORS = (BLUE, ORANGE, GREEN, VERMILION)
RUN_STYLES = cycler(linestyle=["-", "--", ":"]) * cycler(color=[*COLORS, PURPLE, SKY, (0, 0, 0)])
RUN_PANELS = {
    "train_loss": "training loss",
    "valid_loss": "validation loss",
    "valid_dice": "validation Dice, per image",
    "learning_rate": "learning rate",
}


def new_figure(width: float = 8.0, height: float = 3.0) -> Figure:
    """An empty figure in the lab's style, `width` x `height` inches, that belongs to no window."""
    return Figure(figsize=(width, height), layout="constrained")


def rate_sweep(sweep: RateSweep) -> Figure:
    """The loss under a growing learning rate, and where it falls most steeply."""
    figure = new_figure(8.5, 3.2)
    axes = figure.subplots()
    axes.plot(sweep.rates, sweep.losses, color=BLUE, alpha=0.4, linewidth=0.8, label="each step")
    axes.plot(sweep.rates, sweep.smoothed, color=BLUE, linewidth=1.8, label="smoothed")
    axes.axvline(sweep.suggested, color=VERMILION, linewidth=1.2, label=f"falls most steeply: {sweep.suggested:.2g}")
    low, high = min(*sweep.losses, *sweep.smoothed), max(sweep.smoothed[: len(sweep.smoothed) // 2])
    axes.set_ylim(low - 0.1 * (high - low), high + 0.4 * (high - low))  # what diverges would flatten all else
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss")
    axes.legend()
    return figure


def run_curves(runs: Sequence[Run]) -> Figure:
    """Losses, validation Dice and learning rate of several runs together, a color a run; the highest Dice has a dot."""
    if len(runs) > len(RUN_STYLES):
        raise LabError(f"{len(runs)} runs cannot be told apart; draw {len(RUN_STYLES)} at most")
    names = [run.name for run in runs]
    names = [name if names.count(name) == 1 else str(run.path) for name, run in zip(names, runs, strict=True)]
    histories = [run.history() for run in runs]
    figure = new_figure(8.5, 5.2)
    panels = dict(zip(RUN_PANELS, figure.subplots(2, 2, sharex=True).flat, strict=True))
    for key, axes in panels.items():
        axes.set_title(RUN_PANELS[key], fontsize=10)
        axes.set_prop_cycle(RUN_STYLES)
        axes.xaxis.get_major_locator().set_params(integer=True)
    for name, history in zip(names, histories, strict=True):
        x = history["epoch"]
        lines = {key: axes.plot(x, history[key], label=name, linewidth=1.4)[0] for key, axes in panels.items()}
        best, style = history["valid_dice"].idxmax(), {"linestyle": "", "color": lines["valid_dice"].get_color()}
        panels["valid_dice"].plot(x[best], history["valid_dice"][best], marker="o", markersize=5, **style)
    for axes in figure.axes[2:]:
        axes.set_xlabel("epoch")
    columns = max(1, min(len(names), 110 // (max(map(len, names)) + 8)))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns, fontsize=9)
    return figure
