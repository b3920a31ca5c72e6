"""Figures of notebook 04: losses, schedules, curves, and a curve that grows while a network trains."""

import io
from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from IPython.display import display
from matplotlib.figure import Figure
from torch import nn

from labkit import painting
from labkit.training import Epoch, Recipe, build_optimiser, build_schedule
from labkit.workbook.display import new_figure

BLUE, ORANGE, GREEN, VERMILION = (
    tuple(c / 255 for c in colour) for colour in (painting.BLUE, painting.ORANGE, painting.GREEN, painting.VERMILION)
)
COLOURS = (BLUE, ORANGE, GREEN, VERMILION)


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


class LiveCurves:
    """Curves that are redrawn in place after each epoch; the last picture stays in the notebook."""

    def __init__(self, epochs: int):
        self.epochs, self.rows = epochs, []
        self.figure = new_figure(8.5, 2.8)
        self.handle = None

    def add(self, record: Epoch) -> None:
        """Take up one epoch and redraw."""
        self.rows.append(record.row())
        history_curves(pd.DataFrame(self.rows), self.figure)
        for axes in self.figure.axes:
            axes.set_xlim(0.5, self.epochs + 0.5)
        picture = io.BytesIO()
        self.figure.savefig(picture, format="png", dpi=100)
        alt = f"Loss, validation Dice and IoU, and learning rate after {record.epoch} of {self.epochs} epochs."
        bundle = {"image/png": picture.getvalue(), "text/plain": f"[figure: {alt}]"}
        if self.handle is None:
            self.handle = display(bundle, raw=True, display_id=True, metadata={"image/png": {"alt": alt}})
        else:
            self.handle.update(bundle, raw=True, metadata={"image/png": {"alt": alt}})
