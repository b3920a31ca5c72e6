"""Notebook 10's checks on smaller networks: right answers pass however they are written; usual wrong ones are named."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from course import checks
from course.compression import fold_batch_norm, quantize
from tests.course import refusals
from tests.course.refusals import accept

refuse = partial(refusals.refuse, seeds=(0, 7))


def scale(weight, over=127):
    return weight.abs().amax((1, 2, 3), keepdim=True) / over


def with_loops(weight):
    values, scales = [], []
    for kernel in weight.numpy():
        scales.append(np.abs(kernel).max() / 127)
        values.append(np.round(kernel / scales[-1]).astype(int).tolist())
    return values, scales


@pytest.mark.parametrize(
    "answer",
    [
        quantize,
        with_loops,
        lambda w: ((w / scale(w)).round().char(), scale(w).flatten().tolist()),
        lambda w: [torch.floor(w.double() / scale(w.double()) + 0.5).numpy().astype(np.int8), scale(w)[:, 0]],
    ],
)
def test_int8_weights_accepts(answer, capsys):
    accept(checks.int8_weights, answer, capsys)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (lambda w: (w / scale(w)).round(), "two tensors"),
        (lambda w: ((w / (w.abs().max() / 127)).round(), w.abs().max() / 127), "one scale for the whole"),
        (lambda w: quantize(w, axis=1), "dimension 0"),
        (lambda w: (torch.int8, scale(w)), "numbers are expected, found dtype"),
        (lambda w: (w / scale(w), scale(w)), "not whole numbers"),
        (lambda w: ((w / scale(w)).round(), scale(w)), "but float32; one byte each"),
        (lambda w: ((w / scale(w)).round().long(), scale(w)), "but int64; one byte each"),
        (lambda w: ((w / scale(w)).trunc(), scale(w)), "not rounded"),
        (lambda w: ((w / scale(w)).to(torch.int8), scale(w)), "not rounded"),
        (lambda w: ((w / scale(w, 128)).round(), scale(w, 128)), "not over 128"),
        (lambda w: ((w / scale(w, 255)).round(), scale(w, 255)), "not fit into int8"),
        (lambda w: ((w / scale(w, 255)).round().clamp(-127, 127), scale(w, 255)), "not over 255"),
        (lambda w: ((w / scale(w)).round(), 1 / scale(w)), "upside down"),
        (
            lambda w: ((w / (w.amax((1, 2, 3), keepdim=True) / 127)).round().clamp(-127, 127), w.amax((1, 2, 3)) / 127),
            "absolute value is missing",
        ),
        (lambda w: ((w * scale(w)).round(), scale(w)), "values times scales"),
        (lambda w: ((w / scale(w)).round(), scale(w) * 1.1), "largest absolute weight over 127"),
        (lambda w: (torch.zeros(3), scale(w)), "shape"),
        (lambda w: None, "two tensors"),
        (lambda: 1, "failed with TypeError"),
    ],
)
def test_int8_weights_names(answer, name):
    refuse(checks.int8_weights, answer, name)


def fold(conv, norm, *, root=torch.sqrt, eps=True, gamma=True, axis=0, mean=-1, shift=1, beta=1, own=1):
    """Folding, with the parts that go wrong as arguments."""
    factor = (norm.weight if gamma else 1) / root(norm.running_var + (norm.eps if eps else 0))
    sides = [1, 1, 1, 1]
    sides[axis] = -1
    right = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    bias = 0 if conv.bias is None else conv.bias
    moved = mean * norm.running_mean * (right if shift else 1)
    return conv.weight * factor.view(sides), beta * norm.bias + moved + bias * (right if own == 1 else own)


def by_module(conv, norm):
    one = fold_batch_norm(nn.Sequential(conv, norm), size=8, in_channels=conv.in_channels)[0]
    return one.weight, one.bias


def by_probing(conv, norm):
    """Batch norm is linear for each channel: its slope and its value at 0 tell all."""
    zeros, ones = (norm(torch.full((1, norm.num_features, 1, 1), value))[0, :, 0, 0] for value in (0.0, 1.0))
    bias = torch.zeros(norm.num_features) if conv.bias is None else conv.bias
    kernel = torch.stack([k * f for k, f in zip(conv.weight, ones - zeros, strict=True)])
    return [kernel.detach().numpy(), (zeros + bias * (ones - zeros)).tolist()]


@pytest.mark.parametrize("answer", [fold, by_module, by_probing])
def test_folded_accepts(answer, capsys):
    accept(checks.folded, answer, capsys)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"eps": False}, "epsilon is missing"),
        ({"root": lambda v: v}, "the root is missing"),
        ({"root": lambda v: torch.sqrt(v - 1e-2) + 1e-2}, "epsilon belongs under"),
        ({"root": lambda v: torch.sqrt(v - 1e-2 + 1e-5)}, "the norm's own"),
        ({"gamma": False}, "gamma is missing"),
        ({"axis": 1}, "output channels, dimension 0"),
        ({"shift": 0}, "the mean is scaled"),
        ({"mean": 1}, "not added"),
        ({"mean": 0}, "the mean is missing"),
        ({"beta": 0}, "beta is missing"),
        ({"own": 0}, "own bias is missing"),
        ({"own": 1.0 + 1e-9}, "own bias goes through"),
        ({"beta": 3}, "where the convolution gives 0"),
    ],
)
def test_folded_names(change, name):
    refuse(checks.folded, lambda conv, norm: fold(conv, norm, **change), name)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (lambda conv, norm: (conv.weight, norm.bias), "kernel is unchanged"),
        (lambda conv, norm: conv, "two tensors"),
        (lambda conv, norm: fold(conv, norm)[::-1], "are exchanged"),
        (lambda conv, norm: (fold(conv, norm)[0], fold(conv, norm)[1].view(-1, 1, 1, 1)), "one number a channel"),
        (lambda conv: conv, "failed with TypeError"),
        (None, "a function is expected"),
    ],
)
def test_folded_names_nonsense(answer, name):
    refuse(checks.folded, answer, name)
