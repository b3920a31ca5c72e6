"""Checks of notebook 07: confusion, mean IoU, whole groups."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from course.checks.verdict import as_array, call, expect, passed
from labkit import metrics


def mean_iou(answer: Callable[[np.ndarray], float]) -> None:
    """`answer(confusion)`: mean IoU of the classes that occur, of `int [C, C]`, rows true, columns predicted."""
    what = "mean_iou"
    tables = [
        [[50, 3, 7], [4, 20, 1], [10, 2, 6]],
        [[900, 30], [25, 45]],
        [[70, 0, 5, 4], [0, 0, 0, 0], [6, 0, 12, 1], [2, 0, 3, 8]],  # the second class does not occur
        [[40, 2, 1], [3, 9, 4], [0, 0, 0]],  # the third is in no image, but was predicted
    ]
    for table in tables:
        confusion = np.array(table, dtype=np.int64)
        right = metrics.mean_iou(torch.from_numpy(confusion))
        given = as_array(call(answer, confusion.copy(), what=what), what)
        expect(given.size == 1, f"{what}: one number is asked for, the mean; found shape {given.shape}")
        value = float(given.reshape(()))
        expect(
            not math.isnan(value),
            f"{what}: not a number came out; a class in neither truth nor prediction is 0 / 0 and must be left out",
        )
        for advice, number in _wrong_means(confusion).items():
            differs = not math.isclose(number, right, abs_tol=1e-6)
            expect(not (differs and math.isclose(value, number, abs_tol=1e-6)), f"{what}: {advice}")
        expect(math.isclose(value, right, abs_tol=1e-5), f"{what}: {right:.4f} is right for {table}, found {value:.4f}")
    passed(what, "background included, classes that do not occur left out")


def _wrong_means(confusion: np.ndarray) -> dict[str, float]:
    both, true, predicted = (part.astype(float) for part in (confusion.diagonal(), confusion.sum(1), confusion.sum(0)))
    union = true + predicted - both
    occurs = union > 0

    def mean(top: np.ndarray, below: np.ndarray, where: np.ndarray = occurs) -> float:
        return float(np.mean(top[where] / np.maximum(below[where], 1)))

    ious = np.where(occurs, both / np.maximum(union, 1), 0)
    foreground = occurs & (np.arange(len(both)) > 0)
    return {
        "that is mean Dice; IoU divides by the union": mean(2 * both, true + predicted),
        "the intersection is in both sums; subtract it once for the union": mean(both, true + predicted),
        "you divided by the row alone: that is mean recall; false positives belong in the denominator too": mean(
            both, true
        ),
        "you divided by the column alone: that is mean precision; missed pixels belong in the denominator too": mean(
            both, predicted
        ),
        "that is pixel accuracy, which weights classes by their pixels": float(both.sum() / confusion.sum()),
        "all classes were pooled into one IoU; take each class's and then the mean": float(both.sum() / union.sum()),
        "a class that does not occur counted as 0; leave it out of the mean": float(ious.mean()),
        "a class that does not occur counted as 1; leave it out of the mean": float(np.where(occurs, ious, 1).mean()),
        "a class that is in no image but was predicted has the IoU 0": mean(both, union, true > 0),
        "the background is left out; in mIoU it counts like the other classes": mean(both, union, foreground),
        "the classes were weighted by their pixels; in the mean each counts the same": float(
            (ious * true).sum() / true.sum()
        ),
    }


def split_by_group(answer: Callable[[Sequence[str], float], tuple[Sequence[int], Sequence[int]]]) -> None:
    """`answer(groups, test_share)`: indices for training and test; the test gets whole groups, any of them."""
    what = "split_by_group"
    cases = [
        (["A"] * 4 + ["B"] * 4 + ["C"] * 4 + ["D"] * 4 + ["E"] * 4, 0.4),
        (["s1", "s2", "s3", "s4"] * 5, 0.25),  # not in order: cutting the list is wrong
        (["big"] * 12 + ["p"] * 2 + ["q"] * 3 + ["r"] * 1 + ["t"] * 2 + ["u"] * 2, 0.5),
        (["A", "B", "B", "C", "A", "C", "C", "B"], 0.1),
    ]
    for groups, share in cases:
        given = call(answer, list(groups), share, what=what)
        expect(given is not None, f"{what}: nothing came back; does the function end in `return train, test`?")
        pair = isinstance(given, tuple | list) and len(given) == 2
        expect(pair, f"{what}: return two lists of indices, train and test")
        train, test = (_indices(part, groups, what) for part in given)
        _judge_split(what, groups, share, train, test)
    passed(what, "no group is in both parts")


def _indices(part: Any, groups: Sequence[str], what: str) -> list[int]:
    values = as_array(list(part), what)
    advice = "return indices (0, 1, ...), not the groups' names"
    expect(values.size == 0 or values.dtype.kind in "iub", f"{what}: {advice}")
    if values.dtype.kind == "b":  # a mask is accepted too
        expect(len(values) == len(groups), f"{what}: a mask needs a value for each image")
        values = np.flatnonzero(values)
    expect(values.size == 0 or (values.min() >= 0 and values.max() < len(groups)), f"{what}: an index is out of range")
    return values.tolist()


def _judge_split(what: str, groups: Sequence[str], share: float, train: list[int], test: list[int]) -> None:
    expect(not set(train) & set(test), f"{what}: an image is in training and test")
    expect(len(set(train)) == len(train) and len(set(test)) == len(test), f"{what}: an image is there twice")
    lost = len(groups) - len(train) - len(test)
    expect(lost == 0, f"{what}: {lost} of the {len(groups)} images are in neither part")
    of_train, of_test = ({groups[i] for i in part} for part in (train, test))
    both = sorted(of_train & of_test)
    if both:
        inside = len(both) > 1 and set(both) == set(groups)
        name = "every group" if inside else f"group {both[0]!r}"
        kind = ": that is a split inside the groups" if inside else ""
        expect(False, f"{what}: {name} is in both parts{kind}; assign whole groups")
    expect(test != [], f"{what}: the test is empty for a share of {share}; it gets at least one group")
    number = len(set(groups))
    right = max(1, round(share * number))
    turned = len(of_train) == right != len(of_test)
    expect(not turned, f"{what}: training and test are swapped; return train first")
    expect(
        len(of_test) == right,
        f"{what}: {share} of {number} groups are {right} for the test, found {len(of_test)}; the share is of the "
        "groups, not of the images",
    )
