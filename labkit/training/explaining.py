"""What PyTorch says when a training cannot go on becomes one sentence: what happened, what to try, what is kept."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from labkit.errors import LabError
from labkit.training.recipe import Recipe


@contextmanager
def explained(recipe: Recipe, describe_kept: Callable[[], str]) -> Iterator[None]:
    """Errors that another recipe or machine would avoid become a `LabError`; all others stay what they are."""
    try:
        yield
    except FloatingPointError as error:
        raise LabError(f"{error}; lower it ({describe_kept()})") from None
    except (RuntimeError, ValueError) as error:
        if sentence := _sentence(error, recipe):
            raise LabError(f"{sentence} ({describe_kept()})") from None
        raise


def _sentence(error: Exception, recipe: Recipe) -> str | None:
    batch_size, accumulate = recipe.training.batch_size, recipe.training.accumulate
    if isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error):
        if batch_size == 1:
            return "out of memory; try a smaller data.image_size or a narrower network"
        smaller = batch_size // 2
        how = f"training.batch_size = {smaller} with accumulate = {accumulate * batch_size // smaller}"
        return f"out of memory; try {how}, which keeps the effective batch"
    if "Expected more than 1 value per channel" in str(error):  # which has no variance
        return (
            "training.batch_size: a batch (or a process's share of it) is a single image, of which a norm of "
            f"{recipe.model.name} sees one value a channel; take larger batches or images"
        )
    if recipe.training.compile and isinstance(error, torch._dynamo.exc.TorchDynamoException):
        complaint = str(getattr(error, "inner_exception", error)).strip().splitlines()[0].rstrip(".")
        how = "install a C++ compiler (for a GPU Triton, too), or set compile = false"
        return f"training.compile: torch.compile failed ({complaint}); {how}"
    if "does not have a deterministic implementation" in str(error):
        how = "choose another loss or network, or leave it out"
        return f"training.deterministic: torch has no deterministic way for {str(error).split()[0]}; {how}"
    return None
