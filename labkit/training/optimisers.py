"""Optimisers, schedules and the moving average by their names in a recipe; all of them are PyTorch's."""

import math

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RAdam
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel

from labkit.training.muon import Muon
from labkit.training.recipe import TrainingTable


def build_optimiser(model: nn.Module, table: TrainingTable) -> Optimizer:
    """The recipe's optimiser over all parameters; SGD has momentum 0.9 (0.99 in the UNet paper)."""
    if table.optimizer == "muon":
        return Muon(model, lr=table.learning_rate, weight_decay=table.weight_decay)
    kinds = {"sgd": SGD, "adam": Adam, "adamw": AdamW, "radam": RAdam}
    more = {"momentum": 0.9, "nesterov": True} if table.optimizer == "sgd" else {}
    return kinds[table.optimizer](
        model.parameters(), lr=table.learning_rate, weight_decay=table.weight_decay, foreach=True, **more
    )


def build_schedule(optimiser: Optimizer, table: TrainingTable, steps: int) -> LRScheduler:
    """The learning rate over `steps` optimiser steps.

    `cosine` falls from the recipe's rate to 0; `one-cycle` rises to it over 30 % of the steps and falls to
    nearly 0 (Smith and Topin, arXiv 1708.07120, in PyTorch's form).
    """
    if table.schedule == "one-cycle":
        return OneCycleLR(optimiser, max_lr=table.learning_rate, total_steps=steps + 1)
    if table.schedule == "cosine":
        return LambdaLR(optimiser, lambda step: 0.5 * (1 + math.cos(math.pi * min(1, step / steps))))
    return LambdaLR(optimiser, lambda step: 1.0)


def build_average(model: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of weights and batch-norm statistics.

    After n steps the decay is min(decay, (1 + n) / (10 + n)), so that a short training is not ruled by its
    random start.
    """

    def average(averages, currents, updates: int) -> None:
        share = 1 - min(decay, (1 + int(updates)) / (10 + int(updates)))
        for mean, current in zip(averages, currents, strict=True):
            if mean.is_floating_point():
                mean.lerp_(current.to(mean.dtype), share)
            else:
                mean.copy_(current)

    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)
