"""Checks of notebook 09: what a faster part gives, a fair clock, the slow line, what compiling and growing pay."""

import itertools
import math
from collections.abc import Callable

import numpy as np

from course.checks.verdict import Check, Collected, call, expect, name_mistake, numbers

# --- predictions


def _judge_whole_step(arrays: Collected, seed: int) -> None:
    mistakes = {
        "that is the time that is left as a share; ask how many times as fast": 0.64,
        "only the convolutions are twice as fast, not the rest": 2.0,
        "that is what convolutions alone gain, weighed by their share; add up times, then divide": 1.72,
        "that is the share of the convolutions times 2": 1.44,
        "the rest became faster and the convolutions did not": 1 / (0.72 + 0.14),
        "the convolutions cost nothing any more; they still take half of their time": 1 / 0.28,
    }
    otherwise = "add up the new times of the two parts as shares of the old step, and divide 1 by the sum"
    name_mistake("whole_step", arrays["ratio"], 1 / (0.28 + 0.36), mistakes, otherwise, tolerance=0.011)


whole_step = Check(
    "whole_step",
    "what is not touched sets the limit",
    lambda student, seed: {"ratio": numbers(student, "whole_step", ())},
    _judge_whole_step,
)


def _judge_growing_share(arrays: Collected, seed: int) -> None:
    pixels = (5 * 48**2 + 6 * 64**2 + 5 * 96**2 + 3 * 128**2) / (19 * 128**2)
    sides = (5 * 48 + 6 * 64 + 5 * 96 + 3 * 128) / (19 * 128)
    mistakes = {
        "a convolution's cost grows with the pixels, which is the side squared": sides,
        "that is what is saved; the share that is left is asked for": 1 - pixels,
        "that is the share of the epochs at full size; the small ones cost something, too": 3 / 19,
    }
    otherwise = "an epoch at 64 pixels has a quarter of the pixels of one at 128; add up all 19 and divide by 19"
    name_mistake("growing_share", arrays["share"], pixels, mistakes, otherwise, tolerance=0.006)


growing_share = Check(
    "growing_share",
    "pixels are what convolutions pay for",
    lambda student, seed: {"share": numbers(student, "growing_share", ())},
    _judge_growing_share,
)

# --- a fair clock

ROUNDS = 5


class _Machine:
    """A clock and two ways that move it: the first call is slow, one call is disturbed, and the machine slows down."""

    def __init__(self, seed: int):
        draw = np.random.default_rng(seed)
        self.now, self.order = 100.0, ""
        self.base = dict(zip("ab", draw.uniform(0.05, 0.2, 2), strict=True))
        self.wobble = draw.uniform(0.9, 1.1, (2, 40))

    def clock(self) -> float:
        return self.now

    def way(self, name: str) -> Callable[[], None]:
        def run() -> None:
            call, calls = self.order.count(name), len(self.order)
            self.order += name
            seconds = self.base[name] * self.wobble["ab".index(name), min(call, 39)] * (1 + 0.05 * calls)
            self.now += seconds * (8 if call == 0 else 5 if call == 2 else 1)

        return run

    def ways(self) -> dict[str, Callable[[], None]]:
        return {name: self.way(name) for name in "ab"}


def _measured(
    seed: int, warm: bool = True, turns: bool = True, value: Callable = np.median, kept: bool = False
) -> np.ndarray:
    """Seconds of both ways, measured so; `kept`: the round that warms up counts, too."""
    machine = _Machine(seed)
    ways, times = machine.ways(), {"a": [], "b": []}
    calls = list(itertools.product(range(ROUNDS + warm), "ab"))
    for turn, name in calls if turns else sorted(calls, key=lambda one: one[1]):
        began = machine.clock()
        ways[name]()
        if turn >= warm or kept:
            times[name].append(machine.clock() - began)
    return np.array([value(times[name]) for name in "ab"])


def _collect_clock(student: Callable, seed: int) -> Collected:
    what, machine = "median_seconds", _Machine(seed)
    given = call(student, machine.ways(), ROUNDS, machine.clock, what=what)
    expect(isinstance(given, dict), f"{what}: a dictionary of seconds is expected, found {type(given).__name__}")
    expect(given.keys() == {"a", "b"}, f"{what}: one entry for each way is expected, found {sorted(map(str, given))}")
    return {"order": np.array(machine.order), "seconds": numbers([given["a"], given["b"]], what, (2,))}


def _judge_clock(arrays: Collected, seed: int) -> None:
    what, order, seconds = "median_seconds", str(arrays["order"]), arrays["seconds"]
    advice = "let the ways take turns, since a machine grows slower and faster: a, b, a, b, not first all of a"
    cold = "call every way once before the rounds that count, since the first call is slow"
    expect(len(order) != 2 * ROUNDS, f"{what}: {cold}")
    unfair = [_measured(seed, warm, turns=False) for warm in (True, False)]
    turns = "aa" not in order[: 2 * ROUNDS] and not any(np.allclose(seconds, wrong) for wrong in unfair)
    expect(turns, f"{what}: {advice}")
    mistakes = {
        "the round that warms up counts, too; leave it out": _measured(seed, kept=True),
        "that is the mean, which one disturbed call moves; take the median": _measured(seed, value=np.mean),
        "that is the least; a single lucky call is not typical, take the median": _measured(seed, value=np.min),
        "that is the sum of the rounds": _measured(seed, value=np.sum),
    }
    otherwise = f"call every way once to warm up, then {ROUNDS} times in turns, and take each way's median"
    name_mistake(what, seconds, _measured(seed), mistakes, otherwise, tolerance=1e-6)


median_seconds = Check("median_seconds", "warm, in turns, and the median", _collect_clock, _judge_clock)

# --- the slow line


class _Rows:
    """Stands for a large array in a file: knows how many of its rows were read."""

    def __init__(self, values: np.ndarray):
        self.values, self.read = values, 0
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: object) -> np.ndarray:
        found = self.values[np.asarray(index) if isinstance(index, list) else index]
        self.read += found[..., 0, 0, 0].size
        return found

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        self.read += len(self.values)
        return np.array(self.values, dtype=dtype)


ROWS, BATCH = 64, 4


def _images(seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (ROWS, 5, 6, 3), dtype=np.uint8), draw.permutation(ROWS)[:BATCH]


def _collect_rows(student: Callable, seed: int) -> Collected:
    what, (values, indices) = "read_batch", _images(seed)
    rows = _Rows(values)
    given = call(student, rows, indices, what=what)
    return {"batch": numbers(given, what, (BATCH, 3, 5, 6)), "read": np.array(rows.read)}


def _judge_rows(arrays: Collected, seed: int) -> None:
    what, (values, indices) = "read_batch", _images(seed)
    right = values[indices].transpose(0, 3, 1, 2) / 255
    mistakes = {
        "the pixels are 0 to 255; divide by 255": right * 255,
        "the images are not those of the indices": values[:BATCH].transpose(0, 3, 1, 2) / 255,
        "all images, not only those of the batch, decide the scale": right * 255 / values.max(),
    }
    otherwise = "the batch has other values than before the repair"
    name_mistake(what, arrays["batch"], right, mistakes, otherwise, tolerance=1e-5)
    many = f"{arrays['read']} images are read for a batch of {BATCH}; choose the rows first, then convert them"
    expect(arrays["read"] <= BATCH, f"{what}: {many}")


read_batch = Check("read_batch", "it reads only what it returns", _collect_rows, _judge_rows)

# --- break even

CASES = ((36.0, 0.5, 0.38), (1.0, 0.25, 0.1), (10.0, 2.0, 1.2))
NEVER = ((5.0, 0.3, 0.3), (5.0, 0.3, 0.4))


def _collect_break_even(student: Callable, seed: int) -> Collected:
    what = "break_even"
    found = [numbers(call(student, *case, what=what), what, ()) for case in CASES]
    never = []
    for case in NEVER:
        try:
            never.append(numbers(call(student, *case, what=what), what, ()))
        except AssertionError:
            never.append(np.array(np.nan))
    return {"steps": np.array(found), "never": np.array(never)}


def _judge_break_even(arrays: Collected, seed: int) -> None:
    what, (once, before, after) = "break_even", np.array(CASES).T
    right = once / (before - after)
    mistakes = {
        "what a step saves is before - after, not its whole time": once / after,
        "those are seconds of the faster training; return steps": once / (before / after - 1),
        "those are seconds of the slower training; return steps": right * before,
        "upside down: the cost is divided by what each step saves": 1 / right,
    }
    whole = np.where(np.abs(arrays["steps"] - np.ceil(right - 1e-9)) < 1e-6, right, arrays["steps"])
    otherwise = "the seconds that all steps save must add up to the seconds spent once"
    name_mistake(what, whole, right, mistakes, otherwise)
    equal, slower = arrays["never"]
    never = "steps that take as long as before never pay off: return math.inf, and do not divide by 0"
    expect(equal == math.inf, f"{what}: {never}")
    expect(slower == math.inf, f"{what}: steps that are slower never pay off: return math.inf")


break_even = Check("break_even", "the cost divided by what each step saves", _collect_break_even, _judge_break_even)
