"""What a check does with an answer: a wrong one is refused with a sentence, a right one is told so."""

from collections.abc import Sequence

import pytest

from course.checks.verdict import WrongAnswer


def refuse(check, answer, advice: str, seeds: int | Sequence[int] = 0) -> None:
    """The answer is wrong for each of the seeds, and what the check says matches the advice."""
    for seed in [seeds] if isinstance(seeds, int) else seeds:
        with pytest.raises(WrongAnswer, match=advice):
            check(answer, seed)


def accept(check, answer, capsys, seeds: Sequence[int] = (0, 7)) -> None:
    """The answer is right for each of the seeds, and the check says which exercise is done."""
    for seed in seeds:
        check(answer, seed)
    assert capsys.readouterr().out.startswith(f"✓ {check.exercise}")


def failing(*arguments):
    """An answer that raises an error of its own."""
    raise ZeroDivisionError("division by zero")
