"""What a network costs: parameters, multiply-adds, memory and time, in all and stage by stage."""

import copy
import statistics
import time
from dataclasses import dataclass

import pandas as pd
import torch
from torch import nn

from labkit.analysis.stages import find_stages
from labkit.errors import LabError
from labkit.training import autocast

MIB = 2**20


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


def stage_costs(model: nn.Module, size: int = 128, in_channels: int = 3) -> pd.DataFrame:
    """What each stage of a network costs for one image, in the order of the call; the columns add up to the totals.

    How a network is taken apart says `labkit.analysis.stages.find_stages`. The multiply-adds are half of what torch's
    `FlopCounterMode` counts: convolutions and matrix products, nothing else. The activations are the storages
    that autograd keeps for the backward pass in training mode, each counted once, at the stage that kept it
    first, with the image itself; parameters and buffers are not counted.

    Args:
        model: any network `[B, in_channels, H, W]` -> `[B, C, H, W]`; it is left as it is.
        size: side of the image in pixels.
        in_channels: channels of the image.

    Returns:
        Columns `stage, scale` (`1/8`), `channels, height, width` (of what comes out), `parameters, multiply_adds,
        activation_mib`. Weights that no call has used have a row of their own, without a scale.
    """
    rows = []
    for stage in find_stages(model, size, size, in_channels):
        channels, height, width = stage.shape
        rows.append(
            {
                "stage": stage.name,
                "scale": scale_name(stage.scale),
                "channels": channels,
                "height": height,
                "width": width,
                "parameters": stage.parameters,
                "multiply_adds": stage.multiply_adds,
                "activation_mib": stage.kept / MIB,
            }
        )
    return pd.DataFrame(rows)


def scale_name(halvings: int | None) -> str:
    """`1/8` for three halvings of the sides, `2/1` for one doubling, empty for None."""
    if halvings is None:
        return ""
    return f"1/{2**halvings}" if halvings >= 0 else f"{2**-halvings}/1"


def network_costs(model: nn.Module, size: int = 128, in_channels: int = 3) -> NetworkCosts:
    """The totals of `stage_costs`, and the size of the weights.

    Args:
        model: any network `[B, in_channels, H, W]` -> `[B, C, H, W]`; it is left as it is.
        size: side of the image in pixels.
        in_channels: channels of the image.
    """
    stages = find_stages(model, size, size, in_channels)
    return NetworkCosts(
        parameters=sum(stage.parameters for stage in stages),
        multiply_adds=sum(stage.multiply_adds for stage in stages),
        activation_bytes=sum(stage.kept for stage in stages),
        weight_bytes=sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers())),
    )


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
            with autocast(device, precision):
                network(images)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])
