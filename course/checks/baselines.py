"""Checks of notebook 07: constant predictions, report 004's Dice, region and class, drawing anew."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course.checks.verdict import (
    SMOOTHED,
    Check,
    Collected,
    call,
    expect,
    name_mistake,
    number_check,
    numbers,
)
from labkit import metrics

# --- what a constant prediction gets

COUNTS = ([700, 200, 100], [60, 40, 0], [500, 0, 300, 200])
"""True pixels of each class; the third and the second class do not occur in the last two."""


def _collect_constant(student: Callable, seed: int) -> Collected:
    what = "constant_iou"
    answers = [call(student, torch.tensor(counts), index, what=what) for counts in COUNTS for index in (0, 2)]
    return {str(i): numbers(answer, what, ()) for i, answer in enumerate(answers)}


def _judge_constant(arrays: Collected, seed: int) -> None:
    cases = [(np.array(counts, dtype=float), index) for counts in COUNTS for index in (0, 2)]
    for number, (counts, index) in enumerate(cases):
        share = counts[index] / counts.sum()
        occur = int((counts > 0).sum())  # where the predicted class is in no truth every IoU is 0
        mistakes = {
            "that is the IoU of this one class (and the accuracy); the other classes have an IoU of 0": share,
            "that is mean Dice": 2 * share / (1 + share) / occur,
            "classes that do not occur were counted; leave them out": share / len(counts),
            "the background counts, too": share / max(1, occur - 1),
        }
        advice = f"another mean is right for {counts.astype(int).tolist()} and class {index}; write down the confusion"
        name_mistake("constant_iou", arrays[str(number)], share / occur, mistakes, advice)


constant_iou = Check("constant_iou", "the score to beat", _collect_constant, _judge_constant)

# --- report 004's Dice


def _masks(seed: int) -> tuple[Tensor, Tensor, int]:
    """Two images: class 1 is found in part, class 2 hardly; 3 is nowhere, 4 only predicted, 5 only true."""
    draw = torch.Generator().manual_seed(seed)
    truth, prediction = torch.zeros(2, 2, 12, 12, dtype=torch.long)
    truth[0, 1:8, 2:9], truth[0, 9:11, 1:4], truth[1, 3:6, 3:7] = 1, 2, 2
    prediction[0, 1:7, 2:8], prediction[1, 3:5, 3:5], prediction[1, 8:10, 8:10] = 1, 2, 1
    noise = torch.rand(2, 12, 12, generator=draw) < 0.05
    prediction = torch.where(noise, 1, prediction)
    prediction[1, 10:, :3], truth[0, :1, 9:] = 4, 5
    return prediction, truth, 6


def _collect_repaired_dice(student: Callable, seed: int) -> Collected:
    what, (prediction, truth, classes) = "repaired_dice", _masks(seed)
    return {"value": numbers(call(student, prediction.clone(), truth.clone(), classes, what=what), what, ())}


def _judge_repaired_dice(arrays: Collected, seed: int) -> None:
    prediction, truth, classes = _masks(seed)
    counts = metrics.overlap_counts(prediction, truth, classes)
    confusion = metrics.confusion_matrix(prediction, truth, classes)
    pooled = metrics.dice_score(counts.sum(0))
    total, by_class = counts.sum((0, 1)).double(), counts.sum(0).double()
    every = [F.one_hot(mask, classes).permute(0, 3, 1, 2).flatten(2) for mask in (prediction, truth)]
    both, size = (every[0] * every[1]).sum(2), every[0].sum(2) + every[1].sum(2)
    smoothed = (2 * by_class[:, 0] + 1) / (by_class[:, 1:].sum(1) + 1)
    each = torch.where(size > 0, 2 * both / size.clamp(min=1), 1.0)
    mistakes = {
        "that is still pixel accuracy: the sums run over all classes": metrics.pixel_accuracy(confusion),
        "the background is still in": metrics.mean_dice(confusion),
        "that is one Dice of the summed classes; take each class's own, then the mean": 2 * total[0] / total[1:].sum(),
        "a class that does not occur counted as 1; leave it out": pooled.mean(),
        "a class that does not occur counted as 0; leave it out": pooled[[0, 1, 3, 4]].sum() / 5,
        "a class that is only in the truth, or only predicted, has the Dice 0; it counts": pooled[:2].sum() / 3,
        "classes that are only in the truth or only predicted have the Dice 0; they count": pooled[:2].mean(),
        "that is the mean of all B x C masks, in which an empty mask counts 1": each.mean(),
        "that is the mean of B x C masks without the background, in which an empty mask counts 1": each[:, 1:].mean(),
        "each image was scored by itself; here the pixels of all images are counted together": (
            metrics.per_image(metrics.dice_score, counts).mean()
        ),
        SMOOTHED: smoothed[by_class[:, 1:].sum(1) > 0].mean(),
        f"{SMOOTHED}, and a class that does not occur counts 1 by it": smoothed.mean(),
        "that is mean IoU without the background": metrics.pooled(metrics.iou_score, counts),
    }
    advice = "print the three counts of each class: in both, predicted, true"
    right = metrics.pooled(metrics.dice_score, counts)
    name_mistake("repaired_dice", arrays["value"], right, mistakes, advice)


repaired_dice = Check(
    "repaired_dice", "a class that is missed costs its share", _collect_repaired_dice, _judge_repaired_dice
)

# --- everything is pet

everything_pet = number_check(
    "everything_pet",
    "and nothing has been learned",
    0.6 / 1.3,
    {
        "that is the IoU (or the precision); Dice is asked for": 0.3,
        "twice the intersection is only the numerator": 0.6,
        "that is for a prediction without any pet": 0.0,
        "the intersection counts twice in the numerator": 0.3 / 1.3,
    },
    "let there be 100 pixels: how many are in both masks, how many in each?",
    0.006,
)

# --- region and class

SPECIES = ([[700, 25, 45], [40, 90, 20], [10, 50, 40]], [[500, 60, 0], [30, 200, 0], [80, 90, 0]])


def _collect_found(student: Callable, seed: int) -> Collected:
    what = "found_and_named"
    answers = [call(student, torch.tensor(table), what=what) for table in SPECIES]
    return {str(i): numbers(answer, what, (2,)) for i, answer in enumerate(answers)}


def _judge_found(arrays: Collected, seed: int) -> None:
    what = "found_and_named"
    for index, table in enumerate(SPECIES):
        confusion = np.array(table, dtype=float)
        found, missed, extra = confusion[1:, 1:].sum(), confusion[1:, 0].sum(), confusion[0, 1:].sum()
        same = confusion.diagonal()[1:].sum()
        dice = 2 * confusion.diagonal() / (confusion.sum(0) + confusion.sum(1))
        regions = {
            "region: that is the mean Dice of the classes; a cat called dog is still found": dice[1:].mean(),
            "region: a cat called dog is still found": 2 * same / (2 * found + missed + extra),
            "region: that is IoU": found / (found + missed + extra),
            "region: that is recall; what was wrongly called pet counts, too": found / (found + missed),
            "region: that is pixel accuracy": (confusion[0, 0] + found) / confusion.sum(),
        }
        names = {
            "class: missed pixels are below the line; only pixels that were found are asked about": same
            / (found + missed),
            "class: that is pixel accuracy; the background plays no part": confusion.trace() / confusion.sum(),
            "class: background called pet is below the line; only pixels that are pet are asked about": same
            / (found + extra),
            "class: that is the mean Dice of the classes": dice[1:].mean(),
        }
        region, right_class = arrays[str(index)]
        right = 2 * found / (2 * found + missed + extra)
        expect(
            not np.allclose([right_class, region], [right, same / found], atol=1e-4),
            f"{what}: the two are exchanged; the region comes first",
        )
        name_mistake(what, region, right, regions, f"another Dice of the region is right for {table}")
        name_mistake(what, right_class, same / found, names, f"another share of right classes is right for {table}")


found_and_named = Check("found_and_named", "what was found, and what of it was named", _collect_found, _judge_found)

# --- drawn anew

CROPS = ((0.1, 0.5, 1), (0.12, 0.3, 3), (0.2, 0.0, 5), (0.05, 0.8, 0))


def _collect_redraw(student: Callable, seed: int) -> Collected:
    what = "share_after_redraw"
    return {"shares": np.array([numbers(call(student, *case, what=what), what, ()) for case in CROPS])}


def _judge_redraw(arrays: Collected, seed: int) -> None:
    share, empty, redraws = np.array(CROPS).T
    full = share / (1 - empty)
    mistakes = {
        "that is drawing anew without end; after `redraws` times an empty crop is kept": full,
        "the first drawing counts, too: a crop is drawn up to redraws + 1 times": full * (1 - empty**redraws),
        "that is what is held by a crop at random; crops that are not empty hold more": share
        * (1 - empty ** (redraws + 1)),
        "that is the share without drawing anew": share,
        "that is the chance that a crop is empty in the end": empty ** (redraws + 1),
    }
    advice = "how much do crops that are not empty hold, and how often does one come out after redraws + 1 drawings?"
    name_mistake("share_after_redraw", arrays["shares"], full * (1 - empty ** (redraws + 1)), mistakes, advice)


share_after_redraw = Check("share_after_redraw", "the prior moves", _collect_redraw, _judge_redraw)
