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

FUSED = ("cpu", "cuda")
"""Devices on which one kernel makes the whole step of SGD, Adam and AdamW; PyTorch has none for RAdam."""


def build_optimizer(model: nn.Module, table: TrainingTable) -> Optimizer:
    """The recipe's optimizer over all parameters.

    SGD has momentum 0.9 (0.99 in the UNet paper), but with the one-cycle schedule, which moves it between 0.95 and
    0.85 against the rate, as it does Adam's first beta. Muon makes its matrices orthogonal in the recipe's precision.
    One kernel makes the step where PyTorch has it, elsewhere one for each of its operations, over all parameters.
    """
    if table.optimizer == "muon":
        precision = choose_precision(table.precision, next(model.parameters()).device)
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        return Muon(model, table.learning_rate, table.weight_decay, dtype=dtype)
    kinds = {"sgd": SGD, "adam": Adam, "adamw": AdamW, "radam": RAdam}
    fused = table.optimizer != "radam" and all(p.device.type in FUSED for p in model.parameters())
    more = {"momentum": 0.9, "nesterov": True} if table.optimizer == "sgd" else {}
    more |= {"fused": True} if fused else {"foreach": True}
    return kinds[table.optimizer](model.parameters(), lr=table.learning_rate, weight_decay=table.weight_decay, **more)


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
    """Exponential moving average of weights and batch-norm statistics.

    After n steps the decay is min(decay, (1 + n) / (10 + n)), so that a short training is not ruled by its
    random start. PyTorch's own `update_parameters` copies n to the model's device in every step, and a GPU's host
    waits for that; here n stays on the CPU.
    """

    def __init__(self, model: nn.Module, decay: float):
        super().__init__(model, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take up the model's weights after a step; the first ones are taken as they are."""
        n = int(self.n_averaged)
        average = get_ema_multi_avg_fn(min(self.decay, (1 + n) / (10 + n)) if n else 0.0)
        means, currents = (itertools.chain(net.parameters(), net.buffers()) for net in (self.module, model))
        numbers = []
        for mean, current in zip(means, currents, strict=True):
            if mean.is_floating_point():
                numbers.append((mean, current))
            else:  # how many batches a norm has seen
                mean.copy_(current)
        average(*map(list, zip(*numbers, strict=True)), n)
        self.n_averaged += 1


def build_average(model: nn.Module, decay: float) -> AveragedModel:
    """The moving average that begins with the model's first step."""
    return MovingAverage(model, decay)
