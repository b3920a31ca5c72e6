"""The checks of notebook 07 on baselines and splits: right answers pass however written, usual wrong ones are named."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from course import checks
from labkit.metrics import (
    confusion_matrix,
    dice_score,
    iou_score,
    mean_dice,
    mean_iou,
    overlap_counts,
    per_image,
    pooled,
)
from tests.course.refusals import refuse

# --- a constant prediction


def constant(counts, index):
    occur = {*np.flatnonzero(np.asarray(counts)).tolist(), index}
    return float(counts[index] / counts.sum() / len(occur))


def constant_by_table(counts, index):
    table = torch.zeros(len(counts), len(counts), dtype=torch.long)
    table[:, index] = counts
    return mean_iou(table)


@pytest.mark.parametrize("answer", [constant, constant_by_table, lambda *a: torch.tensor(constant(*a))])
def test_right_baselines_pass(answer):
    checks.constant_iou(answer)


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda n, i: n[i] / n.sum(), "this one class"),
        (lambda n, i: 2 * n[i] / (n.sum() + n[i]) / (n > 0).sum(), "mean Dice"),
        (lambda n, i: n[i] / n.sum() / len(n), "do not occur"),
        (lambda n, i: n[i] / n.sum() / max(1, (n > 0).sum() - 1), "background counts"),
        (lambda n, i: 0.5, "confusion"),
    ],
)
def test_wrong_baselines_are_named(answer, advice):
    refuse(checks.constant_iou, answer, advice)


# --- report 004's Dice


def mean_of_classes(prediction, truth, classes, empty=None, first=1):
    scores = []
    for c in range(first, classes):
        p, t = prediction == c, truth == c
        if p.sum() + t.sum() > 0:
            scores.append(2 * (p & t).sum() / (p.sum() + t.sum()))
        elif empty is not None:
            scores.append(empty)
    return sum(scores) / len(scores)


def from_table(prediction, truth, classes):
    c = confusion_matrix(prediction, truth, classes).double()
    return np.nanmean((2 * c.diagonal() / (c.sum(0) + c.sum(1)))[1:].numpy())


def one_hot(mask, classes, first=0):
    return F.one_hot(mask, classes).permute(0, 3, 1, 2)[:, first:].flatten(0, 1).double()


def printed(prediction, truth, classes, first=0):
    p, t = one_hot(prediction, classes, first), one_hot(truth, classes, first)
    return 2 * (p * t).sum() / (p.sum() + t.sum())


def smoothed_classes(prediction, truth, classes):
    p, t = (F.one_hot(mask, classes).flatten(0, 2)[:, 1:].double() for mask in (prediction, truth))
    return (2 * (p * t).sum(0) + 1) / (p.sum(0) + t.sum(0) + 1)


def all_masks(prediction, truth, classes, first=0):
    p, t = one_hot(prediction, classes, first), one_hot(truth, classes, first)
    both, size = (p * t).sum((1, 2)), p.sum((1, 2)) + t.sum((1, 2))
    return torch.where(size > 0, 2 * both / size.clamp(min=1), 1.0).mean()


@pytest.mark.parametrize("answer", [mean_of_classes, from_table, lambda *a: pooled(dice_score, overlap_counts(*a))])
def test_right_repairs_of_the_dice_pass(answer):
    checks.repaired_dice(answer)
    checks.repaired_dice(answer, seed=5)


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (printed, "still pixel accuracy"),
        (lambda *a: printed(*a, first=1), "summed classes"),
        (lambda p, t, c: mean_dice(confusion_matrix(p, t, c)), "background is still in"),
        (lambda *a: mean_of_classes(*a, empty=1.0), "counted as 1"),
        (lambda *a: mean_of_classes(*a, empty=0.0), "counted as 0"),
        (all_masks, "all B x C masks"),
        (lambda *a: all_masks(*a, first=1), "without the background, in which"),
        (lambda *a: per_image(dice_score, overlap_counts(*a)).mean(), "by itself"),
        (lambda *a: pooled(iou_score, overlap_counts(*a)), "IoU"),
        (lambda *a: smoothed_classes(*a)[[0, 1, 3, 4]].mean(), "a score has none$"),
        (lambda p, t, c: mean_of_classes(torch.where(p == 4, 0, p), t, c), "a class that is only in the truth"),
        (lambda p, t, c: mean_of_classes(p, torch.where(t == 5, 0, t), c), "a class that is only in the truth"),
        (lambda p, t, c: mean_of_classes(p, t, 3), "classes that are only"),
        (lambda *a: smoothed_classes(*a).mean(), "does not occur counts 1 by it"),
        (lambda *a: 0.5, "three counts"),
    ],
)
def test_wrong_repairs_of_the_dice_are_named(answer, advice):
    refuse(checks.repaired_dice, answer, advice)


# --- region and class


def two(c):
    found, same = c[1:, 1:].sum(), c[1, 1] + c[2, 2]
    return 2 * found / (c[1:].sum() + c[:, 1:].sum()), same / found


def two_by_merging(c):
    merged = np.array([[c[0, 0], c[0, 1:].sum()], [c[1:, 0].sum(), c[1:, 1:].sum()]], dtype=float)
    return np.array([2 * merged[1, 1] / (merged[1].sum() + merged[:, 1].sum()), np.trace(c[1:, 1:]) / merged[1, 1]])


@pytest.mark.parametrize("answer", [two, lambda c: two_by_merging(c.numpy()), lambda c: torch.stack(two(c))])
def test_right_regions_pass(answer):
    checks.found_and_named(answer)


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda c: two(c)[::-1], "exchanged"),
        (
            lambda c: (np.mean([2 * c[i, i] / (c[i].sum() + c[:, i].sum()) for i in (1, 2)]), two(c)[1]),
            "region: .* mean Dice",
        ),
        (lambda c: (c[1:, 1:].sum() / (c.sum() - c[0, 0]), two(c)[1]), "region: that is IoU"),
        (lambda c: (c[1:, 1:].sum() / c[1:].sum(), two(c)[1]), "recall"),
        (lambda c: (2 * (c[1, 1] + c[2, 2]) / (c[1:].sum() + c[:, 1:].sum()), two(c)[1]), "still found"),
        (lambda c: (two(c)[0], (c[1, 1] + c[2, 2]) / c[1:].sum()), "missed pixels"),
        (lambda c: (two(c)[0], c.trace() / c.sum()), "class: that is pixel accuracy"),
        (lambda c: (two(c)[0], (c[1, 1] + c[2, 2]) / c[:, 1:].sum()), "background called pet"),
        (lambda c: (two(c)[0], 0.0), "another share"),
        (lambda c: two(c)[0], "two numbers"),
    ],
)
def test_wrong_regions_are_named(answer, advice):
    refuse(checks.found_and_named, answer, advice)


# --- whole groups


def deal(groups, test_share):
    names = sorted(set(groups))
    tests = set(names[: max(1, round(test_share * len(names)))])
    return [i for i, g in enumerate(groups) if g not in tests], [i for i, g in enumerate(groups) if g in tests]


def deal_at_random(groups, test_share):
    names = np.random.default_rng(3).permutation(sorted(set(groups)))
    held = np.isin(groups, names[: max(1, round(test_share * len(names)))])
    return np.flatnonzero(~held), np.flatnonzero(held)


def deal_masks(groups, test_share):
    held = torch.zeros(len(groups), dtype=torch.bool)
    held[deal(groups, test_share)[1]] = True
    return ~held, held


@pytest.mark.parametrize("answer", [deal, deal_at_random, deal_masks])
def test_right_splits_pass(answer, capsys):
    checks.split_by_group(answer)
    assert "✓ split_by_group" in capsys.readouterr().out


def inside(groups, test_share):
    train, test = [], []
    for name in sorted(set(groups)):
        members = [i for i, g in enumerate(groups) if g == name]
        cut = max(1, round(test_share * len(members)))
        train, test = train + members[cut:], test + members[:cut]
    return train, test


def cut_list(groups, test_share):
    cut = len(groups) - max(1, round(test_share * len(groups)))
    return list(range(cut)), list(range(cut, len(groups)))


def by_images(groups, test_share):
    """Groups are added until the test has its share of the images."""
    tests, count = [], 0
    for name in sorted(set(groups)):
        if not tests or count < test_share * len(groups):
            tests.append(name)
            count += groups.count(name)
    return [i for i, g in enumerate(groups) if g not in tests], [i for i, g in enumerate(groups) if g in tests]


def cut_off(groups, test_share, whole=int):
    names = sorted(set(groups))
    tests = names[: max(1, whole(test_share * len(names)))]
    return [i for i, g in enumerate(groups) if g not in tests], [i for i, g in enumerate(groups) if g in tests]


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (inside, "split inside the groups"),
        (cut_list, "in both parts"),
        (lambda g, s: deal(g, s)[::-1], "swapped"),
        (by_images, "the share is of the groups"),
        (cut_off, "is to be rounded"),
        (lambda g, s: cut_off(g, s, math.ceil), "was rounded up"),
        (lambda g, s: (range(len(g)), []), "the test is empty"),
        (lambda g, s: (range(len(g)), deal(g, s)[1]), "in training and test"),
        (lambda g, s: (deal(g, s)[0][1:], deal(g, s)[1]), "1 of the 20 images are in neither part"),
        (lambda g, s: (deal(g, s)[0], deal(g, s)[1] * 2), "there twice"),
        (lambda g, s: [[g[i] for i in part] for part in deal(g, s)], "not the groups' names"),
        (lambda g, s: ([i + 1 for i in deal(g, s)[0]], []), "out of range"),
        (lambda g, s: ([True, False], [False, True]), "a value for each"),
        (lambda g, s: deal(g, s)[0], "two lists"),
        (lambda g, s: None, "return train, test"),
    ],
)
def test_wrong_splits_are_named(answer, advice):
    refuse(checks.split_by_group, answer, advice)


# --- drawn anew


def simulated_exactly(share, empty, redraws):
    """The state after each drawing: how often the crop is empty still."""
    still = empty
    for _ in range(redraws):
        still *= empty
    return (1 - still) * share / (1 - empty)


def summed(share, empty, redraws):
    return share * sum(empty**i for i in range(redraws + 1))


@pytest.mark.parametrize("answer", [simulated_exactly, summed, lambda *a: torch.tensor(summed(*a))])
def test_right_shares_pass(answer):
    checks.share_after_redraw(answer)


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda s, e, n: s / (1 - e), "without end"),
        (lambda s, e, n: s * (1 - e**n) / (1 - e), "first drawing"),
        (lambda s, e, n: s * (1 - e ** (n + 1)), "hold more"),
        (lambda s, e, n: s, "without drawing anew"),
        (lambda s, e, n: e ** (n + 1), "chance"),
        (lambda s, e, n: 0.5, "how much"),
    ],
)
def test_wrong_shares_are_named(answer, advice):
    refuse(checks.share_after_redraw, answer, advice)
