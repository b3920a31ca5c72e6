"""Checks of notebook 10 on smaller networks: int8 weights, and batch norm folded into its convolution."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from course.checks.verdict import Check, Collected, as_array, call, expect, name_mistake
from course.compression import quantize

# --- one byte a weight


def _kernels(seed: int) -> list[Tensor]:
    """Kernels whose channels have very different sizes; in the last one the largest weight is negative."""
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for shape in ((8, 3, 3, 3), (5, 16, 1, 1), (4, 6, 3, 3)):
        strength = torch.logspace(-2, 0.5, shape[0]).view(-1, 1, 1, 1)
        drawn.append(torch.randn(shape, generator=generator) * strength)
    drawn[-1][1] = -drawn[-1][1].abs()
    return drawn


def _collect_int8(student: Callable[[Tensor], tuple[Tensor, Tensor]], seed: int) -> Collected:
    what, arrays = "int8_weights", {}
    for i, weight in enumerate(_kernels(seed)):
        given = call(student, weight.clone(), what=what)
        pair = isinstance(given, tuple | list) and len(given) == 2
        expect(pair, f"{what}: return two tensors, the values and the scales")
        kind = str(getattr(given[0], "dtype", "int8")).removeprefix("torch.")  # a list has none
        arrays[f"kind {i}"] = np.array(kind)
        for part, name in zip(given, ("values", "scales"), strict=True):
            found = as_array(part, f"{what}, {name}")
            expect(found.dtype.kind in "biuf", f"{what}, {name}: numbers are expected, found {type(part).__name__}")
            arrays[f"{name} {i}"] = found.astype(np.float64)
    return arrays


def _judge_int8(arrays: Collected, seed: int) -> None:
    for i, weight in enumerate(_kernels(seed)):
        _judge_kernel(arrays[f"values {i}"], arrays[f"scales {i}"], weight, "int8_weights")
        kind = str(arrays[f"kind {i}"])
        expect(kind == "int8", f"int8_weights: the numbers are right, but {kind}; one byte each is int8")


def _judge_kernel(values: np.ndarray, scales: np.ndarray, weight: Tensor, what: str) -> None:
    right, steps = (part.double().numpy() for part in quantize(weight))
    expect(values.shape == right.shape, f"{what}: values of the shape {right.shape} are expected, found {values.shape}")
    expect(scales.size != 1, f"{what}: there is one scale for the whole kernel; each output channel has its own")
    inputs = f"{what}: {scales.size} scales came back for {len(weight)} output channels"
    outputs = "the output channels are dimension 0, take the maximum over the others"
    expect(scales.size == len(weight), f"{inputs}; {outputs}")
    scales = scales.reshape(-1, 1, 1, 1)
    expect((values == np.round(values)).all(), f"{what}: the values are not whole numbers; round them")
    expect(np.abs(values).max() <= 128, f"{what}: {np.abs(values).max():g} does not fit into int8; divide by the scale")
    largest = np.abs(weight.double().numpy()).max(axis=(1, 2, 3), keepdims=True)
    signed = weight.double().amax((1, 2, 3), keepdim=True).numpy()
    for advice, scale in {
        "the scale is the largest absolute weight over 127, not over 128: 128 is not an int8 number": largest / 128,
        "the scale is for both signs: over 127, not over 255": largest / 255,
        "the scale is upside down: multiply the values by it to get the weights back": 127 / largest,
        "the absolute value is missing: a channel's largest weight may be negative": signed / 127,
    }.items():
        wrong = not np.allclose(scale, steps, rtol=1e-4) and np.allclose(scales, scale, rtol=1e-4)
        expect(not wrong, f"{what}: {advice}")
    expect(np.allclose(scales, steps, rtol=1e-4), f"{what}: a scale is a channel's largest absolute weight over 127")
    worst = (np.abs(values * scales - weight.double().numpy()) / steps).max()
    cut = worst <= 0.501 or worst > 1.001
    expect(cut, f"{what}: the values were cut off, not rounded: an error of up to a whole step")
    expect(worst <= 0.501, f"{what}: values times scales are not the weights; round(weight / scale) is what is stored")


int8_weights = Check(
    "int8_weights", "no weight is off by more than half a step of its own channel", _collect_int8, _judge_int8
)

# --- batch norm folded


def _layers(seed: int) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """A convolution without and one with bias; some variances are as small as the norm's epsilon."""
    made = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for bias in (False, True):
            conv, norm = nn.Conv2d(6, 6, 3, padding=1, bias=bias), nn.BatchNorm2d(6, eps=1e-2)
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.normal_(norm.bias)
            nn.init.normal_(norm.running_mean)
            norm.running_var.copy_(torch.logspace(-2, 0.5, 6))
            made.append((conv.eval(), norm.eval()))
    return made


def _collect_folded(student: Callable[[nn.Conv2d, nn.BatchNorm2d], tuple[Tensor, Tensor]], seed: int) -> Collected:
    what, arrays = "folded", {}
    for i, (conv, norm) in enumerate(_layers(seed)):
        given = call(student, conv, norm, what=what)
        pair = isinstance(given, tuple | list) and len(given) == 2
        expect(pair, f"{what}: return two tensors, the kernel and the bias")
        arrays[f"kernel {i}"], arrays[f"bias {i}"] = (as_array(part, what).astype(np.float64) for part in given)
    return arrays


@torch.no_grad()
def _judge_folded(arrays: Collected, seed: int) -> None:
    what = "folded"
    for i, (conv, norm) in enumerate(_layers(seed)):
        fused, weight = fuse_conv_bn_eval(conv, norm), conv.weight
        deviation, own = torch.sqrt(norm.running_var + norm.eps), 0 if conv.bias is None else conv.bias
        scale, mean = norm.weight / deviation, norm.running_mean
        wide, plain = scale.view(-1, 1, 1, 1), norm.weight / torch.sqrt(norm.running_var)
        kernels = {
            "the kernel is unchanged; multiply it by gamma over the deviation": weight,
            "epsilon is missing under the root": weight * plain.view(-1, 1, 1, 1),
            "divide by the deviation, not by the variance: the root is missing": (
                weight * (norm.weight / (norm.running_var + norm.eps)).view(-1, 1, 1, 1)
            ),
            "gamma is missing": weight / deviation.view(-1, 1, 1, 1),
            "the factors belong to the output channels, dimension 0; you multiplied the input channels": weight
            * scale.view(1, -1, 1, 1),
            "epsilon is the norm's own, norm.eps, which is not 1e-5 in every network": (
                weight * (norm.weight / torch.sqrt(norm.running_var + 1e-5)).view(-1, 1, 1, 1)
            ),
            "epsilon belongs under the root": weight
            * (norm.weight / (torch.sqrt(norm.running_var) + norm.eps)).view(-1, 1, 1, 1),
        }
        hint = "gamma over the root of variance plus epsilon multiplies each output channel's kernel"
        order = arrays[f"kernel {i}"].shape == (6,) and arrays[f"bias {i}"].ndim == 4
        expect(not order, f"{what}: the two are exchanged; first the kernel, then the bias")
        flat = arrays[f"bias {i}"].shape == (6,)
        expect(flat, f"{what}: the bias has the shape [O], one number a channel; found {[*arrays[f'bias {i}'].shape]}")
        name_mistake(f"{what}, kernel", arrays[f"kernel {i}"], (weight * wide).numpy(), _arrays(kernels), hint)
        biases = {
            "the mean is scaled, too: it goes through gamma over the deviation": norm.bias - mean + own * scale,
            "the mean is subtracted, not added": norm.bias + (mean + own) * scale,
            "beta is missing": (own - mean) * scale,
            "the mean is missing: it is subtracted before the scale": norm.bias + own * scale,
        }
        if conv.bias is not None:
            biases["the convolution's own bias is missing"] = norm.bias - mean * scale
            biases["the convolution's own bias goes through batch norm as well"] = norm.bias - mean * scale + own
        hint = "follow a pixel where the convolution gives 0"
        name_mistake(f"{what}, bias", arrays[f"bias {i}"], fused.bias.numpy(), _arrays(biases), hint)


def _arrays(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {advice: tensor.numpy() for advice, tensor in tensors.items()}


folded = Check("folded", "one layer instead of two", _collect_folded, _judge_folded)
