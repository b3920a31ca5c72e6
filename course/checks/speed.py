"""Checks of notebook 09: what a faster part gives, a fair clock, the slow line, what compiling and growing pay."""

import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor
from torch.overrides import TorchFunctionMode

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
    name_mistake("whole_step", arrays["ratio"], 1 / (0.28 + 0.36), mistakes, otherwise, tolerance=0.006)


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
        "those are percent; the share is between 0 and 1": 100 * pixels,
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

CLOCKS = (("ab", 5), ("abc", 4))
"""Names of the ways and rounds: an even number of rounds has two middle ones."""


class _Machine:
    """A clock and ways that move it: the first call is slow, one call is disturbed, and the machine slows down."""

    def __init__(self, names: str, seed: int):
        draw = np.random.default_rng(seed)
        self.now, self.order, self.taken = 100.0, "", {name: [] for name in names}
        self.base = dict(zip(names, draw.uniform(0.05, 0.2, len(names)), strict=True))
        self.wobble = draw.uniform(0.9, 1.1, 200)

    def clock(self) -> float:
        return self.now

    def way(self, name: str) -> Callable[[], None]:
        def run() -> None:
            call, calls = len(self.taken[name]), len(self.order)
            self.order += name
            seconds = self.base[name] * self.wobble[calls % 200] * (1 + 0.05 * calls)
            self.taken[name].append(seconds * (8 if call == 0 else 5 if call == 2 else 1))
            self.now += self.taken[name][-1]

        return run


def _collect_clock(student: Callable, seed: int) -> Collected:
    what, found = "median_seconds", {}
    for names, rounds in CLOCKS:
        machine = _Machine(names, seed)
        given = call(student, {name: machine.way(name) for name in names}, rounds, machine.clock, what=what)
        expect(isinstance(given, dict), f"{what}: a dictionary of seconds is expected, found {type(given).__name__}")
        one_each = f"{what}: one entry for each way is expected, found {sorted(map(str, given))}"
        expect(given.keys() == {*names}, one_each)
        found[f"{names} order"] = np.array(machine.order)
        found[f"{names} seconds"] = numbers([given[name] for name in names], what, (len(names),))
        found |= {f"{names} {name}": np.array(machine.taken[name]) for name in names}
    return found


def _judge_clock(arrays: Collected, seed: int) -> None:
    what = "median_seconds"
    for names, rounds in CLOCKS:
        order, taken = str(arrays[f"{names} order"]), [arrays[f"{names} {name}"] for name in names]
        calls = f"each way is called once to warm up and {rounds} times after it; here it was {len(taken[0])} times"
        expect({len(one) for one in taken} == {rounds + 1}, f"{what}: {calls}")
        blocks = [order[i : i + len(names)] for i in range(0, len(order), len(names))]
        turns = all({*block} == {*names} for block in blocks)
        advice = "let the ways take turns, since a machine grows slower and faster: a, b, a, b, not first all of a"
        expect(turns, f"{what}: {advice}")
        rows = np.array(taken)
        mistakes = {
            "that is the mean, which one disturbed call moves; take the median": rows[:, 1:].mean(1),
            "that is the least; a single lucky call is not typical, take the median": rows[:, 1:].min(1),
            "that is the sum of the rounds": rows[:, 1:].sum(1),
            "of an even number of rounds the median is the mean of the two in the middle": np.sort(rows[:, 1:])[
                :, rounds // 2
            ],
            "of an even number of rounds the median is the mean of both in the middle": np.sort(rows[:, 1:])[
                :, (rounds - 1) // 2
            ],
            "the round that warms up counts, too; leave it out": np.median(rows, 1),
            "those are milliseconds": 1000 * np.median(rows[:, 1:], 1),
        }
        otherwise = "start the clock right before each call, stop it right after, and take each way's median"
        right = np.median(rows[:, 1:], 1)
        name_mistake(what, arrays[f"{names} seconds"], right, mistakes, otherwise, tolerance=1e-6)


median_seconds = Check("median_seconds", "warm, in turns, and the median", _collect_clock, _judge_clock)

# --- the slow line

ROWS, BATCH = 4000, 4


class _Largest(TorchFunctionMode):
    """While it is entered: bytes of the largest tensor that torch makes, views of an array left out."""

    def __init__(self, array: np.ndarray):
        super().__init__()
        self.bytes, self.start, self.size = 0, array.ctypes.data, array.nbytes

    def __torch_function__(self, function, types, args=(), kwargs=None):
        """Called by torch in place of any of its functions."""
        made = function(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and not 0 <= made.data_ptr() - self.start < self.size:
            self.bytes = max(self.bytes, made.numel() * made.element_size())
        return made


def _images(seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (ROWS, 10, 12, 3), dtype=np.uint8), draw.permutation(ROWS)[:BATCH]


def _collect_rows(student: Callable, seed: int) -> Collected:
    what, (values, indices) = "read_batch", _images(seed)

    def read(images: np.ndarray, indices: np.ndarray) -> Any:
        tracemalloc.start()  # NumPy tells it what it takes, torch does not
        try:
            with _Largest(images) as largest:
                given = student(images, indices)
            taken.append(max(largest.bytes, tracemalloc.get_traced_memory()[1]))
        finally:
            tracemalloc.stop()
        return given

    taken: list[int] = []
    expect(callable(student), f"{what}: a function is expected, found {type(student).__name__}")
    given = call(read, values, indices, what=what)
    return {"batch": numbers(given, what, (BATCH, 3, 10, 12)), "images": np.array(taken[0] / values[0].nbytes)}


def _judge_rows(arrays: Collected, seed: int) -> None:
    what, (values, indices) = "read_batch", _images(seed)
    right = values[indices].transpose(0, 3, 1, 2) / 255
    mistakes = {
        "the pixels are 0 to 255; divide by 255": right * 255,
        "the images are not those of the indices": values[:BATCH].transpose(0, 3, 1, 2) / 255,
        "height and width are exchanged": values[indices].transpose(0, 3, 2, 1).reshape(right.shape) / 255,
    }
    otherwise = "the batch has other values than before the repair"
    name_mistake(what, arrays["batch"], right, mistakes, otherwise, tolerance=1e-5)
    many = f"all {ROWS} images are converted or copied for a batch of {BATCH}; choose the rows first"
    expect(arrays["images"] < ROWS / 2, f"{what}: {many}")


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
