"""Checks of notebook 07: cross-entropy, the confusion matrix and what follows from it, region and class."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course.checks.verdict import (
    SMOOTHED,
    Check,
    Collected,
    Forbidden,
    WrongAnswer,
    call,
    expect,
    name_mistake,
    number_check,
    numbers,
)
from labkit import metrics
from labkit.metrics import IGNORED

# --- predictions


uniform_loss = number_check(
    "uniform_loss",
    "a first loss far from it is a warning",
    np.log(3),
    {
        "that is the probability of the true class; the loss is minus its logarithm": 1 / 3,
        "the logarithm is the natural one, not that to base 2": np.log2(3),
        "the logarithm is the natural one, not that to base 10": np.log10(3),
        "that is for two classes": np.log(2),
        "the loss is minus the logarithm, so it is positive": -np.log(3),
    },
    "which probability does softmax give to each of three equal logits?",
    0.006,
)

# --- cross-entropy


def _pixels(seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(seed)
    logits, truth = torch.randn(2, 4, 5, 6, generator=draw) * 2, torch.randint(0, 4, (2, 5, 6), generator=draw)
    truth[0, :3], truth[1, 0, :2] = IGNORED, IGNORED
    wrong = logits.clone()
    wrong[0, 0, 4, 0], truth[0, 4, 0] = 400.0, 1  # sure, and wrong
    large = logits + 400 * torch.tensor([1.0, -1.0])[:, None, None, None]
    return {"drawn": (logits, truth), "large": (large, truth), "sure": (wrong, truth)}


def _collect_cross_entropy(student: Callable, seed: int) -> Collected:
    what = "pixel_cross_entropy"
    cases = _pixels(seed).items()
    with Forbidden(what, F.cross_entropy):
        return {name: numbers(call(student, x.clone(), t.clone(), what=what), what, ()) for name, (x, t) in cases}


def _judge_cross_entropy(arrays: Collected, seed: int) -> None:
    what = "pixel_cross_entropy"
    for name, (logits, truth) in _pixels(seed).items():
        advice = {
            "large": "logits near 400: exp overflows; subtract each pixel's largest logit first",
            "sure": "a pixel that is surely wrong: log(softmax) in two steps is log(0); use logsumexp or log_softmax",
        }
        expect(name == "drawn" or np.isfinite(arrays[name]), f"{what}: not finite for {advice.get(name)}")
        losses = F.cross_entropy(logits, truth, ignore_index=IGNORED, reduction="none").double()
        kept = truth != IGNORED
        as_background = F.cross_entropy(logits, torch.where(kept, truth, 0)).double()
        zeros = torch.where(kept, truth, 0)
        others = [F.nll_loss(logits.log_softmax(dim), zeros, reduction="none").double()[kept] for dim in (0, 2, 3)]
        right = losses.sum() / kept.sum()
        mistakes = {
            "that is the sum; take the mean over the pixels that count": losses.sum(),
            "the pixels with 255 count for nothing, in the number of pixels either": losses.mean(),
            "the pixels with 255 were taken for background": as_background,
            "the sign is turned: minus the logarithm": -right,
            "the logarithm is the natural one, not that to base 2": right / np.log(2),
            "each image was averaged by itself, although they have unequal numbers of pixels that count": (
                losses.sum((1, 2)) / kept.sum((1, 2))
            ).mean(),
            "the mean was taken before the logarithm": -losses[kept].neg().exp().mean().log(),
        }
        for other in others:
            expect(
                not np.isclose(arrays[name], other.mean(), atol=1e-3), f"{what}: softmax runs over the classes, dim=1"
            )
        otherwise = f"another loss is right for the case {name!r}; try one pixel with the logits 0, 0, 0, 0"
        name_mistake(what, arrays[name], right, mistakes, otherwise, tolerance=1e-3)


pixel_cross_entropy = Check(
    "pixel_cross_entropy",
    "ignored pixels left out, large logits too",
    _collect_cross_entropy,
    _judge_cross_entropy,
)

# --- from masks to a table


def _masks(seed: int) -> tuple[Tensor, Tensor, int]:
    """Prediction, truth and number of classes; the last class is in neither, some pixels are ignored."""
    draw = torch.Generator().manual_seed(seed)
    truth = torch.multinomial(torch.tensor([0.6, 0.3, 0.1]), 2 * 64, replacement=True, generator=draw).view(2, 8, 8)
    noise = torch.rand(2, 8, 8, generator=draw)
    prediction = torch.where(noise < 0.3, torch.randint(0, 2, (2, 8, 8), generator=draw), truth)
    truth[1, :2, :5] = IGNORED
    return prediction, truth, 4


def _collect_confusion(student: Callable, seed: int) -> Collected:
    what, (prediction, truth, classes) = "confusion_table", _masks(seed)
    try:
        answer = call(student, prediction.clone(), truth.clone(), classes, what=what)
    except WrongAnswer:
        _expect_without_ignored(student, prediction, truth, classes)
        raise
    return {"table": numbers(answer, what, (classes, classes))}


def _expect_without_ignored(student: Callable, prediction: Tensor, truth: Tensor, classes: int) -> None:
    """Say so if the table comes out once what makes it hard is taken away."""
    what, every = "confusion_table", torch.arange(classes**2)
    easier = {
        "it fails only where the truth holds 255; leave these pixels out first": (prediction, truth % IGNORED),
        "it fails only where a class does not occur; give bincount minlength=classes**2": (
            torch.cat([prediction.flatten(), every % classes]),
            torch.cat([truth.flatten(), every // classes]),
        ),
        "leave the pixels with 255 out first, and give bincount minlength=classes**2": (
            every % classes,
            every // classes,
        ),
    }
    for advice, masks in easier.items():
        try:
            answer = call(student, *masks, classes, what=what)
        except WrongAnswer:
            continue
        expect(np.shape(answer) != (classes, classes), f"{what}: {advice}")


def _judge_confusion(arrays: Collected, seed: int) -> None:
    prediction, truth, classes = _masks(seed)

    def table(true: Tensor) -> np.ndarray:
        return metrics.confusion_matrix(prediction, true, classes).numpy()

    right, ignored = table(truth), truth == IGNORED
    mistakes = {
        "rows and columns are exchanged; a row is a true class": right.T,
        "the pixels with 255 were taken for background": table(torch.where(ignored, 0, truth)),
        "the pixels with 255 were counted in the last class": table(torch.where(ignored, classes - 1, truth)),
        "the pixels with 255 were counted as right": table(torch.where(ignored, prediction, truth)),
        "those are shares of the rows; counts are asked for": right / np.maximum(right.sum(1, keepdims=True), 1),
        "those are shares of all pixels; counts are asked for": right / right.sum(),
        "that is the first image alone": metrics.confusion_matrix(prediction[:1], truth[:1], classes).numpy(),
    }
    otherwise = (
        f"the table of other pixels; its sum is {arrays['table'].sum():g}, and {int((~ignored).sum())} pixels count"
    )
    name_mistake("confusion_table", arrays["table"], right, mistakes, otherwise)


confusion_table = Check(
    "confusion_table", "255 left out, classes that do not occur kept", _collect_confusion, _judge_confusion
)

TABLES = (
    [[50, 3, 7], [4, 20, 1], [10, 2, 6]],
    [[900, 30], [25, 45]],
    [[70, 0, 5, 4], [0, 0, 0, 0], [6, 0, 12, 1], [2, 0, 3, 8]],  # the second class does not occur
    [[40, 2, 1], [3, 9, 4], [0, 0, 0]],  # the third is in no image, but was predicted
)


def _parts(table: list[list[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    confusion = np.array(table, dtype=float)
    return confusion.diagonal(), confusion.sum(1), confusion.sum(0)


def _share(top: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(top, below, out=np.full_like(top, np.nan), where=below > 0)


def _collect_class_dice(student: Callable, seed: int) -> Collected:
    what = "class_dice"
    answers = [call(student, torch.tensor(table), what=what) for table in TABLES]
    return {str(i): numbers(answer, what, (len(TABLES[i]),)) for i, answer in enumerate(answers)}


def _judge_class_dice(arrays: Collected, seed: int) -> None:
    for index, table in enumerate(TABLES):
        both, true, predicted = _parts(table)
        right = _share(2 * both, true + predicted)
        mistakes = {
            "that is IoU": _share(both, true + predicted - both),
            "that is recall: what was wrongly called the class belongs below, too": _share(both, true),
            "that is precision: what was missed belongs below, too": _share(both, predicted),
            SMOOTHED: (2 * both + 1) / (true + predicted + 1),
            "twice the intersection stands above": _share(both, true + predicted),
            "a class in neither has no Dice: 0 / 0, nan; found 0": np.nan_to_num(right, nan=0.0),
            "a class in neither has no Dice: 0 / 0, nan; found 1": np.nan_to_num(right, nan=1.0),
        }
        marked = {advice: np.nan_to_num(wrong, nan=-1.0) for advice, wrong in mistakes.items()}
        found, right = (np.nan_to_num(array, nan=-1.0) for array in (arrays[str(index)], right))
        name_mistake("class_dice", found, right, marked, f"another Dice is right for {table}")


class_dice = Check("class_dice", "a class that does not occur has none", _collect_class_dice, _judge_class_dice)


def _collect_mean_iou(student: Callable, seed: int) -> Collected:
    what = "mean_iou"
    answers = [call(student, torch.tensor(table), what=what) for table in TABLES]
    return {str(i): numbers(answer, what, ()) for i, answer in enumerate(answers)}


def _judge_mean_iou(arrays: Collected, seed: int) -> None:
    for index, table in enumerate(TABLES):
        both, true, predicted = _parts(table)
        union, occurs = true + predicted - both, true + predicted > 0
        ious = np.nan_to_num(_share(both, union))

        def mean(top: np.ndarray, below: np.ndarray, where: np.ndarray = occurs) -> float:
            return float(np.mean(top[where] / np.maximum(below[where], 1)))

        mistakes = {
            "that is mean Dice; IoU divides by the union": mean(2 * both, true + predicted),
            "the intersection is in both sums; subtract it once for the union": mean(both, true + predicted),
            "that is mean recall: divide by the union": mean(both, true),
            "that is mean precision: divide by the union": mean(both, predicted),
            "that is pixel accuracy, which weights classes by their pixels": both.sum() / true.sum(),
            "all classes were pooled into one IoU; take each class's and then the mean": both.sum() / union.sum(),
            "a class that does not occur counted as 0; leave it out of the mean": ious.mean(),
            "a class that does not occur counted as 1; leave it out of the mean": np.where(occurs, ious, 1).mean(),
            "a class that is in no image but was predicted has the IoU 0": mean(both, union, true > 0),
            "the background is left out; here it counts": mean(both, union, occurs & (np.arange(len(both)) > 0)),
            "the classes were weighted by their pixels; each counts the same": (ious * true).sum() / true.sum(),
        }
        right = mean(both, union)
        name_mistake("mean_iou", arrays[str(index)], right, mistakes, f"another mean is right for {table}", 1e-5)


mean_iou = Check("mean_iou", "background in, classes that do not occur out", _collect_mean_iou, _judge_mean_iou)
