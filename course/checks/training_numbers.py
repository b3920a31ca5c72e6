"""Checks of notebook 04: what one knows before a training starts, as numbers to write down."""

import math

from course.checks.verdict import Check, Collected, name_mistake, numbers


def _judge_fresh_losses(arrays: Collected, seed: int) -> None:
    what, (bce, dice) = "fresh_losses", arrays["losses"]
    name_mistake(
        f"{what}, cross-entropy",
        bce,
        math.log(2),
        {
            "that is the logarithm to base 2; the loss has the natural one": 1.0,
            "that is the probability; the loss is minus its logarithm": 0.5,
            "that is the logarithm; the loss is minus it": -math.log(2),
            "that is a loss of 0, which a network has that is sure and right": 0.0,
        },
        "a logit of 0 is a probability of one half, whatever the truth; take minus its logarithm",
        tolerance=0.006,
    )
    name_mistake(
        f"{what}, Dice loss",
        dice,
        0.6,
        {
            "that is the Dice of the probabilities; the loss is 1 minus it": 0.4,
            "that is for a mask that is 1 everywhere; the probabilities are one half": 0.5,
            "that is 1 minus the IoU; Dice counts what both have twice": 0.75,
            "a factor of 2 is missing above the line": 0.8,
        },
        "per pixel the sum of p t is a half of a third, the sum of p a half, the sum of t a third",
        tolerance=0.006,
    )


fresh_losses = Check(
    "fresh_losses",
    "a network that knows nothing has these",
    lambda student, seed: {"losses": numbers(student, "fresh_losses", (2,))},
    _judge_fresh_losses,
)


def _judge_steps_and_rate(arrays: Collected, seed: int) -> None:
    what, (steps, rate) = "steps_and_rate", arrays["pair"]
    name_mistake(
        f"{what}, steps",
        steps,
        104 * 58,
        {
            "the last, smaller batch of each epoch is a step, too": 103 * 58,
            "an epoch has a whole number of steps; round up before you multiply": 3312 * 58 / 32,
            "those are the steps of one epoch": 104,
            "those are images; a step takes a batch of them": 3312 * 58,
        },
        "divide the images by the batch size, round up, multiply by the epochs",
        tolerance=0.4,
    )
    name_mistake(
        f"{what}, rate",
        rate,
        0.004 * (1 + math.cos(math.pi / 4)) / 2,
        {
            "that is a straight line from the peak to zero": 0.003,
            "that is a quarter of a cosine, which falls from the peak to zero with a steep end": 0.004
            * math.cos(math.pi / 8),
            "it rises from zero; the cosine begins at the peak": 0.004 * (1 - math.cos(math.pi / 4)) / 2,
            "the cosine is used as it is; half of 1 + cos falls to zero": 0.004 * math.cos(math.pi / 4),
            "cos takes radians; pi / 4 is already in radians": 0.004 * (1 + math.cos(math.radians(math.pi / 4))) / 2,
            "a whole cosine rises again; use half of one": 0.002,
            "twice too high; 1 + cos goes up to 2": 0.004 * (1 + math.cos(math.pi / 4)),
        },
        "put one quarter of the steps into the formula",
        tolerance=2e-5,
    )


steps_and_rate = Check(
    "steps_and_rate",
    "known before the first step",
    lambda student, seed: {"pair": numbers(student, "steps_and_rate", (2,))},
    _judge_steps_and_rate,
)
