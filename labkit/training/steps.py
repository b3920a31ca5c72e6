"""What an epoch's steps were, and how good the network then is on images that it does not learn from."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from labkit.data import Arrays, BatchTransform, batch_indices, batch_loader
from labkit.metrics import dice_score, iou_score, overlap_counts, per_image, predicted_mask, resize_logits
from labkit.training.hardware import ALONE, Processes, autocast
from labkit.training.losses import LOSSES, Loss
from labkit.training.recipe import Recipe


def gradient_norm(model: nn.Module) -> Tensor:
    """Length (L2) of the gradient over all parameters together, a scalar on their device."""
    return get_total_norm([p.grad for p in model.parameters() if p.grad is not None])


def image_dice(counts: list[Tensor]) -> Tensor:
    """Dice of each image of several batches' overlap counts, `float64 [N]` on the CPU: Apple's GPU has no float64."""
    return per_image(dice_score, torch.cat(counts).cpu())


def check_finite(epoch: int, step: int, loss: float, rate: float) -> None:
    """Raise a `FloatingPointError` if a loss is not finite."""
    if not math.isfinite(loss):
        raise FloatingPointError(f"epoch {epoch}, step {step}: the loss is {loss:g} at learning rate {rate:g}")


class Steps(NamedTuple):
    """What an epoch's steps were: loss and learning rate of each batch, gradient norm of each optimizer step."""

    losses: list[float]
    rates: list[float]
    gradient_norms: list[float]
    dice: float  # mean over the images, each as it was augmented and when it was learned from


@torch.no_grad()
def valid_scores(
    model: nn.Module,
    arrays: Arrays,
    indices: np.ndarray,
    prepare: BatchTransform,
    recipe: Recipe,
    size: int,
    processes: Processes = ALONE,
    loss: Loss | None = None,
) -> dict[str, float]:
    """Loss, per-image Dice and IoU of images at `indices`, fed at `size`, scored at the recipe's image size.

    The loss is the recipe's, if no other is given; it is NaN where logits are not finite, whatever it makes of them.
    """
    model.eval()
    loss, counts, values = loss or LOSSES[recipe.training.loss], [], []
    mine = indices[processes.rank :: processes.size]
    for batch in batch_loader(arrays, batch_indices(mine, max(32, recipe.training.batch_size))):
        images, masks = prepare(batch)
        if size != masks.shape[-1]:  # what is fed small is still scored at full size
            images, _ = prepare(batch, size=size)
        with autocast(images.device, recipe.training.precision):
            logits = model(images.contiguous(memory_format=torch.channels_last))
        logits = resize_logits(logits.float(), masks.shape[-2:])
        counts.append(overlap_counts(predicted_mask(logits), masks, max(2, logits.shape[1])))
        values.append(torch.where(torch.isfinite(logits).all(), loss(logits, masks), torch.nan) * len(masks))
    # scores are summed in float64 on the CPU: Apple's GPU has none, and others are then waited for only once
    counts = torch.cat(counts).cpu()
    sums = [torch.stack(values).cpu().double(), per_image(dice_score, counts), per_image(iou_score, counts)]
    sums = torch.stack([part.sum() for part in sums])
    loss, dice, iou = (processes.total(sums.to(prepare.device) if processes.size > 1 else sums) / len(indices)).tolist()
    return {"loss": loss, "dice": dice, "iou": iou}
