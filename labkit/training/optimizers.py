"""Optimizers, schedules and the moving average of a recipe: PyTorch's, and Muon, which it has for matrices only."""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RAdam
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from labkit.training.hardware import choose_precision
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


COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration; Jordan et al. chose them for a steep start, so that five rounds suffice."""


def orthogonalized(matrix: Tensor, rounds: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: all singular values come near 1 (0.7 to 1.2), directions stay.

    A polynomial in `matrix`, `float [M, N]`, does it without a singular value decomposition, in the matrix's own
    precision: bfloat16 is enough, and fast where the hardware has it.
    """
    a, b, c = COEFFICIENTS
    x = matrix if len(matrix) <= len(matrix.T) else matrix.T  # the small Gram matrix is the cheap one
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(rounds):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if x.shape == matrix.shape else x.T


class Muon(AdamW):
    """Muon for the weights of the hidden layers, AdamW for the layer on the image, the head, biases and norms.

    A convolution's weight is seen as the matrix `[out, in * height * width]`, a transposed one's as
    `[in, out * height * width]`. Its running gradient becomes the nearest orthogonal matrix, so that rare directions
    are learned as fast as frequent ones; times 0.2 sqrt(max(M, N)) the step is as long as AdamW's, so that both share
    learning rate and weight decay.

    Sources: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024
    (kellerjordan.github.io/posts/muon); the scale: Liu et al., 2025 (arXiv 2502.16982). `torch.optim.Muon` is the
    same for matrices and refuses convolutions.

    Args:
        model: its parameters are all trained. The layer on the image is its first; what writes the logits is called
            `head`, or is its last layer.
        weight_decay: for weights of two dimensions and more, none for biases and norms.
        momentum: of Muon's running gradient.
        dtype: in which matrices are made orthogonal.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ):
        weights = {name: p for name, p in model.named_parameters() if p.ndim > 1}
        layers = [p for name, p in weights.items() if name.endswith("weight")]  # others are tables, as of positions
        head = model.head.parameters() if hasattr(model, "head") else layers[-1:]
        hidden = {*layers} - {layers[0], *head}
        groups = [
            {"params": [p for p in weights.values() if p in hidden], "orthogonal": True},
            {"params": [p for p in weights.values() if p not in hidden], "orthogonal": False},
            {"params": [p for p in model.parameters() if p.ndim <= 1], "orthogonal": False, "weight_decay": 0.0},
        ]
        super().__init__(groups, lr=lr, weight_decay=weight_decay, fused=layers[0].device.type in ("cpu", "cuda"))
        self.momentum, self.dtype = momentum, dtype

    @torch.no_grad()
    def step(self) -> None:
        """One step of all parameters; a parameter without a gradient stays."""
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if group["orthogonal"] and weights:
                self._orthogonal_step(weights, group)
        super().step()

    def _orthogonal_step(self, weights: list[nn.Parameter], group: dict) -> None:
        grads = [p.grad for p in weights]
        for p in weights:
            p.grad = None  # so that AdamW passes these by
            if not self.state[p]:  # AdamW's `load_state_dict` looks for a step in every state
                self.state[p] = {"step": torch.zeros(()), "momentum_buffer": torch.zeros_like(p)}
            self.state[p]["step"] += 1
        running = [self.state[p]["momentum_buffer"] for p in weights]
        torch._foreach_lerp_(running, grads, 1 - self.momentum)
        torch._foreach_lerp_(grads, running, self.momentum)  # Nesterov's look ahead
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        for p, grad in zip(weights, grads, strict=True):
            matrix = grad.flatten(1)
            length = 0.2 * math.sqrt(max(matrix.shape))
            p.add_(orthogonalized(matrix.to(self.dtype)).view_as(p), alpha=-group["lr"] * length)
