"""Check of notebook 07: a split that deals out whole groups."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from course.checks.verdict import Check, Collected, as_array, call, expect

GROUPS = (
    (["A"] * 4 + ["B"] * 4 + ["C"] * 4 + ["D"] * 4 + ["E"] * 4, 0.4),
    (["s1", "s2", "s3", "s4"] * 5, 0.25),  # not in order: cutting the list is wrong
    (["big"] * 12 + ["p"] * 2 + ["q"] * 3 + ["r"] * 1 + ["t"] * 2 + ["u"] * 2, 0.5),
    (["a", "b", "c", "d", "e", "f", "g"], 0.4),  # 2.8 groups: cutting off gives 2, rounding 3
    (["A", "B", "B", "C", "A", "C", "C", "B"], 0.1),
    (["A", "B", "C", "D", "E"] * 2, 0.25),  # 1.25 groups: rounding up gives 2
)


def _collect_split(student: Callable, seed: int) -> Collected:
    what, found = "split_by_group", {}
    for number, (groups, share) in enumerate(GROUPS):
        given = call(student, list(groups), share, what=what)
        expect(given is not None, f"{what}: nothing came back; does the function end in `return train, test`?")
        pair = isinstance(given, tuple | list) and len(given) == 2
        expect(pair, f"{what}: return two lists of indices, train and test")
        for part, values in zip(("train", "test"), given, strict=True):
            found[f"{number} {part}"] = _indices(values, groups, what)
    return found


def _indices(part: Any, groups: Sequence[str], what: str) -> np.ndarray:
    expect(hasattr(part, "__iter__"), f"{what}: a list of indices is expected, found {type(part).__name__}")
    values = as_array(list(part), what)
    advice = "return indices (0, 1, ...), not the groups' names"
    expect(values.size == 0 or values.dtype.kind in "iub", f"{what}: {advice}")
    if values.dtype.kind == "b":  # a mask is accepted too
        expect(len(values) == len(groups), f"{what}: a mask needs a value for each image")
        values = np.flatnonzero(values)
    expect(values.size == 0 or (values.min() >= 0 and values.max() < len(groups)), f"{what}: an index is out of range")
    return values


def _judge_split(arrays: Collected, seed: int) -> None:
    for number, (groups, share) in enumerate(GROUPS):
        train, test = (arrays[f"{number} {part}"].tolist() for part in ("train", "test"))
        _judge_one_split("split_by_group", groups, share, train, test)


def _judge_one_split(what: str, groups: Sequence[str], share: float, train: list[int], test: list[int]) -> None:
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
    expect(not len(of_train) == right != len(of_test), f"{what}: training and test are swapped; return train first")
    cut_off = right > int(share * number) == len(of_test)
    expect(not cut_off, f"{what}: int() cuts off; {share} of {number} groups is to be rounded")
    rounded_up = right < share * number <= len(of_test) < share * number + 1
    expect(not rounded_up, f"{what}: {share} of {number} groups was rounded up; take the nearest number")
    advice = "the share is of the groups, not of the images"
    expect(
        len(of_test) == right,
        f"{what}: the test holds {len(of_test)} of {number} groups for a share of {share}; {advice}",
    )


split_by_group = Check("split_by_group", "no group is in both parts", _collect_split, _judge_split)
