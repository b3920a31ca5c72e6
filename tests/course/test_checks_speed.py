"""The checks of notebook 09 accept right answers however written and name the usual wrong ones."""

import math
import statistics

import numpy as np
import pytest
import torch

from course import checks
from tests.course.refusals import refuse


def test_predictions():
    for right in (1.56, 1 / 0.64, torch.tensor(1.5625)):
        checks.whole_step(right)
    for wrong, advice in ((0.64, "how many times"), (2, "not the rest"), (1.72, "add up times"), (1.44, "times 2")):
        refuse(checks.whole_step, wrong, advice)
    refuse(checks.whole_step, 1.163, "the convolutions did not")
    refuse(checks.whole_step, 3.57, "still take half")
    for right in (0.422, 0.42, 131328 / 311296):
        checks.growing_share(right)
    refuse(checks.growing_share, 0.612, "side squared")
    refuse(checks.growing_share, 0.578, "what is saved")
    refuse(checks.growing_share, 0.158, "at full size")


# --- a fair clock


def measure(ways, rounds, clock, warm=True, turns=True, value=statistics.median, kept=False):
    times = {name: [] for name in ways}
    calls = [(turn, name) for turn in range(rounds + warm) for name in ways]
    for turn, name in calls if turns else sorted(calls, key=lambda one: one[1]):
        began = clock()
        ways[name]()
        if turn >= warm or kept:
            times[name].append(clock() - began)
    return {name: value(seconds) for name, seconds in times.items()}


def with_arrays(ways, rounds, clock):
    for way in ways.values():
        way()
    table = np.empty((rounds, len(ways)))
    for row in table:
        for column, way in enumerate(ways.values()):
            began = clock()
            way()
            row[column] = clock() - began
    return dict(zip(ways, np.median(table, axis=0), strict=True))


def back_and_forth(ways, rounds, clock):
    """Each round begins with the way that the last one ended with."""
    times = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name in list(ways)[:: (-1) ** turn]:
            began = clock()
            ways[name]()
            times[name].append(clock() - began)
    return {name: np.quantile(seconds[1:], 0.5) for name, seconds in times.items()}


@pytest.mark.parametrize("answer", [measure, with_arrays, back_and_forth])
def test_right_clocks_pass(answer):
    for seed in (0, 5, 6):
        checks.median_seconds(answer, seed)


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"warm": False}, "once to warm up and 5 times after it; here it was 5"),
        ({"kept": True}, "leave it out"),
        ({"turns": False}, "take turns"),
        ({"turns": False, "warm": False}, "once to warm up"),
        ({"value": statistics.median_high}, "two in the middle"),
        ({"value": statistics.median_low}, "both in the middle"),
        ({"value": lambda v: 1000 * statistics.median(v)}, "milliseconds"),
        ({"value": max}, "right before each call"),
        ({"value": statistics.fmean}, "that is the mean"),
        ({"value": min}, "lucky"),
        ({"value": sum}, "sum of the rounds"),
    ],
)
def test_wrong_clocks_are_named(changes, advice):
    refuse(checks.median_seconds, lambda *parts: measure(*parts, **changes), advice, seeds=2)


def test_a_list_of_seconds_is_not_a_dictionary():
    refuse(checks.median_seconds, lambda *parts: [*measure(*parts).values()], "dictionary")


# --- the slow line


@pytest.mark.parametrize(
    "answer",
    [
        lambda images, rows: torch.from_numpy(images[rows]).permute(0, 3, 1, 2).float() / 255,
        lambda images, rows: np.stack([images[int(i)] for i in rows]).transpose(0, 3, 1, 2) / 255,
        lambda images, rows: torch.stack([torch.tensor(images[i]) for i in rows]).movedim(-1, 1).div(255),
        lambda images, rows: torch.from_numpy(images)[torch.from_numpy(rows)].permute(0, 3, 1, 2) / 255,
        lambda images, rows: torch.as_tensor(images).index_select(0, torch.tensor(rows)).movedim(-1, 1) / 255,
        lambda images, rows: np.take(np.asarray(images), rows, axis=0).transpose(0, 3, 1, 2) / 255,
    ],
)
def test_reading_the_rows_first_passes(answer):
    for seed in (0, 3):
        checks.read_batch(answer, seed)


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (
            lambda images, rows: (torch.tensor(np.asarray(images)).float() / 255)[rows].permute(0, 3, 1, 2),
            "all 4000 images are converted",
        ),
        (lambda images, rows: (images / 255)[rows].transpose(0, 3, 1, 2), "all 4000"),
        (lambda images, rows: torch.tensor(images)[rows].permute(0, 3, 1, 2) / 255, "all 4000"),
        (lambda images, rows: (torch.from_numpy(images).float() / 255)[rows].permute(0, 3, 1, 2), "all 4000"),
        (lambda images, rows: np.array(images)[rows].transpose(0, 3, 1, 2) / 255, "all 4000"),
        (lambda images, rows: images[rows].reshape(4, 3, 10, 12) / 255, "other values"),
        (lambda images, rows: images[rows].transpose(0, 3, 1, 2), "divide by 255"),
        (lambda images, rows: images[: len(rows)].transpose(0, 3, 1, 2) / 255, "not those of the indices"),
        (lambda images, rows: images[rows] / 255, "shape"),
    ],
)
def test_slow_and_wrong_readers_are_named(answer, advice):
    refuse(checks.read_batch, answer, advice, seeds=4)


# --- break even


def test_break_even_accepts_steps_whole_or_not_and_names_what_is_wrong():
    for right in (
        lambda once, before, after: once / (before - after) if after < before else math.inf,
        lambda once, before, after: math.ceil(once / (before - after)) if after < before else math.inf,
        lambda once, before, after: float("inf") if before <= after else once / before / (1 - after / before),
    ):
        checks.break_even(right)
    for wrong, advice in (
        (lambda once, before, after: once / after if after < before else math.inf, "before - after"),
        (lambda once, before, after: once / (before / after - 1), "faster training"),
        (lambda once, before, after: (before - after) / once, "upside down"),
        (lambda once, before, after: math.floor(once / (before - after)) - 1, "add up"),
        (lambda once, before, after: once / (before - after), "do not divide by 0"),
        (lambda once, before, after: once / abs(before - after) if after != before else math.inf, "slower"),
        (lambda once, before, after: None, "nothing came back"),
    ):
        refuse(checks.break_even, wrong, advice)
