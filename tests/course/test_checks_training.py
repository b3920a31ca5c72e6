"""The checks of notebook 04 about losses accept right answers however written and name the usual mistakes."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from course import checks
from labkit.training import dice_loss
from tests.course.refusals import failing, refuse

EXERCISES = (
    *("fresh_losses", "bce_from_logits", "soft_dice_loss", "loss_and_mask", "steps_and_rate"),
    *("train_step", "train_epoch", "validate", "train", "resume", "first_losses", "evaluate", "keeper"),
    *("whole_step", "growing_share", "median_seconds", "read_batch", "break_even"),
)


@pytest.mark.parametrize("name", EXERCISES)
@pytest.mark.parametrize("answer", [None, ..., "text", failing, lambda *_: None, lambda *_: torch.zeros(2, 3, 4)])
def test_nonsense_gets_a_sentence(name, answer):
    refuse(getattr(checks, name), answer, "[A-Za-z]{3}")


# --- predictions


def test_losses_of_a_network_that_knows_nothing():
    for right in ((0.69, 0.6), [math.log(2), 0.6], torch.tensor([0.693, 0.6])):
        checks.fresh_losses(right)
    for wrong, advice in (
        ((1.0, 0.6), "base 2"),
        ((0.5, 0.6), "minus its logarithm"),
        ((-0.69, 0.6), "minus it"),
        ((0.69, 0.4), "1 minus it"),
        ((0.69, 0.5), "1 everywhere"),
        ((0.69, 0.75), "IoU"),
        (0.69, "two numbers"),
    ):
        refuse(checks.fresh_losses, wrong, advice)


def test_the_number_behind_the_prediction_is_the_labs():
    logits, truth = torch.zeros(1, 1, 300, 300), torch.zeros(1, 300, 300, dtype=torch.long)
    truth[:, :100] = 1
    assert dice_loss(logits, truth).item() == pytest.approx(0.6, abs=1e-4)


def test_steps_and_rate():
    for right in ((6032, 0.00341), [6032, 3.4142e-3], np.array([6032, 0.003414])):
        checks.steps_and_rate(right)
    for wrong, advice in (
        ((5974, 0.003414), "last, smaller batch"),
        ((6031, 0.003414), "round up"),
        ((6003, 0.003414), "whole number of steps"),
        ((104, 0.003414), "one epoch"),
        ((192096, 0.003414), "images"),
        ((6032, 0.003), "straight line"),
        ((6032, 0.003696), "quarter of a cosine"),
        ((6032, 0.000586), "rises from zero"),
        ((6032, 0.002828), "as it is"),
        ((6032, 0.002), "whole cosine"),
        ((6032, 0.00683), "twice too high"),
        ((6032, 0.0039998), "radians"),
        (6032, "two numbers"),
    ):
        refuse(checks.steps_and_rate, wrong, advice)


# --- cross-entropy


def torchs(x, t, **how):
    return F.cross_entropy(torch.stack([torch.zeros_like(x), x], 1), t.long(), **how)


def stable_by_hand(x, t):
    total = 0.0
    for logit, truth in zip(x.flatten().tolist(), t.flatten().tolist(), strict=True):
        total += max(logit, 0) - logit * truth + math.log1p(math.exp(-abs(logit)))
    return total / x.numel()


@pytest.mark.parametrize(
    "answer",
    [
        torchs,
        stable_by_hand,
        lambda x, t: F.softplus(torch.where(t == 1, -x, x)).mean(),
        lambda x, t: torch.logaddexp(torch.zeros(()), x - 2 * x * t).mean(),
    ],
)
def test_right_cross_entropies_pass(answer, capsys):
    for seed in (0, 7):
        checks.bce_from_logits(answer, seed)
    assert "✓ bce_from_logits" in capsys.readouterr().out


def patched(x, t):
    values = -(t * x.sigmoid().log() + (1 - t) * (1 - x.sigmoid()).log())
    return torch.where(values.isfinite(), values, x.abs()).mean()


def clamped(x, t):
    p = x.sigmoid().clamp(1e-7, 1 - 1e-7)
    return -(t * p.log() + (1 - t) * (1 - p).log()).mean()


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (patched, "on the right side"),
        (clamped, "clamped"),
        (lambda x, t: torchs(x, t, reduction="sum"), "you took the sum"),
        (lambda x, t: -torchs(x, t), "the sign is wrong"),
        (lambda x, t: torchs(x, 1 - t), "swapped"),
        (lambda x, t: torchs(x.sigmoid(), t), "applied twice"),
        (lambda x, t: (t * F.softplus(-x)).mean(), "background count for nothing"),
        (lambda x, t: -(t * x.sigmoid().log() + (1 - t) * (1 - x.sigmoid()).log()).mean(), "overflows"),
        (lambda x, t: torchs(x, t, reduction="none"), "one number"),
        (F.binary_cross_entropy_with_logits, "calls binary_cross_entropy_with_logits"),
        (torch.nn.BCEWithLogitsLoss(), "calls binary_cross_entropy_with_logits"),
        (lambda x, t: F.binary_cross_entropy(x.sigmoid(), t), "calls binary_cross_entropy,"),
        (lambda x, t: x.nothing(), "AttributeError"),
    ],
)
def test_wrong_cross_entropies_are_named(answer, advice):
    refuse(checks.bce_from_logits, answer, advice, seeds=3)


# --- Dice loss


def dice(x, t):
    p = torch.sigmoid(x)
    return 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)


@pytest.mark.parametrize(
    "answer",
    [
        dice,
        lambda x, t: dice_loss(x[:, None], t.long()),
        lambda x, t: 1 - (2 * torch.dot(x.sigmoid().flatten(), t.flatten()) + 1) / (x.sigmoid() + t).sum().add(1),
    ],
)
def test_right_dice_losses_pass(answer):
    for seed in (0, 7):
        checks.soft_dice_loss(answer, seed)


def each_image(x, t):
    return torch.stack([dice(a, b) for a, b in zip(x, t, strict=True)])


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda x, t: 1 - (2 * (x * t).sum() + 1) / (x.sum() + t.sum() + 1), "sigmoid is missing"),
        (lambda x, t: 1 - dice(x, t), "1 minus it"),
        (lambda x, t: each_image(x, t).mean(), "over the whole batch"),
        (each_image, "not one for each image"),
        (lambda x, t: dice(200 * x, t), "cut at one half"),
        (lambda x, t: 1 - ((p := x.sigmoid()) * t).sum().mul(2) / (p.sum() + t.sum()), "the 1 above"),
        (
            lambda x, t: 1 - (2 * ((p := x.sigmoid()) * t).sum() + 1) / ((p * p).sum() + (t * t).sum() + 1),
            "squares",
        ),
        (lambda x, t: 1 - (((p := x.sigmoid()) * t).sum() + 1) / ((p + t - p * t).sum() + 1), "IoU"),
        (lambda x, t: dice(x.sigmoid(), t), "applied twice"),
        (lambda x, t: 1 - (((p := x.sigmoid()) * t).sum() + 1) / (p.sum() + t.sum() + 1), "factor 2"),
        (lambda x, t: dice(x.detach(), t), "no gradient"),
        (lambda x, t: dice(x, t).item(), "no gradient"),
    ],
)
def test_wrong_dice_losses_are_named(answer, advice):
    refuse(checks.soft_dice_loss, answer, advice, seeds=5)


# --- a sigmoid too many


def one_sigmoid(x, t):
    return F.binary_cross_entropy_with_logits(x, t) + dice(x, t), x > 0


def on_probabilities(x, t):
    p = x.sigmoid()
    return F.binary_cross_entropy(p, t) + dice(x, t), (p > 0.5).long()


@pytest.mark.parametrize("answer", [one_sigmoid, on_probabilities, lambda x, t: [*one_sigmoid(x, t)]])
def test_one_sigmoid_in_each_place_passes(answer):
    for seed in (0, 7):
        checks.loss_and_mask(answer, seed)


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda x, t: (F.binary_cross_entropy_with_logits(x.sigmoid(), t) + dice(x, t), x > 0), "sigmoid twice"),
        (
            lambda x, t: (
                F.binary_cross_entropy_with_logits(x, t) + 1 - (2 * (x * t).sum() + 1) / (x.sum() + t.sum() + 1),
                x > 0,
            ),
            "gets logits now",
        ),
        (lambda x, t: (F.binary_cross_entropy_with_logits(x, t) + dice(x.sigmoid(), t), x > 0), "two sigmoids"),
        (lambda x, t: (F.binary_cross_entropy_with_logits(x, t), x > 0), "Dice loss is gone"),
        (lambda x, t: (one_sigmoid(x, t)[0], x > 0.5), "logit of 0"),
        (lambda x, t: (one_sigmoid(x, t)[0], x.sigmoid()), "cut them"),
        (lambda x, t: (one_sigmoid(x, t)[0], x.sigmoid().sigmoid() > 0.5), "second one stands before the cut"),
        (lambda x, t: one_sigmoid(x, t)[0], "two things"),
        (
            lambda x, t: (F.binary_cross_entropy_with_logits(x, t) + dice(x.detach(), t), x > 0),
            "no gradient comes from the Dice",
        ),
        (
            lambda x, t: (F.binary_cross_entropy_with_logits(x.detach(), t) + dice(x, t), x > 0),
            "no gradient comes from the cross",
        ),
        (lambda x, t: (one_sigmoid(x, t)[0].item(), x > 0), "no gradient reaches"),
    ],
)
def test_wrong_repairs_of_the_sigmoid_are_named(answer, advice):
    refuse(checks.loss_and_mask, answer, advice, seeds=2)
