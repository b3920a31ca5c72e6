"""What a network costs: parameters, multiply-adds, memory and time, in all and stage by stage."""

import copy
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from labkit.errors import LabError
from labkit.models import count_parameters
from labkit.training import autocast


@dataclass(frozen=True)
class Stage:
    """A stage of a network; it takes what the stage before it gave.

    Attributes:
        name: path of its module, such as `decoder.0`.
        channels: of its output.
        scale: 8 where the output's sides are an eighth of the image's.
        kind: what it computes; steps that deserve a box of their own are separated, `max pool; double convolution`.
        skip: name of an earlier stage whose output comes in, too, before the last step.
        join: where the skip stands in the concatenation, or that it is added.
        module: path of the module that ends the stage, where its name is not such a path.
    """

    name: str
    channels: int
    scale: int
    kind: str
    skip: str = ""
    join: Literal["first", "last", "sum"] = "first"
    module: str = ""


def stage_at(stages: Sequence[Stage], path: str) -> Stage | None:
    """The stage that the module at a path belongs to; the network itself, path "", ends its last stage."""
    if not path:
        return stages[-1]
    return next((stage for stage in stages if f"{path}.".startswith(f"{stage.module or stage.name}.")), None)


@dataclass(frozen=True)
class NetworkCosts:
    """What a network costs for one image of a given size, in float32."""

    parameters: int
    """Trained ones."""
    multiply_adds: int
    """Of one forward pass."""
    activation_bytes: int
    """What one forward pass in training mode keeps for the backward pass, weights not counted."""
    weight_bytes: int
    """Of parameters and buffers, as a weights file holds them."""


def network_costs(model: nn.Module, size: int = 128, in_channels: int = 3) -> NetworkCosts:
    """What any network costs for one image `[1, in_channels, size, size]`; the model is left as it is.

    The multiply-adds are half of what torch's `FlopCounterMode` counts: convolutions and matrix products, nothing
    else. The activations are the storages that autograd keeps for the backward pass in training mode, each counted
    once, the image with them. The pass is made on torch's meta device, which knows shapes and holds no data.

    Raises:
        LabError: the network does not take such an image.
    """
    (whole,) = _measured(model, [Stage("", 0, 1, "")], size, in_channels)
    weights = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
    return NetworkCosts(count_parameters(model), whole["multiply_adds"], whole["activation_bytes"], weights)


def stage_costs(model: nn.Module, stages: Sequence[Stage], size: int = 128, in_channels: int = 3) -> pd.DataFrame:
    """What each of a network's stages costs, in the order of the call; columns add up to `network_costs`.

    What a network computes between two stages (poolings, concatenations) counts for the later one.

    Returns:
        Columns `stage, scale` (`1/8`), `channels, height, width` (of what comes out), `height_in` (of what comes into
        its module), `parameters, multiply_adds, activation_mib`.

    Raises:
        LabError: the network does not take such an image.
    """
    table = pd.DataFrame(_measured(model, stages, size, in_channels))
    table["activation_mib"] = table.pop("activation_bytes") / 2**20
    return table


def _measured(model: nn.Module, stages: Sequence[Stage], size: int, in_channels: int) -> list[dict]:
    """Call a copy without data once; after each module's call, book what was spent since the last booking."""
    network = copy.deepcopy(model).to("meta").train()
    rows = {
        stage.name: {"stage": stage.name, "scale": f"1/{stage.scale}", "channels": stage.channels} for stage in stages
    }
    for row in rows.values():
        row |= dict.fromkeys(("height", "width", "height_in", "parameters", "multiply_adds", "activation_bytes"), 0)
    counter, kept, called = FlopCounterMode(display=False), {}, set()
    weights = {t.untyped_storage()._cdata for t in (*network.parameters(), *network.buffers())}
    owners = {path: stage_at(stages, path) for path, _ in network.named_modules()}
    unbooked = {name: weight.numel() for name, weight in model.named_parameters() if weight.requires_grad}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage  # held, so that no address is used twice
        return tensor

    def book(path: str, given: tuple, output: object) -> None:
        called.add(path)
        stage = owners[path]
        if stage is None:
            return  # the next stage bears it
        row, parents = rows[stage.name], {name: name.rpartition(".")[0] for name in unbooked}
        own = [name for name, parent in parents.items() if parent in called or owners[parent] == stage]
        row["parameters"] += sum(unbooked.pop(name) for name in own)
        storages = sum(storage.nbytes() for storage in kept.values())
        for cost, total in (("multiply_adds", counter.get_total_flops() // 2), ("activation_bytes", storages)):
            row[cost] += total - sum(other[cost] for other in rows.values())
        if isinstance(output, Tensor) and output.ndim == 4:  # [1, C, H, W] or, in a transformer, [1, H, W, C]
            row["height_in"] = row["height_in"] or given[0].shape[2]
            row["height"] = row["width"] = output.shape[2]

    for path, module in network.named_modules():
        module.register_forward_hook(lambda _, given, output, path=path: book(path, given, output))
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
    return list(rows.values())


def latency(
    model: nn.Module,
    size: int = 128,
    batch: int = 1,
    precision: str = "float32",
    repeats: int = 7,
    in_channels: int = 3,
) -> float:
    """Seconds of a forward pass as `load_predictor` prepares it: channels-last, evaluation mode, no gradients.

    Args:
        model: a network on the device on which it shall be timed; a copy is called.
        size: side of the images in pixels.
        batch: number of images.
        precision: `float32` or `bfloat16`.
        repeats: passes after one to warm up; their median is returned.
        in_channels: channels of the images.

    Raises:
        LabError: there is no pass to take the median of.
    """
    if repeats < 1:
        raise LabError(f"latency: found repeats={repeats}; at least one pass must be timed")
    network = copy.deepcopy(model).to(memory_format=torch.channels_last).eval()
    device = next((weight.device for weight in network.parameters()), torch.device("cpu"))
    images = torch.rand(batch, in_channels, size, size, device=device).contiguous(memory_format=torch.channels_last)
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
