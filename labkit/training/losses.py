"""What training minimizes. Every loss takes logits `[B, C, H, W]` and class indices `int64 [B, H, W]`, 255 ignored."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from labkit.metrics import IGNORED, soft_dice

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


LOSSES: dict[str, Loss] = {
    "cross-entropy": cross_entropy,
    "bce": bce,
    "dice": dice_loss,
    "bce+dice": lambda logits, truth: bce(logits, truth) + dice_loss(logits, truth),
    "cross-entropy+dice": lambda logits, truth: cross_entropy(logits, truth) + dice_loss(logits, truth),
}
