"""Receptive fields: how wide a part of the image one unit of a stage depends on, computed and measured."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from labkit.analysis.events import weightless
from labkit.analysis.stages import Stage, find_stages
from labkit.analysis.wiring import Interval, Wiring, hull
from labkit.errors import LabError


def receptive_fields(model: nn.Module, size: int | tuple[int, int] = (64, 512), in_channels: int = 3) -> pd.DataFrame:
    """The width in pixels of what the middle unit of each stage sees, both fields cut off at the edges of the image.

    `computed` goes from the unit back to the image, convolution by convolution: the units `a` to `b` of a layer with
    kernel k, stride s and padding p need the units `a s - p` to `b s - p + k - 1` of what came in (Araujo et al.,
    "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019). Away from the edges that is the
    well-known r += (k - 1) j, j *= s on the way down. Transposed convolutions, bilinear upsampling, padding and
    crops have such a rule too, a mean or maximum over the whole map needs all of it, and where paths meet, the
    outermost units count. It is missing (`<NA>`) where places are moved about or mixed by other means (the
    windows of a transformer), and for stages that are never called.

    `measured` is the width of the nonzero gradient of that unit by the image, in a copy of the network in
    which nothing can be switched off (see `gradient_map`). Holes inside a field are not seen by either.

    Args:
        model: any network `[B, in_channels, H, W]` -> `[B, C, H, W]`; it is left as it is.
        size: side of the image, or (height, width); a strip costs less and shows the width as well.
        in_channels: channels of the image.

    Returns:
        Columns `stage, computed, measured`.
    """
    height, width = (size, size) if isinstance(size, int) else size
    stages = find_stages(model, height, width, in_channels)
    called = [stage for stage in stages if stage.tap[1]]
    computed = _computed(model, called, torch.empty(1, in_channels, height, width, device="meta"))
    network, images = _opened(model), _images(in_channels, height, width).double()
    measured = {}
    with _NothingSwitchedOff(), _tapped(network, called) as taps:
        network(images.requires_grad_())
    for stage in called:
        lit = _gradient(taps[stage.name][0], stage, images).any(dim=0).nonzero()
        measured[stage.name] = int(lit.max() - lit.min()) + 1 if len(lit) else 0
    columns = {
        "stage": [stage.name for stage in stages],
        "computed": pd.array([computed.get(stage.name) for stage in stages], dtype="Int64"),
        "measured": pd.array([measured.get(stage.name) for stage in stages], dtype="Int64"),
    }
    return pd.DataFrame(columns)


def gradient_map(
    model: nn.Module, stage: str, size: int = 160, opened: bool = True, in_channels: int = 3
) -> np.ndarray:
    """How strongly the middle unit of a stage depends on each pixel: `float64 [size, size]`.

    The absolute gradient of the sum of the unit's channels by the image (uniform noise), summed over the image's
    channels, in evaluation mode and double precision.

    Args:
        model: any network; it is left as it is.
        stage: a name from `stage_costs`.
        size: side of the image in pixels.
        opened: of a copy in which nothing can be switched off: equal positive weights, means instead of
            maxima, no norms, no activations, x / (1 + x) instead of sigmoids. Else of the network as it is.
        in_channels: channels of the image.

    Raises:
        LabError: there is no such stage.
    """
    stages = {found.name: found for found in find_stages(model, size, size, in_channels) if found.tap[1]}
    if stage not in stages:
        raise LabError(f"{type(model).__name__} has no stage {stage!r}; choose one of {', '.join(stages)}")
    images = _images(in_channels, size, size).double().requires_grad_()
    if opened:
        network = _opened(model)
        with _NothingSwitchedOff(), _tapped(network, [stages[stage]]) as taps:
            network(images)
    else:
        network = _copied(model)
        with _tapped(network, [stages[stage]]) as taps:
            network(images)
    return _gradient(taps[stage][0], stages[stage], images).numpy()


def _images(channels: int, height: int, width: int) -> Tensor:
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(0))


def _copied(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).cpu().double().eval().requires_grad_(False)


def _opened(model: nn.Module) -> nn.Module:
    """A copy whose convolutions take means, to be called inside `_NothingSwitchedOff`."""
    network = _copied(model)
    for module in network.modules():
        for weight in module.parameters(recurse=False):
            inputs = weight.shape[0] if isinstance(module, nn.ConvTranspose2d) else math.prod(weight.shape[1:])
            weight.fill_(1 / inputs)
    return network


def _gradient(output: Tensor, stage: Stage, images: Tensor) -> Tensor:
    _, height, width = stage.shape
    places = output if stage.channels_last else output.permute(0, 2, 3, 1)
    unit = places[0, height // 2, width // 2].sum()
    return torch.autograd.grad(unit, images, retain_graph=True)[0][0].abs().sum(dim=0)


@contextmanager
def _tapped(network: nn.Module, stages: list[Stage], progress: Callable[[], int] = int) -> Iterator[dict]:
    """Collect, while the network is called, the output of each stage and how far `progress` had come by then."""
    taps, calls, handles = {}, {}, []

    def tap(output: Tensor, path: str) -> None:
        calls[path] = calls.get(path, 0) + 1
        taps.update({s.name: (output, progress()) for s in stages if s.tap == (path, calls[path])})

    for path in {stage.tap[0] for stage in stages}:
        hook = lambda _, __, output, path=path: tap(output, path)  # noqa: E731
        handles.append(network.get_submodule(path).register_forward_hook(hook))
    yield taps
    for handle in handles:
        handle.remove()


class _NothingSwitchedOff(TorchFunctionMode):
    """Replaces, in every call of torch, what a unit could be switched off by."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name, kwargs = function.__name__.rstrip("_"), kwargs or {}
        if name in ("relu", "relu6", "hardtanh", "leaky_relu", "elu", "gelu", "silu", "hardswish"):
            return args[0]
        if name in ("batch_norm", "group_norm", "layer_norm", "instance_norm"):
            return args[0]
        if name in ("sigmoid", "hardsigmoid"):
            return args[0] / (1 + args[0])  # rises for ever, so that its gradient never vanishes
        if name == "max_pool2d":
            return _mean_pool(*args, **kwargs)
        return args[0].mean(*args[1:], **kwargs) if name == "amax" else function(*args, **kwargs)


def _mean_pool(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False) -> Tensor:
    return F.avg_pool2d(x, kernel_size, stride or kernel_size, padding, ceil_mode)


def _computed(model: nn.Module, stages: list[Stage], images: Tensor) -> dict[str, int | None]:
    """From the middle unit of each stage back to the image, along everything that the network has computed."""
    network, wiring = weightless(model).eval(), Wiring(images)
    with torch.no_grad(), wiring, _tapped(network, stages, lambda: len(wiring.links)) as taps:
        network(images)
    fields = {}
    for stage in stages:
        output, links = taps[stage.name]
        middle = stage.shape[2] // 2
        needed: dict[int, Interval | None] = {id(output): (middle, middle)}
        for out, parts in reversed(wiring.links[:links]):
            if id(out) not in needed:
                continue
            here = needed.pop(id(out))
            for given, rule in parts:
                there = rule(*here) if rule and here else None
                needed[id(given)] = hull(needed.get(id(given), there), there)
        seen = needed.get(id(images))
        fields[stage.name] = seen[1] - seen[0] + 1 if seen else None
    return fields
