"""The checks of notebook 04 accept right answers however written and name the usual wrong ones."""

import math

import pytest
import torch
import torch.nn.functional as F

from course import checks
from course.checks.verdict import WrongAnswer


def stable_by_hand(x, t):
    total = 0.0
    for logit, truth in zip(x.flatten().tolist(), t.flatten().tolist(), strict=True):
        total += max(logit, 0) - logit * truth + math.log1p(math.exp(-abs(logit)))
    return total / x.numel()


@pytest.mark.parametrize("answer", [F.binary_cross_entropy_with_logits, stable_by_hand], ids=["torch", "loop"])
def test_right_cross_entropies_pass(answer, capsys):
    checks.bce_from_logits(answer)
    assert "✓ bce_from_logits" in capsys.readouterr().out


def patched(x, t):
    values = -(t * x.sigmoid().log() + (1 - t) * (1 - x.sigmoid()).log())
    return torch.where(values.isfinite(), values, x.abs()).mean()


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (patched, "on the right side"),
        (lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction="sum"), "you took the sum"),
        (lambda x, t: -F.binary_cross_entropy_with_logits(x, t), "the sign is wrong"),
        (lambda x, t: F.binary_cross_entropy_with_logits(x, 1 - t), "swapped"),
        (lambda x, t: F.binary_cross_entropy_with_logits(x.sigmoid(), t), "applied twice"),
        (lambda x, t: -(t * x.sigmoid().log() + (1 - t) * (1 - x.sigmoid()).log()).mean(), "overflows"),
        (lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction="none"), "one number"),
        (lambda x, t: None, "return"),
        (lambda x, t: x.nothing(), "AttributeError"),
        (..., "a function is expected"),
    ],
)
def test_wrong_cross_entropies_are_named(answer, advice):
    with pytest.raises(WrongAnswer, match=advice):
        checks.bce_from_logits(answer)


@pytest.mark.parametrize(
    "answer",
    [
        lambda s, n, p: p * (1 + math.cos(math.pi * s / n)) / 2,
        lambda s, n, p: torch.tensor(p * math.cos(math.pi * s / n / 2) ** 2),
    ],
    ids=["formula", "squared cosine"],
)
def test_right_cosines_pass(answer, capsys):
    checks.cosine_rate(answer)
    assert "✓ cosine_rate" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda s, n, p: p * (1 - math.cos(math.pi * s / n)) / 2, "rises from 0"),
        (lambda s, n, p: p * (1 + math.cos(math.radians(math.pi * s / n))) / 2, "radians"),
        (lambda s, n, p: p * (1 + math.cos(2 * math.pi * s / n)) / 2, "whole cosine"),
        (lambda s, n, p: p * (1 + math.cos(math.pi * s / n)), "twice too high"),
        (lambda s, n, p: p * math.cos(math.pi * s / n / 2), "quarter"),
        (lambda s, n, p: p * (1 - s / n), "is right, found"),
    ],
)
def test_wrong_cosines_are_named(answer, advice):
    with pytest.raises(WrongAnswer, match=advice):
        checks.cosine_rate(answer)


def in_place(average, weights, decay):
    average.mul_(decay).add_(weights, alpha=1 - decay)


@pytest.mark.parametrize(
    "answer",
    [lambda a, w, d: d * a + (1 - d) * w, lambda a, w, d: a.lerp(w, 1 - d), in_place],
    ids=["formula", "lerp", "in place"],
)
def test_right_averages_pass(answer, capsys):
    checks.moving_average(answer)
    assert "✓ moving_average" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda a, w, d: (1 - d) * a + d * w, "swapped"),
        (lambda a, w, d: (a + w) / 2, "plain mean"),
        (lambda a, w, d: d * a + w, "add up to 1"),
        (lambda a, w, d: w.mul_(1 - d).add_(a, alpha=d), "weights themselves were changed"),
        (lambda a, w, d: (d * a + (1 - d) * w).mean(), "keeps the shape"),
    ],
)
def test_wrong_averages_are_named(answer, advice):
    with pytest.raises(WrongAnswer, match=advice):
        checks.moving_average(answer)


def test_break_even_accepts_steps_whole_or_not_and_names_what_is_wrong():
    checks.break_even(lambda once, before, after: once / (before - after) if after < before else math.inf)
    checks.break_even(lambda once, before, after: math.ceil(once / (before - after)) if after < before else math.inf)
    for wrong, advice in (
        (lambda once, before, after: once / after, "before - after"),
        (lambda once, before, after: once / (before / after - 1), "seconds of the faster training"),
        (lambda once, before, after: math.floor(once / (before - after)) - 1, "pay off after"),
        (lambda once, before, after: once / abs(before - after or 1e-9), "infinity"),
        (lambda once, before, after: None, "nothing came back"),
    ):
        with pytest.raises(WrongAnswer, match=advice):
            checks.break_even(wrong)
