"""Check of notebook 02's exercise on up-convolutions: how many input pixels paint each output pixel."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from course.checks.verdict import as_array, call, expect, passed

CASES = ((6, 3, 2), (5, 2, 2), (5, 4, 2), (4, 5, 3), (4, 1, 2), (3, 2, 3), (5, 3, 1))
"""Size, kernel and stride: uneven overlaps, even ones, none, gaps, and an ordinary convolution."""


def overlap_count(answer: Callable[[int, int, int], Sequence[int]]) -> None:
    """Check `answer(size, kernel, stride)`: how many pixels of a row paint each pixel of the up-convolved row.

    The row has `size` pixels, the transposed convolution no padding, so that `(size - 1) * stride + kernel` come out.
    """
    for size, kernel, stride in CASES:
        what = f"overlap_count({size}, {kernel}, {stride})"
        right = painted(size, kernel, stride)
        given = as_array(call(answer, size, kernel, stride, what="overlap_count"), what)
        expect(given.ndim <= 1 or given.size == max(given.shape), f"{what}: one row is expected, not a grid of counts")
        given = given.reshape(-1)
        expect(np.issubdtype(given.dtype, np.number), f"{what}: numbers are expected, found {given.dtype}")
        for advice, value in _usual_mistakes(size, kernel, stride).items():
            expect(_same(given, right) or not _same(given, value), f"{what}: {advice}")
        expect(
            len(given) == len(right),
            f"{what}: {len(right)} pixels come out, found {len(given)}; the last patch begins at (size - 1) * stride "
            "and is kernel wide",
        )
        place = int(np.argmax(given != right))
        expect(
            _same(given, right),
            f"{what}: output pixel {place} is painted by {right[place]} input pixels, found {given[place]:g}; input "
            "pixel i paints the pixels from i * stride to i * stride + kernel - 1",
        )
    passed("overlap_count", "even where the stride divides the kernel, uneven elsewhere")


def painted(size: int, kernel: int, stride: int) -> np.ndarray:
    """How many of `size` pixels paint each output pixel: torch's transposed convolution of ones with ones."""
    ones, patch = torch.ones(1, 1, size), torch.ones(1, 1, kernel)
    return F.conv_transpose1d(ones, patch, stride=stride)[0, 0].round().int().numpy()


def _usual_mistakes(size: int, kernel: int, stride: int) -> dict[str, np.ndarray]:
    right = painted(size, kernel, stride)
    ordinary = (size - kernel) // stride + 1
    wrong = {
        "that is the number of output pixels; count for each of them how many input pixels paint it": [len(right)],
        "these are squares: count along one axis only": right**2,
        "kernel and stride are swapped": painted(size, stride, kernel),
        "at both ends fewer patches meet; you continued the pattern of the middle": _endless(size, kernel, stride),
        "this counts how many output pixels each input pixel paints; count for each output pixel": [kernel] * size,
        "the patches lie `stride` apart, not side by side or one pixel apart": painted(size, kernel, 1),
        "the end is missing: the last patch is painted whole": right[: size * stride],
    }
    if ordinary > 0:
        wrong["that is an ordinary convolution with a stride, which makes the row shorter"] = [kernel] * ordinary
    return {advice: np.asarray(value) for advice, value in wrong.items()}


def _endless(size: int, kernel: int, stride: int) -> np.ndarray:
    """The counts in a row without ends."""
    ends = -(-kernel // stride)
    return painted(size + 2 * ends, kernel, stride)[ends * stride :][: (size - 1) * stride + kernel]


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool((a == b).all())
