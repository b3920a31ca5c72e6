"""Right answers pass however they are written; each usual wrong one is named."""

import numpy as np
import pytest
import torch

from course import checks
from course.checks.verdict import WrongAnswer
from course.compression import quantize


def scale(weight, over=127):
    return weight.abs().amax((1, 2, 3), keepdim=True) / over


def with_loops(weight):
    values, scales = [], []
    for kernel in weight.numpy():
        scales.append(np.abs(kernel).max() / 127)
        values.append(np.round(kernel / scales[-1]).tolist())
    return values, scales


@pytest.mark.parametrize(
    "answer",
    [
        quantize,
        with_loops,
        lambda w: ((w / scale(w)).round(), scale(w).flatten().tolist()),
        lambda w: [torch.floor(w.double() / scale(w.double()) + 0.5), scale(w)[:, 0]],
    ],
)
def test_int8_weights_accepts(answer):
    checks.int8_weights(answer)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (lambda w: (w / scale(w)).round(), "two tensors"),
        (lambda w: ((w / (w.abs().max() / 127)).round(), w.abs().max() / 127), "one scale for the whole"),
        (lambda w: quantize(w, axis=1), "dimension 0"),
        (lambda w: (w / scale(w), scale(w)), "not whole numbers"),
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
    ],
)
def test_int8_weights_names(answer, name):
    with pytest.raises(WrongAnswer, match=name):
        checks.int8_weights(answer)
