"""Figures of notebook 04: shapes of losses, schedules, and runs by epoch."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import nn

from labkit.curves import COLORS, new_figure
from labkit.training import Recipe, build_optimizer, build_schedule


def loss_shapes(
    logits: torch.Tensor, losses: Mapping[str, torch.Tensor], gradients: Mapping[str, torch.Tensor]
) -> Figure:
    """Losses against the logit of one pixel of the foreground, and their slopes; a name has one color in both."""
    figure = new_figure(8.5, 3.4)
    left, right = figure.subplots(1, 2)
    for axes, curves, label in ((left, losses, "loss"), (right, gradients, "slope of the loss")):
        for (name, values), color in zip(curves.items(), COLORS, strict=False):
            axes.plot(logits, values, label=name, color=color)
        axes.set(xlabel="logit of the pixel (its truth is 1)", ylabel=label)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=9)
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
    figure.legend(loc="outside right upper")
    return figure
