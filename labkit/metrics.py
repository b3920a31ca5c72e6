"""Dice and its relatives: the one place where they are defined.

All compare a predicted mask P with a true one T by three counts of pixels: in both (intersection), in P, in T.

    Dice = 2 |P & T| / (|P| + |T|)          IoU = |P & T| / |P | T| = |P & T| / (|P| + |T| - |P & T|)

- **per image** (the lab's measure): the mean over images of each image's Dice. An image whose truth is empty
  counts 1 when the prediction is empty too, else 0.
- **pooled**: the counts of all images are added up first, so that large pets weigh more.
- **soft, per batch**: on probabilities, pooled over a batch, hence dependent on the batch size; some reports used it.

With several classes each class is the foreground once, and the mean is over classes.

Source: Dice, "Measures of the Amount of Ecologic Association Between Species", Ecology 26 (1945).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = 255  # mask value of a pixel that counts for nothing


def foreground_logit(logits: Tensor) -> Tensor:
    """One logit a pixel for binary targets, `[B, H, W]`: its sigmoid is the probability of the foreground.

    Two channels give their difference, since softmax over (a, b) gives b the share sigmoid(b - a).
    """
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]


def resize_logits(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring logits `[B, C, h, w]` to `size` = (height, width), bilinearly; they are thresholded only afterwards."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)


def predicted_mask(logits: Tensor, threshold: float = 0.5) -> Tensor:
    """Class indices `int64 [B, H, W]` from logits `[B, C, H, W]`.

    C = 1 or 2: foreground (1) where its probability is above `threshold`. C > 2: the most probable class.
    """
    if logits.shape[1] > 2:
        return logits.argmax(dim=1)
    cut = torch.logit(torch.tensor(threshold, dtype=torch.float64)).item()
    return (foreground_logit(logits) > cut).long()


def overlap_counts(prediction: Tensor, truth: Tensor, classes: int = 2) -> Tensor:
    """Intersection, prediction and truth in pixels, `int64 [B, classes - 1, 3]`: of all classes but the background.

    Both masks are class indices `int64 [B, H, W]`; pixels whose truth is `IGNORED` are left out.
    """
    counts = []
    for index in range(1, classes):
        predicted, true = (prediction == index) & (truth != IGNORED), truth == index
        counts.append(torch.stack([m.sum((1, 2)) for m in (predicted & true, predicted, true)], dim=1))
    return torch.stack(counts, dim=1)


def dice_score(counts: Tensor) -> Tensor:
    """Dice of each row of counts `[..., 3]` (intersection, prediction, truth); both empty counts 1."""
    intersection, prediction, truth = counts.double().unbind(-1)
    total = prediction + truth
    return torch.where(total > 0, 2 * intersection / total.clamp(min=1), 1.0)


def iou_score(counts: Tensor) -> Tensor:
    """Intersection over union of each row of counts `[..., 3]`; both empty counts 1."""
    intersection, prediction, truth = counts.double().unbind(-1)
    union = prediction + truth - intersection
    return torch.where(union > 0, intersection / union.clamp(min=1), 1.0)


def per_image(score, counts: Tensor) -> Tensor:
    """A score for each image, `float64 [N]`, from counts `[N, classes - 1, 3]`.

    It is the mean over the classes that the image's truth or prediction contains; 1 when it contains none.
    """
    scores, present = score(counts), counts[..., 1:].sum(-1) > 0
    number = present.sum(1)
    return torch.where(number > 0, (scores * present).sum(1) / number.clamp(min=1), 1.0)


def pooled(score, counts: Tensor) -> float:
    """A score of the added-up counts `[N, classes - 1, 3]`: the mean over the classes that occur."""
    return per_image(score, counts.sum(0, keepdim=True)).item()


def confusion_matrix(prediction: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Pixels of each true class (row) that were called each class (column), `int64 [classes, classes]`.

    Both masks are class indices of one shape; pixels whose truth is `IGNORED` are left out.
    """
    kept = truth != IGNORED
    pairs = truth[kept].long() * classes + prediction[kept].long()
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def class_counts(confusion: Tensor) -> Tensor:
    """Intersection, prediction and truth of every class, background included, `int64 [C, 3]`."""
    return torch.stack([confusion.diagonal(), confusion.sum(0), confusion.sum(1)], dim=1)


def pixel_accuracy(confusion: Tensor) -> float:
    """Share of the pixels whose class is right. Four fifths of background make it high for nothing found."""
    return (confusion.diagonal().sum() / confusion.sum()).item()


def mean_iou(confusion: Tensor) -> float:
    """The field's mIoU: the mean of the pooled IoU over the classes that occur, **background included**.

    Source: Long et al., "Fully Convolutional Networks", CVPR 2015 (arXiv 1411.4038), section 5.
    """
    return pooled(iou_score, class_counts(confusion)[None])


def mean_dice(confusion: Tensor) -> float:
    """As `mean_iou`, of Dice; called macro F1, too."""
    return pooled(dice_score, class_counts(confusion)[None])


def soft_counts(logits: Tensor, truth: Tensor) -> Tensor:
    """`overlap_counts` of probabilities, pooled over the batch: `float32 [classes - 1, 3]`, without the background.

    Args:
        logits: `[B, C, H, W]`; C = 1 goes through a sigmoid, C > 1 through softmax.
        truth: class indices `int64 [B, H, W]`; `IGNORED` pixels are left out.
    """
    probabilities = logits.float().sigmoid() if logits.shape[1] == 1 else logits.float().softmax(dim=1)[:, 1:]
    probabilities = probabilities * (truth != IGNORED)[:, None]
    classes = torch.arange(1, probabilities.shape[1] + 1, device=truth.device)
    true = truth[:, None] == classes[:, None, None]
    return torch.stack([part.sum((0, 2, 3)) for part in (probabilities * true, probabilities, true)], dim=1)


def soft_dice(logits: Tensor, truth: Tensor, smooth: float = 0.0) -> Tensor:
    """Dice of `soft_counts`: a scalar, the mean over the classes but the background.

    `smooth` is added to numerator and denominator; it keeps the gradient finite on empty masks.
    """
    intersection, prediction, true = soft_counts(logits, truth).unbind(-1)
    return ((2 * intersection + smooth) / (prediction + true + smooth).clamp(min=1e-12)).mean()
