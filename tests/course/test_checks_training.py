"""The checks of notebooks 04 and 05 accept right answers however written and name the usual wrong ones."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from course import checks
from course.checks.verdict import WrongAnswer


def stable_by_hand(x, t):
    total = 0.0
    for logit, truth in zip(x.flatten().tolist(), t.flatten().tolist(), strict=True):
        total += max(logit, 0) - logit * truth + math.log1p(math.exp(-abs(logit)))
    return total / x.numel()


@pytest.mark.parametrize("answer", [F.binary_cross_entropy_with_logits, stable_by_hand], ids=["torch", "loop"])
def test_right_cross_entropies_pass(answer, capsys):
    checks.bce_from_logits(answer)
    assert "✓ bce_from_logits" in capsys.readouterr().out


def patched(x, t):
    values = -(t * x.sigmoid().log() + (1 - t) * (1 - x.sigmoid()).log())
    return torch.where(values.isfinite(), values, x.abs()).mean()


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (patched, "on the right side"),
        (lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction="sum"), "you took the sum"),
        (lambda x, t: -F.binary_cross_entropy_with_logits(x, t), "the sign is wrong"),
        (lambda x, t: F.binary_cross_entropy_with_logits(x, 1 - t), "swapped"),
        (lambda x, t: F.binary_cross_entropy_with_logits(x.sigmoid(), t), "applied twice"),
        (lambda x, t: -(t * x.sigmoid().log() + (1 - t) * (1 - x.sigmoid()).log()).mean(), "overflows"),
        (lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction="none"), "one number"),
        (lambda x, t: None, "return"),
        (lambda x, t: x.nothing(), "AttributeError"),
        (..., "a function is expected"),
    ],
)
def test_wrong_cross_entropies_are_named(answer, advice):
    with pytest.raises(WrongAnswer, match=advice):
        checks.bce_from_logits(answer)


@pytest.mark.parametrize(
    "answer",
    [
        lambda s, n, p: p * (1 + math.cos(math.pi * s / n)) / 2,
        lambda s, n, p: torch.tensor(p * math.cos(math.pi * s / n / 2) ** 2),
    ],
    ids=["formula", "squared cosine"],
)
def test_right_cosines_pass(answer, capsys):
    checks.cosine_rate(answer)
    assert "✓ cosine_rate" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda s, n, p: p * (1 - math.cos(math.pi * s / n)) / 2, "rises from 0"),
        (lambda s, n, p: p * (1 + math.cos(math.radians(math.pi * s / n))) / 2, "radians"),
        (lambda s, n, p: p * (1 + math.cos(2 * math.pi * s / n)) / 2, "whole cosine"),
        (lambda s, n, p: p * (1 + math.cos(math.pi * s / n)), "twice too high"),
        (lambda s, n, p: p * math.cos(math.pi * s / n / 2), "quarter"),
        (lambda s, n, p: p * (1 - s / n), "is right, found"),
    ],
)
def test_wrong_cosines_are_named(answer, advice):
    with pytest.raises(WrongAnswer, match=advice):
        checks.cosine_rate(answer)


def in_place(average, weights, decay):
    average.mul_(decay).add_(weights, alpha=1 - decay)


@pytest.mark.parametrize(
    "answer",
    [lambda a, w, d: d * a + (1 - d) * w, lambda a, w, d: a.lerp(w, 1 - d), in_place],
    ids=["formula", "lerp", "in place"],
)
def test_right_averages_pass(answer, capsys):
    checks.moving_average(answer)
    assert "✓ moving_average" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda a, w, d: (1 - d) * a + d * w, "swapped"),
        (lambda a, w, d: (a + w) / 2, "plain mean"),
        (lambda a, w, d: d * a + w, "add up to 1"),
        (lambda a, w, d: w.mul_(1 - d).add_(a, alpha=d), "weights themselves were changed"),
        (lambda a, w, d: (d * a + (1 - d) * w).mean(), "keeps the shape"),
    ],
)
def test_wrong_averages_are_named(answer, advice):
    with pytest.raises(WrongAnswer, match=advice):
        checks.moving_average(answer)


def loop_dice(predictions, truths):
    total = 0
    for p, t in zip(predictions.tolist(), truths.tolist(), strict=True):
        flat = [(a, b) for row_p, row_t in zip(p, t, strict=True) for a, b in zip(row_p, row_t, strict=True)]
        both, size = sum(a and b for a, b in flat), sum(a + b for a, b in flat)
        total += 2 * both / size if size else 1
    return total / len(predictions)


def tensor_dice(predictions, truths):
    p, t = torch.from_numpy(predictions).bool().flatten(1), torch.from_numpy(truths).bool().flatten(1)
    size = p.sum(1) + t.sum(1)
    return torch.where(size == 0, 1.0, 2 * (p & t).sum(1) / size).mean()


@pytest.mark.parametrize("answer", [loop_dice, tensor_dice])
def test_right_dices_pass(answer, capsys):
    checks.mean_dice(answer)
    assert "✓ mean_dice" in capsys.readouterr().out


def ratio(above, below):
    return lambda p, t: np.mean([above(a, b) / below(a, b) for a, b in zip(p, t, strict=True)])


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (ratio(lambda a, b: (a * b).sum(), lambda a, b: ((a + b) > 0).sum()), "IoU, not Dice"),
        (lambda p, t: 2 * (p * t).sum() / (p.sum() + t.sum()), "pooled Dice"),
        (ratio(lambda a, b: (a * b).sum(), lambda a, b: a.sum() + b.sum()), "factor 2"),
        (lambda p, t: (p == t).mean(), "accuracy"),
        (ratio(lambda a, b: (a * b).sum(), lambda a, b: a.sum()), "precision"),
        (ratio(lambda a, b: (a * b).sum(), lambda a, b: b.sum()), "recall"),
        (lambda p, t: np.zeros(4), "one number"),
    ],
)
def test_wrong_dices_are_named(answer, advice):
    with pytest.raises(WrongAnswer, match=advice):
        checks.mean_dice(answer)


@pytest.mark.parametrize(
    ("empty", "advice"), [(float("nan"), "0 / 0"), (0.0, "both masks are empty: that image counts 1")]
)
def test_forgotten_empty_masks_are_named(empty, advice):
    def answer(predictions, truths):
        size = predictions.sum((1, 2)) + truths.sum((1, 2))
        both = (predictions * truths).sum((1, 2))
        return np.where(size == 0, empty, 2 * both / np.maximum(size, 1)).mean()

    with pytest.raises(WrongAnswer, match=advice):
        checks.mean_dice(answer)


def test_iou_from_dice_accepts_the_formula_and_names_its_inverse():
    checks.iou_from_dice(lambda d: d / (2 - d))
    checks.iou_from_dice(lambda d: torch.tensor(d, dtype=torch.float64) / (2 - d))
    with pytest.raises(WrongAnswer, match="Dice from IoU"):
        checks.iou_from_dice(lambda d: 2 * d / (1 + d))
    with pytest.raises(WrongAnswer, match="not half"):
        checks.iou_from_dice(lambda d: d / 2)


def chooser(pick):
    def answer(probabilities, truths, thresholds):
        scores = [loop_dice((probabilities > t).astype(int), truths) for t in thresholds]
        return pick(scores, thresholds)

    return answer


def test_the_best_threshold_passes_and_its_neighbors_are_named():
    checks.best_threshold(chooser(lambda scores, thresholds: thresholds[np.argmax(scores)]))
    for pick, advice in (
        (lambda scores, thresholds: thresholds[np.argmin(scores)], "worst threshold"),
        (lambda scores, thresholds: max(scores), "the best Dice, not its threshold"),
        (lambda scores, thresholds: int(np.argmax(scores)), "that is the index"),
        (lambda scores, thresholds: 0.5, "is best in one of the tests"),
    ):
        with pytest.raises(WrongAnswer, match=advice):
            checks.best_threshold(chooser(pick))


def test_break_even_accepts_steps_whole_or_not_and_names_what_is_wrong():
    checks.break_even(lambda once, before, after: once / (before - after) if after < before else math.inf)
    checks.break_even(lambda once, before, after: math.ceil(once / (before - after)) if after < before else math.inf)
    for wrong, advice in (
        (lambda once, before, after: once / after, "before - after"),
        (lambda once, before, after: once / (before / after - 1), "seconds of the faster training"),
        (lambda once, before, after: math.floor(once / (before - after)) - 1, "pay off after"),
        (lambda once, before, after: once / abs(before - after or 1e-9), "infinity"),
        (lambda once, before, after: None, "nothing came back"),
    ):
        with pytest.raises(WrongAnswer, match=advice):
            checks.break_even(wrong)
