"""What a network costs: parameters, multiply-adds, memory and time, in all and stage by stage."""

import copy
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
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
    """What a network costs for one image of a given size, in float32.

    Trained parameters; multiply-adds of a forward pass; what a forward pass in training mode keeps for the backward
    pass, weights not counted; and parameters and buffers as a weights file holds them.
    """

    parameters: int
    multiply_adds: int
    activation_bytes: int
    weight_bytes: int


def network_costs(model: nn.Module, size: int = 128, in_channels: int = 3) -> NetworkCosts:
    """What any network costs for one image `[1, in_channels, size, size]`; the model is left as it is.

    Multiply-adds are half of what torch's `FlopCounterMode` counts: convolutions and matrix products, nothing else.
    Activations are the storages that autograd keeps for the backward pass, each counted once, the image with them.

    Raises:
        LabError: the network does not take such an image.
    """
    whole = _calls(model, size, in_channels).iloc[-1]
    weights = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
    return NetworkCosts(count_parameters(model), int(whole["multiply_adds"]), int(whole["activation_bytes"]), weights)


def stage_costs(model: nn.Module, stages: Sequence[Stage], size: int = 128, in_channels: int = 3) -> pd.DataFrame:
    """What each of a network's stages costs, in the order of the call; columns add up to `network_costs`.

    What a network computes between two stages (poolings, concatenations) counts for the later one.

    Returns:
        Columns `stage, scale` (`1/8`), `channels, height, width` (of what comes out), `height_in` (of what comes into
        its module), `parameters, multiply_adds, activation_mib`.

    Raises:
        LabError: the network does not take such an image.
    """
    calls = _calls(model, size, in_channels)
    owners = [stage_at(stages, path) for path in calls["path"]]
    calls.loc[[owner is None for owner in owners], ["height", "height_in"]] = None
    calls["stage"] = pd.Series([owner and owner.name for owner in owners]).bfill()
    totals = calls[["multiply_adds", "activation_bytes"]]
    calls[totals.columns] = totals.diff().fillna(totals)
    columns = {"height": "last", "height_in": "first"} | dict.fromkeys(totals, "sum")
    spent = calls.groupby("stage").agg(columns).astype(int)
    spent.insert(2, "parameters", 0)
    stage_of = dict(zip(calls["path"], calls["stage"], strict=True))
    for path, weight in model.named_parameters():  # some belong to modules that are never called
        owner = stage_at(stages, path)
        name = owner.name if owner else stage_of[path.rpartition(".")[0]]
        spent.loc[name, "parameters"] += weight.numel() * weight.requires_grad
    table = pd.DataFrame({"stage": s.name, "scale": f"1/{s.scale}", "channels": s.channels} for s in stages)
    table = table.join(spent, on="stage")
    table.insert(4, "width", table["height"])
    table["activation_mib"] = table.pop("activation_bytes") / 2**20
    return table


def _calls(model: nn.Module, size: int, in_channels: int) -> pd.DataFrame:
    """One row a module's call in training mode, the network's own last: path, sides, and what was spent until its end.

    The pass is made by a copy on torch's meta device, which knows shapes and holds no data.
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


def latency(
    model: nn.Module,
    size: int = 128,
    batch: int = 1,
    precision: str = "float32",
    repeats: int = 7,
    in_channels: int = 3,
) -> float:
    """Seconds of a forward pass of `batch` images `[in_channels, size, size]`: the median of `repeats` after one more.

    A copy is called, on the model's device, as `load_predictor` prepares it: channels-last, evaluation mode.

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
