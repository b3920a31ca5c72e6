"""Figures of notebook 04: losses, schedules, learning rates, and the curves of finished runs."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import nn

from labkit.curves import BLUE, COLORS, GREEN, ORANGE, VERMILION, new_figure
from labkit.training import Recipe, build_optimizer, build_schedule


def loss_shapes(
    logits: torch.Tensor, losses: Mapping[str, torch.Tensor], gradients: Mapping[str, torch.Tensor]
) -> Figure:
    """Losses of one pixel of the foreground against its logit, and their slopes."""
    figure = new_figure(8.5, 3.2)
    left, right = figure.subplots(1, 2)
    for axes, curves, label in ((left, losses, "loss"), (right, gradients, "slope of the loss")):
        for (name, values), color in zip(curves.items(), COLORS, strict=False):
            axes.plot(logits, values, label=name, color=color)
        axes.set(xlabel="logit of a foreground pixel", ylabel=label)
    left.legend()
    return figure


def schedules(recipe: Recipe, names: Sequence[str], steps: int) -> Figure:
    """Learning rate over a training's steps, one line for each schedule."""
    figure = new_figure(8.5, 2.6)
    axes = figure.subplots()
    for name, color in zip(names, COLORS, strict=False):
        table = recipe.changed(training={"schedule": name}).training
        optimizer = build_optimizer(nn.Linear(1, 1), table)
        schedule, rates = build_schedule(optimizer, table, steps), []
        for _ in range(steps):
            rates.append(schedule.get_last_lr()[0])
            optimizer.step()
            schedule.step()
        axes.plot(rates, label=name, color=color)
    axes.set(xlabel="step", ylabel="learning rate")
    axes.legend()
    return figure


def step_losses(curves: Mapping[str, Sequence[float]]) -> Figure:
    """Training loss of every step, one line for each training."""
    figure = new_figure(8.5, 3.0)
    axes = figure.subplots()
    for (name, values), color in zip(curves.items(), COLORS, strict=False):
        axes.plot(range(1, len(values) + 1), values, label=name, color=color, linewidth=1.2)
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
