"""Right answers pass however they are written; each usual wrong one is named."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from course.checks import unet
from course.checks.verdict import WrongAnswer


def looped(size, kernel, stride):
    counts = [0] * ((size - 1) * stride + kernel)
    for i in range(size):
        for u in range(kernel):
            counts[i * stride + u] += 1
    return counts


def sliced(size, kernel, stride):
    counts = np.zeros((size - 1) * stride + kernel)
    for i in range(size):
        counts[i * stride : i * stride + kernel] += 1
    return counts


def folded(size, kernel, stride):
    """Each output pixel in turn: the input pixels whose patch holds it."""
    length = (size - 1) * stride + kernel
    starts = torch.arange(size) * stride
    places = torch.arange(length)[:, None]
    return ((places >= starts) & (places < starts + kernel)).sum(dim=1)


def in_torch(size, kernel, stride):
    return F.conv_transpose1d(torch.ones(1, 1, size), torch.ones(1, 1, kernel), stride=stride)


@given(st.integers(1, 9), st.integers(1, 7), st.integers(1, 5))
def test_the_counts_of_torch_are_those_of_a_loop(size, kernel, stride):
    assert unet.painted(size, kernel, stride).tolist() == looped(size, kernel, stride)


@pytest.mark.parametrize("answer", [looped, sliced, folded, in_torch, lambda *a: tuple(map(float, looped(*a)))])
def test_overlap_count_accepts(answer, capsys):
    unet.overlap_count(answer)
    assert capsys.readouterr().out.startswith("✓ overlap_count")


def without_ends(size, kernel, stride):
    """The pattern of the middle: the taps whose distance from the output pixel is a multiple of the stride."""
    pattern = [sum(u % stride == p for u in range(kernel)) for p in range(stride)]
    return [pattern[i % stride] for i in range((size - 1) * stride + kernel)]


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (lambda s, k, j: np.outer(looped(s, k, j), looped(s, k, j)), "not a grid"),
        (lambda s, k, j: np.square(looped(s, k, j)), "squares"),
        (lambda s, k, j: looped(s, j, k), "swapped"),
        (without_ends, "continued the pattern of the middle"),
        (lambda s, k, j: [k] * s, "how many output pixels each input pixel paints"),
        (lambda s, k, j: looped(s, k, 1), "`stride` apart"),
        (lambda s, k, j: looped(s, k, j)[: s * j], "the end is missing"),
        (lambda s, k, j: [k] * max(1, (s - k) // j + 1), "ordinary convolution"),
        (lambda s, k, j: (s - 1) * j + k, "number of output pixels"),
        (lambda s, k, j: [*looped(s, k, j), 0], "pixels come out, found"),
        (lambda s, k, j: [2, *looped(s, k, j)[1:]], "output pixel 0 is painted by 1 input pixels, found 2"),
        (lambda s, k, j: ["one"] * s, "numbers are expected"),
        (lambda s, k, j: None, "nothing came back"),
        (lambda s, k: [1], "failed with TypeError"),
    ],
)
def test_overlap_count_names(answer, name):
    with pytest.raises(WrongAnswer, match=name):
        unet.overlap_count(answer)


def test_an_empty_exercise_is_no_solution():
    def unwritten(*_):
        raise NotImplementedError

    with pytest.raises(WrongAnswer, match="not written yet"):
        unet.overlap_count(unwritten)
