"""What training minimizes. Every loss takes logits `[B, C, H, W]` and class indices `int64 [B, H, W]`, 255 ignored."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.metrics import IGNORED, soft_counts, soft_dice

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean over pixels of -log softmax(logits)[truth]; for two channels and more."""
    kept = (truth != IGNORED).sum().clamp(min=1)  # torch's own mean over no pixel is not a number
    return F.cross_entropy(logits.float(), truth, ignore_index=IGNORED, reduction="sum") / kept


def bce(logits: Tensor, truth: Tensor) -> Tensor:
    """Binary cross-entropy, the mean over pixels of -log of the probability that the truth gets; one channel.

    On logits, not on probabilities: log(sigmoid(x)) in one step does not overflow.
    """
    kept = (truth != IGNORED).float()
    pixels = F.binary_cross_entropy_with_logits(logits[:, 0].float(), (truth == 1).float(), reduction="none")
    return (pixels * kept).sum() / kept.sum().clamp(min=1)


def dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - soft Dice of the batch. Milletari et al., "V-Net", 3DV 2016 (arXiv 1606.04797), with |P| + |T| below."""
    return 1 - soft_dice(logits, truth, smooth=1.0)


def focal(logits: Tensor, truth: Tensor, gamma: float = 2.0) -> Tensor:
    """Cross-entropy in which a pixel whose truth has probability p counts (1 - p)^gamma: sure pixels hardly do.

    Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017 (arXiv 1708.02002), equation 4. One channel or more.
    """
    known = (truth != IGNORED).float()
    if logits.shape[1] == 1:
        pixels = F.binary_cross_entropy_with_logits(logits[:, 0].float(), (truth == 1).float(), reduction="none")
    else:
        pixels = F.cross_entropy(logits.float(), truth, ignore_index=IGNORED, reduction="none")
    pixels = (1 - torch.exp(-pixels)) ** gamma * pixels
    return (pixels * known).sum() / known.sum().clamp(min=1)


def tversky(logits: Tensor, truth: Tensor, alpha: float = 0.3, beta: float = 0.7) -> Tensor:
    """1 - soft Tversky index of the batch: extra pixels weigh alpha, missed ones beta (`dice_loss`: 0.5 and 0.5).

    Salehi et al., "Tversky loss function", MLMI 2017 (arXiv 1706.05721), equation 2.
    """
    found, predicted, true = soft_counts(logits, truth).unbind(-1)
    wrong = alpha * (predicted - found) + beta * (true - found)
    return 1 - ((2 * found + 1) / (2 * (found + wrong) + 1)).mean()


def lovasz(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - IoU of the batch, carried on from hard masks to all sizes of error in between (see `lovasz_extension`).

    Errors are the hinge's for one channel, and |truth - softmax| for several: then the mean over the classes that the
    truth has, background included. Berman et al., "The Lovasz-Softmax loss", CVPR 2018 (arXiv 1705.08790), section 3.
    """
    if logits.shape[1] == 1:
        true = (truth[:, None] == 1).float()
        errors, counted = F.relu(1 - logits.float() * (2 * true - 1)), torch.ones(1, device=truth.device)
    else:
        classes = torch.arange(logits.shape[1], device=truth.device)
        true = (truth[:, None] == classes[:, None, None]).float()
        errors, counted = (true - logits.float().softmax(dim=1)).abs(), true.amax((0, 2, 3))
    errors = errors * (truth != IGNORED)[:, None]  # a pixel without an error counts for nothing
    errors, true = (values.transpose(0, 1).flatten(1) for values in (errors, true))  # [C, B * H * W]
    return (lovasz_extension(errors, true) * counted).sum() / counted.sum().clamp(min=1)


def lovasz_extension(errors: Tensor, true: Tensor) -> Tensor:
    """The Lovasz extension of 1 - IoU, `[C]`, of errors from 0 on and masks of 0 and 1, both `float [C, N]`.

    Pixels are called wrong one after the other, the largest error first; each error weighs what that adds to 1 - IoU.
    """
    errors, order = errors.sort(dim=1, descending=True)
    true = true.gather(1, order)
    missed, extra, total = true.cumsum(1), (1 - true).cumsum(1), true.sum(1, keepdim=True)
    distance = 1 - (total - missed) / (total + extra)
    return (errors * distance.diff(dim=1, prepend=torch.zeros_like(total))).sum(1)


LOSSES: dict[str, Loss] = {
    "cross-entropy": cross_entropy,
    "bce": bce,
    "dice": dice_loss,
    "focal": focal,
    "tversky": tversky,
    "lovasz": lovasz,
    "bce+dice": lambda logits, truth: bce(logits, truth) + dice_loss(logits, truth),
    "cross-entropy+dice": lambda logits, truth: cross_entropy(logits, truth) + dice_loss(logits, truth),
    "focal+dice": lambda logits, truth: focal(logits, truth) + dice_loss(logits, truth),
}
