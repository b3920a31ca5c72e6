"""Checks of the exercises in notebook 04."""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from course.checks.verdict import as_array, call, expect, passed


def bce_from_logits(answer: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
    """`answer(logits, truth)`: mean binary cross-entropy of logits, finite for logits of +-200."""
    what = "bce_from_logits"
    generator = torch.Generator().manual_seed(0)
    for shape in ((5,), (2, 7, 3)):
        logits = 3 * torch.randn(shape, generator=generator)
        truth = (torch.rand(shape, generator=generator) > 0.4).float()
        given = as_array(call(answer, logits.clone(), truth.clone(), what=what), what)
        right = F.binary_cross_entropy_with_logits(logits, truth).item()
        expect(given.size == 1, f"{what}: one number is asked for, the mean over all pixels; found shape {given.shape}")
        value = float(given.reshape(()))
        expect(not _close(value, right * logits.numel()), f"{what}: you took the sum over the pixels; take the mean")
        expect(not _close(value, -right), f"{what}: the sign is wrong; the loss is minus the log of the probability")
        flipped = F.binary_cross_entropy_with_logits(logits, 1 - truth).item()
        expect(not _close(value, flipped), f"{what}: truth 0 and 1 are swapped")
        twice = F.binary_cross_entropy_with_logits(logits.sigmoid(), truth).item()
        expect(not _close(value, twice), f"{what}: the sigmoid is applied twice; softplus takes the logit itself")
        expect(_close(value, right), f"{what}: {right:.4f} is right for one of the tests, found {value:.4f}")
    far = torch.tensor([200.0, -200.0])
    value = float(as_array(call(answer, far, torch.tensor([0.0, 1.0]), what=what), what).reshape(()))
    expect(
        math.isfinite(value) and abs(value - 200) < 1,
        f"{what}: for logits of 200 and -200 on the wrong side the loss is 200, found {value}; log(sigmoid(x)) in two "
        "steps overflows: use softplus, or log1p(exp(-|x|))",
    )
    value = float(as_array(call(answer, far, torch.tensor([1.0, 0.0]), what=what), what).reshape(()))
    expect(abs(value) < 1e-3, f"{what}: for logits of 200 and -200 on the right side the loss is 0, found {value}")
    passed(what, "right, and finite for every logit")


def cosine_rate(answer: Callable[[int, int, float], float]) -> None:
    """`answer(step, steps, peak)`: half a cosine from `peak` at step 0 to 0 at step `steps`."""
    what = "cosine_rate"
    for steps, peak in ((10, 0.1), (37, 4e-3)):
        given = np.array([float(as_array(call(answer, s, steps, peak, what=what), what)) for s in range(steps + 1)])
        right = np.array([0.5 * peak * (1 + math.cos(math.pi * s / steps)) for s in range(steps + 1)])
        close = np.allclose(given, right, rtol=1e-5, atol=1e-9)
        expect(not np.allclose(given, right[::-1], atol=1e-9) or close, f"{what}: it rises from 0 but must fall to 0")
        degrees = [0.5 * peak * (1 + math.cos(math.radians(math.pi * s / steps))) for s in range(steps + 1)]
        expect(not np.allclose(given, degrees), f"{what}: cos takes radians; pi * step / steps is already in radians")
        full = [0.5 * peak * (1 + math.cos(2 * math.pi * s / steps)) for s in range(steps + 1)]
        expect(not np.allclose(given, full), f"{what}: a whole cosine rises again; use half of one")
        expect(not np.allclose(given, 2 * right), f"{what}: twice too high; 1 + cos goes up to 2")
        quarter = [peak * math.cos(0.5 * math.pi * s / steps) for s in range(steps + 1)]
        expect(not np.allclose(given, quarter, atol=1e-9), f"{what}: that is a quarter of a cosine, with a steep end")
        worst = int(np.abs(given - right).argmax())
        expect(close, f"{what}: at step {worst} of {steps} {right[worst]:.5f} is right, found {given[worst]:.5f}")
    passed(what, "half a cosine from the peak to zero")


def moving_average(answer: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]) -> None:
    """`answer(average, weights, decay)`: the average after one more step (a new tensor, or changed in place)."""
    what = "moving_average"
    generator = torch.Generator().manual_seed(1)
    for decay in (0.9, 0.25):
        average, weights = (torch.randn(4, 3, generator=generator) for _ in range(2))
        right = decay * average + (1 - decay) * weights
        swapped = (1 - decay) * average + decay * weights
        place, fresh = average.clone(), weights.clone()
        given = call(answer, place, fresh, decay, what=what)
        given = as_array(place if given is None else given, what)
        expect(np.allclose(fresh, weights), f"{what}: the weights themselves were changed; only the average may change")
        expect(given.shape == (4, 3), f"{what}: the average keeps the shape of the weights, found {given.shape}")
        expect(
            not np.allclose(given, swapped.numpy(), atol=1e-6),
            f"{what}: the shares are swapped; `decay` is what stays of the average",
        )
        expect(
            not np.allclose(given, (average + weights).numpy() / 2, atol=1e-6),
            f"{what}: that is the plain mean of the two; the decay is not used",
        )
        expect(
            not np.allclose(given, (decay * average + weights).numpy(), atol=1e-6),
            f"{what}: the shares must add up to 1; the new weights count 1 - decay",
        )
        expect(
            np.allclose(given, right.numpy(), atol=1e-6),
            f"{what}: decay * average + (1 - decay) * weights is asked for",
        )
    passed(what, "the average follows the weights slowly")


def break_even(answer: Callable[[float, float, float], float]) -> None:
    """`answer(once, before, after)`: steps until faster steps have saved the `once` seconds."""
    what = "break_even"
    for once, before, after in ((36.0, 0.5, 0.38), (1.0, 0.25, 0.1), (10.0, 2.0, 1.2)):
        given = float(as_array(call(answer, once, before, after, what=what), what))
        right = once / (before - after)
        expect(not _close(given, once / after), f"{what}: what a step saves is before - after, not its whole time")
        expect(
            not _close(given, once / (before / after - 1)),
            f"{what}: those are seconds of the faster training; return steps",
        )
        expect(
            right - 1e-6 * right <= given <= math.ceil(right - 1e-9) + 1e-6,
            f"{what}: {once:g} s for steps of {after:g} instead of {before:g} s pay off after {right:.1f} steps, "
            f"found {given:g}",
        )
    for before, after in ((0.3, 0.3), (0.3, 0.4)):
        given = float(as_array(call(answer, 5.0, before, after, what=what), what))
        expect(given == math.inf, f"{what}: steps that are not faster never pay off: infinity, found {given:g}")
    passed(what, "the cost divided by what each step saves")


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6)
