"""Weights to start a training from: one's own, or somebody else's file."""

import re
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from labkit.errors import LabError, some_of

INSIDE = ("state_dict", "model_state_dict", "model")  # where the weights usually stand in a file that holds more
PREFIXES = re.compile(r"^((module|_orig_mod)\.)+")  # what DistributedDataParallel and torch.compile put before names


def start_from(model: nn.Module, path: str | Path) -> nn.Module:
    """Load the weights of a file where name and shape agree with the network's; a warning tells what did not fit.

    The model is changed in place, and returned. The file is `.safetensors`, or one of `torch.save`, which is opened
    without running code from it. LabError: it is not there, holds no weights, or none of them fits the network.
    """
    found, own = read_weights(Path(path)), model.state_dict()
    fitting = {name: value for name, value in found.items() if name in own and value.shape == own[name].shape}
    if not fitting:
        names = f"it holds {some_of([*found])}, the network {some_of([*own])}"
        raise LabError(f"{path}: no weight fits the network: {names}")
    refuse_not_finite(path, fitting, "choose another file")
    model.load_state_dict(fitting, strict=False)
    left, unused = sorted(own.keys() - fitting.keys()), sorted(found.keys() - fitting.keys())
    if left or unused:
        warnings.warn(
            f"{path}: {len(fitting)} of the network's {len(own)} weights are taken from it; as initialized: "
            f"{some_of(left) or 'none'}; not used: {some_of(unused) or 'none'}",
            stacklevel=2,
        )
    return model


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file by name, without `PREFIXES` (see `start_from`)."""
    if not path.is_file():
        raise LabError(f"{path}: no such weights file")
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise LabError(f"{path}: the weights file is damaged ({error}); copy it again") from None
    except Exception:  # pickle's errors are of many kinds
        raise LabError(
            f"{path}: is no file of weights alone, and opening it could run code; where it was made, save "
            "`model.state_dict()` instead"
        ) from None
    state = state if isinstance(state, dict) else {}
    for key in INSIDE:
        state = state[key] if isinstance(state.get(key), dict) else state
    tensors = {PREFIXES.sub("", name): value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise LabError(f"{path}: no weights by name are in it; save `model.state_dict()`")
    return tensors


def refuse_not_finite(path: str | Path, weights: dict[str, Tensor], remedy: str) -> None:
    """Raise a `LabError` if a weight is infinite or not a number."""
    for name, value in weights.items():
        if not value.isfinite().all():
            raise LabError(f"{path}: weights are not finite, first {name} ({value.dtype}); {remedy}")
