"""torch.compile: the training pass as machine code of its own."""

import torch
from torch import nn


def compiled(model: nn.Module) -> nn.Module:
    """The model as it is called in training, compiled at its first call for each shape of its input.

    That takes from half a minute up, on a GPU as on a CPU. The weights are the model's own and keep their names.
    """
    # a training at many sizes, with batches that differ by an image, has more shapes than the default allows
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
    return torch.compile(model, dynamic=False)


def compiler_complaint(error: RuntimeError) -> str | None:
    """What kept torch.compile from compiling, in its own words' first line; None if it is another error."""
    from torch._dynamo.exc import BackendCompilerFailed, TorchDynamoException

    if not isinstance(error, TorchDynamoException):
        return None
    cause = error.inner_exception if isinstance(error, BackendCompilerFailed) else error
    return str(cause).strip().splitlines()[0].rstrip(".")
