"""Checks of notebook 02 on numbers that follow from shapes: sizes, parameters, receptive fields, overlaps."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from course.checks.verdict import Check, Collected, as_array, call, expect, name_mistake, number_check, numbers
from labkit import models


def _function_check(what: str, remark: str, cases: Callable, answers: Callable[..., dict], hint: str) -> Check:
    """The check of a function that gives one number for each case that is drawn from the seed.

    `answers` gives for a case the right number under "" and what each usual mistake gives; a mistake is named when it
    explains the numbers of all cases.
    """

    def collect(student: Callable, seed: int) -> Collected:
        return {"values": np.array([numbers(call(student, *c, what=what), f"{what}{c}", ()) for c in cases(seed)])}

    def judge(arrays: Collected, seed: int) -> None:
        drawn, found = cases(seed), arrays["values"]
        table = [answers(*case) for case in drawn]
        mistakes = {advice: [row[advice] for row in table] for advice in table[0]}
        right = np.array(mistakes.pop(""), dtype=float)
        first = int(np.argmax(found != right))
        name_mistake(what, found, right, mistakes, f"{what}{drawn[first]} is not {found[first]:g}; {hint}")

    return Check(what, remark, collect, judge)


# --- what is left of a tile


def _tiles(seed: int) -> list[tuple[int, int]]:
    rng = np.random.default_rng(seed)
    return [(20, 1), *((int(rng.integers(190, 600)) | odd, depth) for depth in (2, 3, 4) for odd in (0, 1))]


def _side(size: float, depth: int, loss: int = 4, bottom: int = 4, above: int = 4, whole: bool = True) -> float:
    for _ in range(depth):
        size = (size - loss) // 2 if whole else (size - loss) / 2
    size -= bottom
    for _ in range(depth):
        size = 2 * size - above
    return size


def _sides(size: int, depth: int) -> dict[str, float]:
    bottom = size
    for _ in range(depth):
        bottom = (bottom - 4) // 2
    return {
        "": _side(size, depth),
        "that is the side at the bottom; the decoder doubles it `depth` times and loses some": bottom - 4,
        "each double convolution loses 4 pixels: 2 for each of its two 3 x 3 convolutions": _side(size, depth, 2, 2, 2),
        "the bottleneck's double convolution is missing": _side(size, depth, bottom=0),
        "the decoder's double convolutions lose pixels as well": _side(size, depth, above=0),
        "with padding the size would stay; here nothing is padded": size,
        "pooling drops the last pixel of an odd side, at every stage: go down with //, stage by stage": _side(
            size, depth, whole=False
        ),
        "the decoder doubles first, then its double convolution loses 4": _side(size, depth, above=8),
    }


size_after = _function_check(
    "size_after", "572 -> 388, as in the paper", _tiles, _sides, "follow one small tile with a pencil, stage by stage"
)

# --- parameters of a double convolution


def _blocks(seed: int) -> list[tuple[int, int, bool]]:
    drawn = np.random.default_rng(seed).choice(np.arange(2, 60), (4, 2), replace=False).tolist()
    return [(inputs, outputs, norm) for (inputs, outputs), norm in zip(drawn, (True, False) * 2, strict=True)]


def _parameters(i: int, o: int, norm: bool) -> dict[str, float]:
    right = models.count_parameters(models.DoubleConv(i, o, norm="batch" if norm else "none"))
    return {
        "": right,
        "the second convolution takes out_channels, not in_channels": right + 9 * o * (i - o),
        "that is one convolution; the block has two": right - 9 * o * o - (2 * o if norm else o),
        "each kernel is 3 x 3: 9 weights for each pair of channels, not 3": right - 6 * o * (i + o),
        "batch norm is missing: it has 2 trained numbers a channel": right - 4 * o * norm,
        "before batch norm a convolution has no bias": right + 2 * o * norm,
        "that counts a bias in place of batch norm's 2 numbers a channel": right - 2 * o * norm,
        "batch norm's running mean and variance are measured, not trained": right + 4 * o * norm,
        "without batch norm each convolution has a bias": right - 2 * o * (not norm),
        "without batch norm there are kernels and biases, nothing else": right + 2 * o * (not norm),
    }


double_conv_parameters = _function_check(
    "double_conv_parameters",
    "batch norm's numbers and the missing bias are counted",
    _blocks,
    _parameters,
    "count layer by layer: kernels, biases, scales and shifts",
)

# --- a receptive field


receptive_field = number_check(
    "receptive_field",
    "and the table below goes on",
    32,
    {
        "that is six convolutions without the poolings between them": 13,
        "the poolings double the distance j, but their own kernel of 2 also adds (2 - 1) j": 29,
        "a layer's kernel counts with the distance j before its own stride, not after it": 35,
        "one pixel sees itself: r begins at 1, not at 0": 31,
        "that is before the last convolution": 24,
        "the third pooling comes after this double convolution": 36,
        "that is after the double convolution of stage 2": 14,
        "that is after the double convolution of stage 4": 68,
    },
    "begin with r = 1, j = 1, and write down both after each of the eight layers",
    1e-4,
)

# --- who paints whom


def _rows(seed: int) -> list[tuple[int, int, int]]:
    """Size, kernel and stride: uneven overlaps, even ones, none, gaps, and an ordinary convolution."""
    sizes = np.random.default_rng(seed).integers(4, 8, 7).tolist()
    kinds = ((3, 2), (2, 2), (4, 2), (5, 3), (1, 2), (2, 3), (3, 1))
    return [(size, *kind) for size, kind in zip(sizes, kinds, strict=True)]


def painted(size: int, kernel: int, stride: int) -> np.ndarray:
    """How many of `size` pixels paint each output pixel: torch's transposed convolution of ones with ones."""
    ones, patch = torch.ones(1, 1, size), torch.ones(1, 1, kernel)
    return F.conv_transpose1d(ones, patch, stride=stride)[0, 0].round().int().numpy()


def _collect_overlaps(student: Callable, seed: int) -> Collected:
    found = {}
    for case in _rows(seed):
        what = f"overlap_count{case}"
        row = as_array(call(student, *case, what="overlap_count"), what)
        expect(row.dtype.kind in "biuf", f"{what}: numbers are expected")
        expect(row.ndim <= 1 or row.size == max(row.shape), f"{what}: one row is expected, not a grid of counts")
        found[what] = row.reshape(-1)
    return found


def _judge_overlaps(arrays: Collected, seed: int) -> None:
    for (what, found), (size, kernel, stride) in zip(arrays.items(), _rows(seed), strict=True):
        right, ends, ordinary = painted(size, kernel, stride), -(-kernel // stride), (size - kernel) // stride + 1
        endless = painted(size + 2 * ends, kernel, stride)[ends * stride :][: len(right)]
        mistakes = {
            "that is the number of output pixels; count for each of them how many input pixels paint it": [len(right)],
            "these are squares: count along one axis only": right**2,
            "kernel and stride are swapped": painted(size, stride, kernel),
            "at both ends fewer patches meet; you continued the pattern of the middle": endless,
            "that is how many output pixels each input pixel paints; count for each output pixel": [kernel] * size,
            "the patches lie `stride` apart, not side by side or one pixel apart": painted(size, kernel, 1),
            "the end is missing: the last patch is painted whole": right[: size * stride],
        }
        if ordinary > 0:
            mistakes["that is an ordinary convolution with a stride, which makes the row shorter"] = [kernel] * ordinary
        hint = "input pixel i paints the pixels from i * stride to i * stride + kernel - 1"
        if len(found) == len(right):
            hint = f"output pixel {int(np.argmax(found != right))} is the first that differs; {hint}"
        else:
            hint = f"{len(found)} pixels are not as many as come out; {hint}"
        name_mistake(what, found, right, mistakes, hint)


overlap_count = Check(
    "overlap_count", "even where the stride divides the kernel, uneven elsewhere", _collect_overlaps, _judge_overlaps
)
