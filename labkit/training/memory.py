"""What is said when the memory does not suffice."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from labkit.errors import LabError
from labkit.training.recipe import Recipe


@contextmanager
def explaining_shortage(recipe: Recipe, describe_kept: Callable[[], str]) -> Iterator[None]:
    """A lack of memory becomes a `LabError` of one sentence: what to try, and what is kept."""
    try:
        yield
    except RuntimeError as error:
        if (lacking := missing_memory(error)) is None:
            raise
        raise LabError(f"out of memory ({lacking}); {with_less_memory(recipe)} ({describe_kept()})") from None


def with_less_memory(recipe: Recipe) -> str:
    """What to try when the memory does not suffice."""
    table = recipe.training
    if table.batch_size == 1:
        return "try a smaller data.image_size or a narrower network"
    smaller = table.batch_size // 2
    return (
        f"try training.batch_size = {smaller} with training.accumulate = "
        f"{table.accumulate * table.batch_size // smaller}, which keeps the effective batch"
    )


def missing_memory(error: RuntimeError) -> str | None:
    """How much memory was asked for and was not there, from PyTorch's own words; None if it is another error."""
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError):
        asked = re.search(r"Tried to allocate ([\d.]+ [KMG]iB)", text)
        free = re.search(r"of which ([\d.]+ [KMG]iB) is free", text)
        return f"{asked[1] if asked else 'more'} more asked for" + (f", {free[1]} free" if free else "")
    if asked := re.search(r"you tried to allocate (\d+) bytes", text):
        return f"{int(asked[1]) / 2**30:.1f} GiB more asked for"
    return None
