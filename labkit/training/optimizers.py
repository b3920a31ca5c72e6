"""Optimizers, schedules and the moving average of a recipe."""

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RAdam
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

if TYPE_CHECKING:
    from labkit.training.tables import TrainingTable


def build_optimizer(model: nn.Module, table: "TrainingTable") -> Optimizer:
    """The recipe's optimizer over all parameters."""
    return OPTIMIZERS[table.optimizer](model, table)


def _torchs(kind: type[Optimizer], **options: Any) -> Callable[[nn.Module, "TrainingTable"], Optimizer]:
    """One of PyTorch's optimizers, with the fastest kernels that it has for the device."""

    def build(model: nn.Module, table: "TrainingTable") -> Optimizer:
        fused = kind is not RAdam and next(model.parameters()).device.type in ("cpu", "cuda")
        kernels = {"fused": True} if fused else {"foreach": True}  # fused: one kernel makes the whole step
        return kind(model.parameters(), lr=table.learning_rate, weight_decay=table.weight_decay, **kernels, **options)

    return build


OPTIMIZERS: dict[str, Callable[[nn.Module, "TrainingTable"], Optimizer]] = {
    # the UNet paper has momentum 0.99; the one-cycle schedule moves it against the rate, as it does Adam's first beta
    "sgd": _torchs(SGD, momentum=0.9, nesterov=True),
    "adam": _torchs(Adam),
    "adamw": _torchs(AdamW),
    "radam": _torchs(RAdam),
}
"""By the name that a recipe calls them; put one of your own here, and recipes know it, too."""


def build_schedule(optimizer: Optimizer, table: "TrainingTable", steps: int) -> LRScheduler:
    """The learning rate over `steps` optimizer steps.

    `cosine` falls from the recipe's rate to 0; `one-cycle` rises to it over 30 % of the steps and falls to
    nearly 0 (Smith and Topin, arXiv 1708.07120, in PyTorch's form).
    """
    if table.schedule == "one-cycle":
        return OneCycleLR(optimizer, max_lr=table.learning_rate, total_steps=steps + 1)
    if table.schedule == "cosine":
        return LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * min(1, step / steps))))
    return LambdaLR(optimizer, lambda step: 1.0)


class MovingAverage(AveragedModel):
    """Exponential moving average of weights and batch-norm statistics, which begins with the model's first step.

    After n steps the decay is min(decay, (1 + n) / (10 + n)), so that a short training is not ruled by its random
    start. PyTorch's own `update_parameters` waits in every step for the copy of n to the GPU; here n stays on the CPU.
    """

    def __init__(self, model: nn.Module, decay: float):
        super().__init__(model, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take up the model's weights after a step; the first ones are taken as they are."""
        n = int(self.n_averaged)
        decay = min(self.decay, (1 + n) / (10 + n)) if n else 0.0
        means, currents = (itertools.chain(net.parameters(), net.buffers()) for net in (self.module, model))
        pairs = list(zip(means, currents, strict=True))
        for mean, current in pairs:
            if not mean.is_floating_point():  # how many batches a norm has seen
                mean.copy_(current)
        numbers = [pair for pair in pairs if pair[0].is_floating_point()]
        get_ema_multi_avg_fn(decay)(*map(list, zip(*numbers, strict=True)), n)
        self.n_averaged += 1
