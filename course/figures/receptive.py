"""Receptive fields: the width in pixels of the part of the image that a unit of a stage depends on."""

import copy
from collections.abc import Mapping, Sequence

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from course.stages import network_stages, stage_at
from labkit.errors import LabError

POINTWISE = {"relu", "relu6", "silu", "hardswish", "batch_norm", "group_norm", "dropout", "dropout2d"}
MOVING = {"cat", "stack", "getitem", "get", "permute", "flatten", "max", "amax", "max_pool2d", "dim", "size"}
SUMS = {"add", "iadd", "radd", "mul", "imul", "rmul"}


def stage_fields(model: nn.Module, width: int = 1024, in_channels: int = 3) -> pd.DataFrame:
    """The receptive fields of each stage by the recurrence r += (k - 1) j, j *= s, taken unit by unit.

    A unit's field reaches from the first to the last column that any unit under its kernel sees. The network runs on
    the columns' indices instead of colors, with a maximum instead of every sum. In the decoder the fields of a stage
    differ: each depends on the unit's index within the coarser scales.

    Args:
        model: a network whose stages are known to `network_stages`; it is not changed.
        width: of the image in pixels; only units in its middle half count, and only fields that touch no edge.
        in_channels: channels of the image.

    Returns:
        Columns `stage, smallest, largest`; missing (`<NA>`) where all fields touch an edge.

    Raises:
        LabError: the stages are not registered, or an operation has no rule, as in transformers.
    """
    columns = torch.arange(float(width)).expand(1, in_channels, 128, width)
    with torch.no_grad():
        outputs = _outputs(copy.deepcopy(model).eval(), torch.cat([columns, -columns]), _Recurrence())
    spans = {}
    for stage, output in outputs.items():
        last, first = output.amax((1, 2)) * torch.tensor([[1], [-1]])
        middle = slice(len(first) // 4, -len(first) // 4)
        spans[stage] = list(zip(first[middle], last[middle], strict=True))
    return _table(spans, width)


def measured_fields(model: nn.Module, width: int = 320, in_channels: int = 3) -> pd.DataFrame:
    """As `stage_fields`, but measured: where the gradient of a unit by the image is not zero.

    The gradient is that of a copy in which no unit can be zero: positive weights, means instead of maxima, no norms, no
    activations, x / (1 + x) instead of sigmoids. Units are taken from the middle, one of each kind.
    """
    network = copy.deepcopy(model).cpu().double().eval().requires_grad_(False)
    for weight in network.parameters():
        weight.abs_()
    images = torch.rand(1, in_channels, 64, width, dtype=torch.double).requires_grad_()
    outputs = _outputs(network, images, _NothingSwitchedOff())
    spans, coarsest = {}, 1
    for stage in network_stages(model):
        output, coarsest = outputs[stage.name], max(coarsest, stage.scale)
        row, middle = output.shape[2] // 2, output.shape[3] // 2
        spans[stage.name] = []
        for unit in range(middle, middle + coarsest // stage.scale):
            (gradient,) = torch.autograd.grad(output[0, :, row, unit].sum(), images, retain_graph=True)
            lit = gradient.abs().sum((0, 1, 2)).nonzero()
            spans[stage.name].append((lit.min(), lit.max()))
    return _table(spans, width)


def _outputs(network: nn.Module, images: Tensor, mode: TorchFunctionMode) -> dict[str, Tensor]:
    """Outputs of each stage, in a mode that replaces torch's functions."""
    stages, found = network_stages(network), {}
    for path, module in network.named_modules():
        if stage := stage_at(stages, path):
            module.register_forward_hook(lambda _, __, output, name=stage.name: found.update({name: output}))
    with mode:
        network(images)
    return found


def _table(spans: Mapping[str, Sequence[tuple]], width: int) -> pd.DataFrame:
    rows = []
    for stage, ends in spans.items():
        sides = [int(last - first) + 1 for first, last in ends if first > 0 and last < width - 1]
        rows.append({"stage": stage, "smallest": min(sides, default=None), "largest": max(sides, default=None)})
    return pd.DataFrame(rows).astype({"smallest": "Int64", "largest": "Int64"})


class _Recurrence(TorchFunctionMode):
    """Keeps the largest of all summands; the channels are equal, so that one is enough."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name, kwargs = function.__name__.strip("_"), kwargs or {}
        tensors = [arg for arg in args if isinstance(arg, Tensor)]
        if not tensors or name in MOVING or (name == "pad" and kwargs.get("mode", "constant") != "constant"):
            return function(*args, **kwargs)
        if name in SUMS:
            return torch.maximum(*tensors) if len(tensors) == 2 else tensors[0]
        if name in POINTWISE or "sigmoid" in name:
            return tensors[0]
        if name == "mean":
            return torch.amax(*args, **kwargs)
        x = tensors[0].amax(1, keepdim=True)
        if name == "conv2d":
            return F.max_pool2d(x, args[1].shape[2:], *args[3:6])
        if name == "avg_pool2d":
            return F.max_pool2d(x, *args[1:4])
        if name == "pixel_shuffle":
            return F.interpolate(x, scale_factor=args[1])
        if name == "conv_transpose2d" and args[1].shape[3] == args[3][1]:  # as wide as its stride
            return F.interpolate(x, scale_factor=args[3])
        if name == "interpolate" and kwargs["mode"] == "bilinear":
            return _bilinear(x, **kwargs)
        raise LabError(f"stage_fields has no rule for {name}; use measured_fields")


def _bilinear(x: Tensor, size=None, scale_factor=None, mode="", align_corners=False, **_: object) -> Tensor:
    """The larger of the two columns between which each new one lies; rows are all alike."""
    height, width = size or (round(side * scale_factor) for side in x.shape[2:])
    unit = torch.eye(x.shape[3], dtype=torch.double)[None]
    used = F.interpolate(unit, size=width, mode="linear", align_corners=align_corners)[0] > 1e-9
    first, last = used.int().argmax(0), x.shape[3] - 1 - used.flip(0).int().argmax(0)
    return F.interpolate(torch.maximum(x[..., first], x[..., last]), size=(height, width))


class _NothingSwitchedOff(TorchFunctionMode):
    """Replaces the functions of torch that can set a unit to zero."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name, kwargs = function.__name__.strip("_"), kwargs or {}
        if name in POINTWISE or name == "layer_norm":
            return args[0]
        if "sigmoid" in name:
            return args[0] / (1 + args[0])  # its gradient never vanishes
        if name == "max_pool2d":
            return F.avg_pool2d(args[0], *args[1:4])
        return args[0].mean(*args[1:], **kwargs) if name == "amax" else function(*args, **kwargs)
