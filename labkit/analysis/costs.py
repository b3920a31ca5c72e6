"""What a network costs: parameters, multiply-adds, memory and time."""

import copy
import statistics
import time
from dataclasses import dataclass
from functools import partial

import pandas as pd
import psutil
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from labkit.errors import LabError
from labkit.models import count_parameters
from labkit.training import Recipe, autocast, choose_precision
from labkit.training.hardware import HALF
from labkit.training.runs import empty_network


@dataclass(frozen=True)
class NetworkCosts:
    """What a network costs for one image of a given size, in float32."""

    parameters: int  # trained ones
    multiply_adds: int  # of one forward pass
    activation_bytes: int  # what a forward pass in training mode keeps for the backward pass, weights not counted
    weight_bytes: int  # of parameters and buffers, as a weights file holds them


def network_costs(model: nn.Module, size: int = 128, in_channels: int = 3) -> NetworkCosts:
    """What any network costs for one image `[1, in_channels, size, size]`; the model is left as it is.

    Multiply-adds are half of what torch's `FlopCounterMode` counts: convolutions and matrix products, nothing else.
    Activations are the storages that autograd keeps for the backward pass, each counted once, the image with them.
    """
    whole = module_calls(model, size, in_channels).iloc[-1]
    weights = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
    return NetworkCosts(count_parameters(model), int(whole["multiply_adds"]), int(whole["activation_bytes"]), weights)


def module_calls(model: nn.Module, size: int = 128, in_channels: int = 3) -> pd.DataFrame:
    """One row a module's call for an image `[1, in_channels, size, size]` in training mode; the network's own is last.

    The pass is made by a copy on torch's meta device, which knows shapes and holds no data. Columns: `path`, `height,
    height_in` (of what comes out and in; missing where it is no map), `multiply_adds, activation_bytes` (of the pass
    until the end of the call, see `network_costs`). LabError: the network does not take such an image.
    """
    network = copy.deepcopy(model).to("meta").train()
    weights = {t.untyped_storage()._cdata for t in (*network.parameters(), *network.buffers())}
    counter, kept, rows = FlopCounterMode(display=False), {}, []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage  # held, so that no address is used twice
        return tensor

    def note(path: str, module: nn.Module, given: tuple, output: object) -> None:
        # [1, C, H, W] or, in a transformer, [1, H, W, C]
        sides = [x.shape[2] if isinstance(x, Tensor) and x.ndim == 4 else None for x in (output, given[0])]
        rows.append((path, *sides, counter.get_total_flops() // 2, sum(s.nbytes() for s in kept.values())))

    for path, module in network.named_modules():
        module.register_forward_hook(partial(note, path))
    try:
        with saved_tensors_hooks(keep, lambda tensor: tensor), counter, torch.enable_grad():
            network(torch.empty(1, in_channels, size, size, device="meta"))
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        reason = "a batch norm has only one place to average over" if "more than 1 value" in reason else reason
        raise LabError(
            f"{type(model).__name__} does not take an image of {in_channels} channels and {size}x{size} pixels "
            f"({reason}); choose a larger size or the channels that it takes"
        ) from None
    return pd.DataFrame(rows, columns=["path", "height", "height_in", "multiply_adds", "activation_bytes"])


def memory_warning(recipe: Recipe, device: torch.device, processes: int = 1) -> str | None:
    """A sentence if a training's batch, shared by processes, needs more memory than is free; None if it fits.

    Counted are the activations of the largest images, the weights, their gradients, and Adam's two moments.
    """
    try:
        with torch.device("meta"):
            costs = network_costs(empty_network(recipe), recipe.data.image_size)
    except LabError:  # it takes no single image of this size; whether it takes a batch, the training tells
        return None
    half = 2 if choose_precision(recipe.training.precision, device) in HALF else 1
    batch = -(-recipe.training.batch_size // processes)
    needed = batch * costs.activation_bytes / half + 4 * costs.weight_bytes
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    if needed < free:
        return None
    return (
        f"a batch of {batch} needs about {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free; halve "
        "training.batch_size and double training.accumulate, which keeps the step"
    )


def latency(model: nn.Module, size: int = 128, batch: int = 1, precision: str = "float32", repeats: int = 7) -> float:
    """Seconds of a forward pass of images `[batch, 3, size, size]`: the median of `repeats`.

    A copy is called, on the model's device, as `load_predictor` prepares it: channels-last, evaluation mode.
    """
    network = copy.deepcopy(model).to(memory_format=torch.channels_last).eval()
    device = next((weight.device for weight in network.parameters()), torch.device("cpu"))
    images = torch.rand(batch, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    seconds = []
    with torch.inference_mode():
        for _ in range(1 + repeats):
            began = time.perf_counter()
            with autocast(device, precision):  # anew for each pass: its casts of the weights are part of the time
                network(images)
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])
