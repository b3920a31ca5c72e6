"""Optimizers, schedules and the moving average by their names in a recipe; all but Muon are PyTorch's."""

import itertools
import math

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RAdam
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from labkit.training.hardware import choose_precision
from labkit.training.muon import Muon
from labkit.training.recipe import TrainingTable


def build_optimizer(model: nn.Module, table: TrainingTable) -> Optimizer:
    """The recipe's optimizer over all parameters, with the fastest kernels that PyTorch has for the device.

    SGD has momentum 0.9 (0.99 in the UNet paper), but with the one-cycle schedule, which moves it between 0.95 and
    0.85 against the rate, as it does Adam's first beta. Muon makes its matrices orthogonal in the recipe's precision.
    """
    device = next(model.parameters()).device
    if table.optimizer == "muon":
        precision = choose_precision(table.precision, device)
        return Muon(model, table.learning_rate, table.weight_decay, dtype=getattr(torch, precision))
    kind = {"sgd": SGD, "adam": Adam, "adamw": AdamW, "radam": RAdam}[table.optimizer]
    fused = kind is not RAdam and device.type in ("cpu", "cuda")  # one kernel makes the whole step
    more = {"fused": True} if fused else {"foreach": True}
    if kind is SGD:
        more |= {"momentum": 0.9, "nesterov": True}
    return kind(model.parameters(), lr=table.learning_rate, weight_decay=table.weight_decay, **more)


def build_schedule(optimizer: Optimizer, table: TrainingTable, steps: int) -> LRScheduler:
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
