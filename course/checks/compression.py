"""Check of the exercise on compression in notebook 03: int8 weights with a scale for each output channel."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from course.checks.verdict import as_array, call, expect, passed
from course.compression import quantize


def int8_weights(answer: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
    """Check `answer(weight)`: int8 values and one scale for each output channel of a kernel `[O, I, k, k]`."""
    what = "int8_weights"
    for seed, shape in enumerate([(8, 3, 3, 3), (5, 16, 1, 1), (4, 6, 3, 3)]):
        generator = torch.Generator().manual_seed(seed)
        strength = torch.logspace(-2, 0.5, shape[0]).view(-1, 1, 1, 1)  # channels of very different size
        weight = torch.randn(shape, generator=generator) * strength
        if seed == 2:
            weight[1] = -weight[1].abs()  # the largest is a negative one
        given = call(answer, weight.clone(), what=what)
        pair = isinstance(given, tuple | list) and len(given) == 2
        expect(pair, f"{what}: return two tensors, the values and the scales")
        values, scales = (as_array(part, f"{what}, {name}") for part, name in zip(given, ("values", "scales")))  # noqa: B905
        _compare(values.astype(np.float64), scales.astype(np.float64), weight, what)
    passed(what, "no weight is off by more than half a step of its own channel")


def _compare(values: np.ndarray, scales: np.ndarray, weight: Tensor, what: str) -> None:
    right, steps = (part.double().numpy() for part in quantize(weight))
    expect(values.shape == right.shape, f"{what}: values of the shape {right.shape} are expected, found {values.shape}")
    expect(scales.size != 1, f"{what}: there is one scale for the whole kernel; each output channel has its own")
    inputs = f"{what}: {scales.size} scales came back for {len(weight)} output channels"
    expect(
        scales.size == len(weight), f"{inputs}; the output channels are dimension 0, take the maximum over the others"
    )
    scales = scales.reshape(-1, 1, 1, 1)
    expect((values == np.round(values)).all(), f"{what}: the values are not whole numbers; round them")
    expect(np.abs(values).max() <= 128, f"{what}: {np.abs(values).max():g} does not fit into int8; divide by the scale")
    largest = np.abs(weight.double().numpy()).max(axis=(1, 2, 3), keepdims=True)
    for advice, scale in {
        "the scale is the largest absolute weight over 127, not over 128: 128 is not an int8 number": largest / 128,
        "the scale is for both signs: over 127, not over 255": largest / 255,
        "the scale is upside down: multiply the values by it to get the weights back": 127 / largest,
        "the absolute value is missing: a channel's largest weight may be negative": weight.double()
        .amax((1, 2, 3), keepdim=True)
        .numpy()
        / 127,
    }.items():
        wrong = not np.allclose(scale, steps, rtol=1e-4) and np.allclose(scales, scale, rtol=1e-4)
        expect(not wrong, f"{what}: {advice}")
    expect(np.allclose(scales, steps, rtol=1e-4), f"{what}: a scale is a channel's largest absolute weight over 127")
    worst = (np.abs(values * scales - weight.double().numpy()) / steps).max()
    expect(
        worst <= 0.501 or worst > 1.001, f"{what}: the values were cut off, not rounded: an error of up to a whole step"
    )
    expect(worst <= 0.501, f"{what}: values times scales are not the weights; round(weight / scale) is what is stored")
