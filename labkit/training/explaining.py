"""What PyTorch says when a training cannot go on becomes one sentence: what happened, what to try, what is kept."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from labkit.errors import LabError
from labkit.training.recipe import Recipe


@contextmanager
def explained(recipe: Recipe, describe_kept: Callable[[], str]) -> Iterator[None]:
    """Errors that another recipe or machine can mend become a `LabError`; all others stay what they are."""
    try:
        yield
    except FloatingPointError as error:
        raise LabError(f"{error}; lower it ({describe_kept()})") from None
    except (RuntimeError, ValueError) as error:
        if sentence := _sentence(error, recipe):
            raise LabError(f"{sentence} ({describe_kept()})") from None
        raise


def _sentence(error: Exception, recipe: Recipe) -> str | None:
    if lacking := missing_memory(error):
        return f"out of memory ({lacking} more asked for); {with_less_memory(recipe)}"
    if "Expected more than 1 value per channel" in str(error):  # which has no variance
        return (
            "training.batch_size: a batch (or a process's share of it) is a single image, of which a norm of "
            f"{recipe.model.name} sees one value a channel; take larger batches or images"
        )
    if recipe.training.compile and isinstance(error, torch._dynamo.exc.TorchDynamoException):
        complaint = str(getattr(error, "inner_exception", error)).strip().splitlines()[0].rstrip(".")
        how = "install a C++ compiler (for a GPU Triton, too), or set compile = false"
        return f"training.compile: torch.compile failed ({complaint}); {how}"
    return None


def missing_memory(error: Exception) -> str | None:
    """How much memory was asked for and was not there, from PyTorch's own words; None if it is another error."""
    on_gpu = re.search(r"Tried to allocate ([\d.]+ [KMG]iB)", str(error))
    on_cpu = re.search(r"you tried to allocate (\d+) bytes", str(error))
    return on_gpu[1] if on_gpu else f"{int(on_cpu[1]) / 2**30:.1f} GiB" if on_cpu else None


def with_less_memory(recipe: Recipe) -> str:
    """What to try when the memory does not suffice."""
    table = recipe.training
    if table.batch_size == 1:
        return "try a smaller data.image_size or a narrower network"
    smaller = table.batch_size // 2
    accumulate = table.accumulate * table.batch_size // smaller
    return f"try training.batch_size = {smaller} with accumulate = {accumulate}, which keeps the effective batch"
