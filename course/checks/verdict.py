"""Shared by all checks: a right answer prints one line; a wrong one raises an error that says what is wrong."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class WrongAnswer(AssertionError):
    """An answer is not right yet; the message says what was found and what to check."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the sentence alone, because the lines of a traceback can hold the right answer."""
        return [f"{type(self).__name__}: {self}"]


def expect(condition: bool, advice: str) -> None:
    """Go on if the condition holds, else say what is wrong.

    Raises:
        WrongAnswer: with the advice.
    """
    if not bool(condition):
        raise WrongAnswer(advice)


def passed(exercise: str, remark: str = "") -> None:
    """Say that an exercise is solved."""
    print(f"✓ {exercise}" + (f" - {remark}" if remark else ""))


Collected = dict[str, np.ndarray]
"""What a student's object gave for the drawn inputs, as plain arrays."""


@dataclass(frozen=True)
class Check:
    """The check of an exercise in two halves, so that whoever grades can judge in another process."""

    exercise: str
    remark: str
    """What a right answer is told."""
    collect: Callable[[Any, int], Collected]
    """Calls the student's object on inputs drawn from the seed."""
    judge: Callable[[Collected, int], None]
    """Raises WrongAnswer."""

    def __call__(self, student: Any, seed: int = 0) -> None:
        """Both halves: one line for a right answer.

        Raises:
            WrongAnswer: what is wrong, in a sentence.
        """
        self.judge(self.collect(student, seed), seed)
        passed(self.exercise, self.remark)


def number_check(
    name: str, remark: str, right: float | tuple, mistakes: Mapping[str, Any], otherwise: str, tolerance: float
) -> Check:
    """The check of numbers that are written down before they are computed."""
    return Check(
        name,
        remark,
        lambda student, seed: {"values": numbers(student, name, np.shape(right))},
        lambda arrays, seed: name_mistake(name, arrays["values"], right, mistakes, otherwise, tolerance),
    )


SMOOTHED = "a 1 is added above and below, as in a Dice loss; a score has none"


def name_mistake(
    what: str, found: np.ndarray, right: Any, mistakes: Mapping[str, Any], otherwise: str, tolerance: float = 1e-4
) -> None:
    """Go on if `found` is right, else say which of the usual mistakes gives it, or `otherwise`.

    Raises:
        WrongAnswer: with that sentence.
    """
    if _close(found, right, tolerance):
        return
    expect(not np.isnan(found).any(), f"{what}: not a number came out; was 0 divided by 0?")
    for advice, wrong in mistakes.items():
        expect(not _close(found, wrong, tolerance), f"{what}: {advice}")
    raise WrongAnswer(f"{what}: {otherwise}")


def _close(found: np.ndarray, other: Any, tolerance: float) -> bool:
    other = np.asarray(other)
    return found.shape == other.shape and bool(np.allclose(found, other, rtol=0, atol=tolerance))


def numbers(answer: Any, what: str, shape: tuple[int, ...]) -> np.ndarray:
    """An answer as `float64` of that shape; a WrongAnswer where it is something else."""
    found = as_array(answer, what)
    expect(found.dtype.kind in "biuf", f"{what}: numbers are expected, found {type(answer).__name__}")
    wanted = {(): "one number is", (2,): "two numbers are"}.get(shape, f"numbers of shape {list(shape)} are")
    found = found.reshape(()) if shape == () and found.size == 1 else found
    expect(found.shape == shape, f"{what}: {wanted} expected, found shape {list(found.shape)}")
    return found.astype(np.float64)


class Forbidden(TorchFunctionMode):
    """While it is entered, a call of one of torch's functions that an exercise asks to write is a wrong answer."""

    def __init__(self, what: str, *functions: Callable):
        super().__init__()
        self.what, self.functions = what, functions

    def __torch_function__(self, function, types, args=(), kwargs=None):
        """Called by torch in place of any of its functions."""
        own = f"{self.what}: that calls {getattr(function, '__name__', function)}, which this exercise is to write"
        expect(function not in self.functions, own)
        return function(*args, **(kwargs or {}))


def as_array(answer: Any, what: str) -> np.ndarray:
    """An answer as a NumPy array, whether it came as tensor, array, list or number."""
    expect(answer is not None, f"{what}: nothing came back; does the function end in `return ...`?")
    expect(answer is not ..., f"{what}: replace the `...` by your answer")
    if isinstance(answer, Tensor):
        half = answer.dtype in (torch.bfloat16, torch.float16)
        answer = (answer.detach().float() if half else answer.detach()).cpu().numpy()
    if isinstance(answer, list | tuple):
        answer = [part.detach().cpu().numpy() if isinstance(part, Tensor) else part for part in answer]
    try:
        return np.asarray(answer)
    except ValueError:  # rows of unequal length
        raise WrongAnswer(f"{what}: an array of numbers is expected, found a ragged {type(answer).__name__}") from None


def call(function: Callable[..., Any], *arguments: Any, what: str) -> Any:
    """Call a student's function; an exception in it becomes a sentence.

    Raises:
        WrongAnswer: it is not a function, or it failed.
    """
    expect(callable(function), f"{what}: a function is expected, found {type(function).__name__}")
    before = [(part, _copied(part)) for part in arguments if isinstance(part, Tensor | np.ndarray | list)]
    try:
        given = function(*arguments)
    except NotImplementedError:
        raise WrongAnswer(f"{what}: not written yet") from None
    except WrongAnswer:  # a check watches what the function does
        raise
    except Exception as error:
        raise WrongAnswer(f"{what}: the function failed with {type(error).__name__}: {error}") from error
    stayed = all(_equal(now, then) for now, then in before)
    expect(stayed, f"{what}: what came in was changed in place, and belongs to the caller; work on a copy")
    return given


def _copied(part: Any) -> Any:
    if isinstance(part, list):
        return [_copied(one) for one in part]
    return part.detach().clone() if isinstance(part, Tensor) else part.copy() if isinstance(part, np.ndarray) else part


def _equal(now: Any, then: Any) -> bool:
    if isinstance(then, list):
        return len(now) == len(then) and all(map(_equal, now, then))
    if isinstance(then, Tensor):
        return now.shape == then.shape and bool(torch.equal(torch.nan_to_num(now.detach()), torch.nan_to_num(then)))
    return np.array_equal(now, then) if isinstance(then, np.ndarray) else now is then or now == then
