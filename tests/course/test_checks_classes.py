"""The checks of notebook 07 accept right answers however written and name the usual wrong ones."""

import numpy as np
import pytest
import torch

from course import checks
from course.checks.verdict import WrongAnswer
from labkit.metrics import class_counts, iou_score


def parts(confusion):
    confusion = np.asarray(confusion, dtype=float)
    return np.diag(confusion), confusion.sum(1), confusion.sum(0)


def looped(confusion):
    scores = []
    for c in range(len(confusion)):
        union = sum(confusion[c]) + sum(row[c] for row in confusion) - confusion[c][c]
        if union > 0:
            scores.append(confusion[c][c] / union)
    return sum(scores) / len(scores)


def at_once(confusion):
    both, true, predicted = parts(confusion)
    with np.errstate(invalid="ignore"):
        return np.nanmean(both / (true + predicted - both))


def of_tensors(confusion):
    counts = class_counts(torch.as_tensor(confusion))
    return iou_score(counts)[counts[:, 1:].sum(1) > 0].mean()


@pytest.mark.parametrize("answer", [looped, at_once, of_tensors])
def test_right_means_pass(answer, capsys):
    checks.mean_iou(answer)
    assert "✓ mean_iou" in capsys.readouterr().out


def mean(top, below):
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nanmean(top / below)


def unguarded(confusion):
    both, true, predicted = parts(confusion)
    with np.errstate(invalid="ignore"):
        return np.mean(both / (true + predicted - both))


def with_absent(value):
    def answer(confusion):
        both, true, predicted = parts(confusion)
        union = true + predicted - both
        return np.mean([b / u if u else value for b, u in zip(both, union, strict=True)])

    return answer


def of_true_classes(confusion):
    both, true, predicted = parts(confusion)
    kept = true > 0
    return np.mean(both[kept] / (true + predicted - both)[kept])


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda c: mean(2 * parts(c)[0], parts(c)[1] + parts(c)[2]), "mean Dice"),
        (lambda c: mean(parts(c)[0], parts(c)[1] + parts(c)[2]), "in both sums"),
        (lambda c: mean(*parts(c)[:2]), "mean recall"),
        (lambda c: mean(*parts(c)[::2]), "mean precision"),
        (lambda c: np.trace(c) / c.sum(), "pixel accuracy"),
        (lambda c: np.trace(c) / (2 * c.sum() - np.trace(c)), "pooled into one"),
        (lambda c: at_once(c[1:, 1:]), "other than|is right for"),
        (
            lambda c: np.mean(
                [*(b / (t + p - b) for b, t, p in zip(*(a[1:] for a in parts(c)), strict=True) if t + p)]
            ),
            "background is left out",
        ),
        (unguarded, "0 / 0"),
        (with_absent(0), "counted as 0"),
        (with_absent(1), "counted as 1"),
        (of_true_classes, "was predicted"),
        (lambda c: parts(c)[0], "one number"),
        (lambda c: ..., "replace the"),
    ],
)
def test_wrong_means_are_named(answer, advice):
    with pytest.raises(WrongAnswer, match=advice):
        checks.mean_iou(answer)


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


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (inside, "split inside the groups"),
        (cut_list, "in both parts"),
        (lambda g, s: deal(g, s)[::-1], "swapped"),
        (by_images, "the share is of the groups"),
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
    with pytest.raises(WrongAnswer, match=advice):
        checks.split_by_group(answer)
