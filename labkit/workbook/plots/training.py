"""Figures of notebook 04: losses, schedules, learning rates, and the curves of runs that are over."""

from collections.abc import Mapping, Sequence
from typing import Literal

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import nn

from labkit import painting
from labkit.errors import LabError
from labkit.training import RateSweep, Recipe, Run, build_optimiser, build_schedule
from labkit.workbook.display import new_figure

BLUE, ORANGE, GREEN, VERMILION = (
    tuple(c / 255 for c in colour) for colour in (painting.BLUE, painting.ORANGE, painting.GREEN, painting.VERMILION)
)
COLOURS = (BLUE, ORANGE, GREEN, VERMILION)
RUN_COLOURS = (*COLOURS, tuple(c / 255 for c in painting.PURPLE), tuple(c / 255 for c in painting.SKY), (0, 0, 0))
RUN_LINES = ("-", "--", ":")
RUN_PANELS = {
    "train_loss": "training loss",
    "valid_loss": "validation loss",
    "valid_dice": "validation Dice, per image",
    "learning_rate": "learning rate",
}


def loss_shapes(
    logits: torch.Tensor, losses: Mapping[str, torch.Tensor], gradients: Mapping[str, torch.Tensor]
) -> Figure:
    """Losses of one pixel of the foreground against its logit, and their slopes."""
    figure = new_figure(8.5, 3.2)
    left, right = figure.subplots(1, 2)
    for axes, curves, label in ((left, losses, "loss"), (right, gradients, "slope of the loss")):
        for (name, values), colour in zip(curves.items(), COLOURS, strict=False):
            axes.plot(logits, values, label=name, color=colour)
        axes.set(xlabel="logit of a foreground pixel", ylabel=label)
    left.legend()
    return figure


def schedules(recipe: Recipe, names: Sequence[str], steps: int) -> Figure:
    """Learning rate over a training's steps, one line a schedule."""
    figure = new_figure(8.5, 2.6)
    axes = figure.subplots()
    for name, colour in zip(names, COLOURS, strict=False):
        table = recipe.changed(training={"schedule": name}).training
        optimiser = build_optimiser(nn.Linear(1, 1), table)
        schedule, rates = build_schedule(optimiser, table, steps), []
        for _ in range(steps):
            rates.append(schedule.get_last_lr()[0])
            optimiser.step()
            schedule.step()
        axes.plot(rates, label=name, color=colour)
    axes.set(xlabel="step", ylabel="learning rate")
    axes.legend()
    return figure


def step_losses(curves: Mapping[str, Sequence[float]]) -> Figure:
    """Training loss of every step, one line a training."""
    figure = new_figure(8.5, 3.0)
    axes = figure.subplots()
    for (name, values), colour in zip(curves.items(), COLOURS, strict=False):
        axes.plot(range(1, len(values) + 1), values, label=name, color=colour, linewidth=1.2)
    axes.set(xlabel="step", ylabel="training loss")
    axes.legend(title="learning rate")
    return figure


def history_curves(history: pd.DataFrame, figure: Figure | None = None) -> Figure:
    """Loss, validation scores and learning rate by epoch, from a run's history."""
    figure = figure or new_figure(8.5, 2.8)
    figure.clear()
    loss, score, rate = figure.subplots(1, 3)
    epochs = history["epoch"]
    loss.plot(epochs, history["train_loss"], label="training", color=BLUE)
    loss.plot(epochs, history["valid_loss"], label="validation", color=ORANGE)
    score.plot(epochs, history["valid_dice"], label="Dice", color=GREEN)
    score.plot(epochs, history["valid_iou"], label="IoU", color=VERMILION)
    rate.plot(epochs, history["learning_rate"], color=BLUE)
    for axes, title in ((loss, "loss"), (score, "validation, per image"), (rate, "learning rate")):
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(True, alpha=0.3)
        if axes is not rate:
            axes.legend(fontsize=8)
    return figure


def rate_sweep(sweep: RateSweep) -> Figure:
    """The loss under a growing learning rate, and where it falls most steeply."""
    figure = new_figure(8.5, 3.2)
    axes = figure.subplots()
    axes.plot(sweep.rates, sweep.losses, color=BLUE, alpha=0.4, linewidth=0.8, label="each step")
    axes.plot(sweep.rates, sweep.smoothed, color=BLUE, linewidth=1.8, label="smoothed")
    axes.axvline(sweep.suggested, color=VERMILION, linewidth=1.2, label=f"falls most steeply: {sweep.suggested:.2g}")
    low, high = min(*sweep.losses, *sweep.smoothed), max(sweep.smoothed[: len(sweep.smoothed) // 2])
    axes.set_ylim(low - 0.1 * (high - low), high + 0.4 * (high - low))  # the burst would flatten all else
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss")
    axes.legend()
    return figure


def run_curves(runs: Sequence[Run], over: Literal["epochs", "seconds"] = "epochs") -> Figure:
    """Losses, validation Dice and learning rate of several runs together, a colour a run; the highest Dice has a dot.

    Args:
        runs: folders, or weights files that carry a history.
        over: what the curves run over; `seconds` are those of the training, validation included.

    Raises:
        LabError: a run has no history, or there are more runs than can be told apart.
    """
    if len(runs) > len(RUN_COLOURS) * len(RUN_LINES):
        raise LabError(f"{len(runs)} runs cannot be told apart; draw {len(RUN_COLOURS) * len(RUN_LINES)} at most")
    histories = [run.history() for run in runs]
    names = [run.name for run in runs]
    names = [name if names.count(name) == 1 else str(run.path) for name, run in zip(names, runs, strict=True)]
    seconds = max(history["seconds"].sum() for history in histories)
    unit, length = ("minutes", 60) if over == "seconds" and seconds > 300 else (over, 1)
    figure = new_figure(8.5, 5.2)
    panels = dict(zip(RUN_PANELS, figure.subplots(2, 2, sharex=True).flat, strict=True))
    for number, (name, history) in enumerate(zip(names, histories, strict=True)):
        colour, line = RUN_COLOURS[number % len(RUN_COLOURS)], RUN_LINES[number // len(RUN_COLOURS)]
        places = history["epoch"] if over == "epochs" else history["seconds"].cumsum() / length
        for key, axes in panels.items():
            axes.plot(places, history[key], color=colour, linestyle=line, label=name, linewidth=1.4)
        best = history["valid_dice"].idxmax()
        panels["valid_dice"].plot(places[best], history["valid_dice"][best], "o", color=colour, markersize=5)
    for key, axes in panels.items():
        axes.set_title(RUN_PANELS[key], fontsize=10)
        if over == "epochs":
            axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in figure.axes[2:]:
        axes.set_xlabel("epoch" if over == "epochs" else f"{unit} of training")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    columns = max(1, min(len(names), 110 // (max(map(len, names)) + 8)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=9)
    return figure
