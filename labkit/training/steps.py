"""What the steps of an epoch leave."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from labkit.metrics import dice_score, per_image


def gradient_norm(model: nn.Module) -> Tensor:
    """Length (L2) of the gradient over all parameters together, a scalar on their device."""
    return get_total_norm([p.grad for p in model.parameters() if p.grad is not None])


def image_dice(counts: list[Tensor]) -> Tensor:
    """Dice of each image of several batches' overlap counts, `float64 [N]` on the CPU: Apple's GPU has no float64."""
    return per_image(dice_score, torch.cat(counts).cpu())


def refuse_burst(epoch: int, step: int, loss: float, rate: float) -> None:
    """Raise a `FloatingPointError` if a loss is not finite."""
    if not math.isfinite(loss):
        raise FloatingPointError(f"epoch {epoch}, step {step}: the loss is {loss:g} at learning rate {rate:g}")


class Steps(NamedTuple):
    """What an epoch's steps were: loss and learning rate of each batch, gradient norm of each optimizer step."""

    losses: list[float]
    rates: list[float]
    gradient_norms: list[float]
    dice: float
    """Mean over the images, each as it was augmented and when it was learned from."""
