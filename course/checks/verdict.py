"""Shared by all checks: a right answer prints one line; a wrong one raises an error that says what is wrong."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch


class WrongAnswer(AssertionError):
    """An answer is not right yet; the message says what was found and what to check."""


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


def as_array(answer: Any, what: str) -> np.ndarray:
    """An answer as a NumPy array, whether it came as tensor, array, list or number."""
    expect(answer is not None, f"{what}: nothing came back; does the function end in `return ...`?")
    expect(answer is not ..., f"{what}: replace the `...` by your answer")
    if isinstance(answer, torch.Tensor):
        answer = answer.detach().cpu().float().numpy() if answer.is_floating_point() else answer.detach().cpu().numpy()
    return np.asarray(answer)


def call(function: Callable[..., Any], *arguments: Any, what: str) -> Any:
    """Call a student's function; an exception in it becomes a sentence.

    Raises:
        WrongAnswer: it is not a function, or it failed.
    """
    expect(callable(function), f"{what}: a function is expected, found {type(function).__name__}")
    try:
        return function(*arguments)
    except NotImplementedError:
        raise WrongAnswer(f"{what}: not written yet") from None
    except Exception as error:
        raise WrongAnswer(f"{what}: the function failed with {type(error).__name__}: {error}") from error
