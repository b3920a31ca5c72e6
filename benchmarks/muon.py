"""Muon, an optimizer for the speedrun. To import this module makes it an optimizer of recipes."""

import math

import torch
from torch import nn
from torch.optim import AdamW

from course.orthogonal import orthogonalized
from labkit.training import OPTIMIZERS, choose_precision
from labkit.training.tables import TrainingTable


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


def build_muon(model: nn.Module, table: TrainingTable) -> Muon:
    """The recipe's Muon; it makes its matrices orthogonal in the recipe's precision."""
    precision = choose_precision(table.precision, next(model.parameters()).device)
    return Muon(model, table.learning_rate, table.weight_decay, dtype=getattr(torch, precision))


OPTIMIZERS["muon"] = build_muon
