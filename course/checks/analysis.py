"""Checks of the exercises in notebook 05."""

import math
from collections.abc import Callable

import numpy as np
import torch

from course.checks.verdict import as_array, call, expect, passed
from labkit.metrics import dice_score, overlap_counts, per_image


def mean_dice(answer: Callable[[np.ndarray, np.ndarray], float]) -> None:
    """`answer(predictions, truths)`: the lab's measure for masks of 0 and 1, `[N, H, W]`."""
    what = "mean_dice"
    rng = np.random.default_rng(0)
    predictions, truths = (
        (rng.random((4, 6, 5)) > 0.55).astype(np.int64),
        (rng.random((4, 6, 5)) > 0.3).astype(np.int64),
    )
    truths[0] = 0
    truths[0, :2, :2] = 1  # one small pet, so that pooled and per image differ
    _judge_dice(what, answer, predictions, truths)
    for prediction, truth, right, case in (
        (0, 0, 1.0, "both masks are empty: that image counts 1"),
        (1, 0, 0.0, "the truth is empty and the prediction is not: that image counts 0"),
        (0, 1, 0.0, "the prediction is empty and the truth is not: that image counts 0"),
    ):
        value = _number(what, answer, np.full((1, 3, 3), prediction), np.full((1, 3, 3), truth))
        expect(abs(value - right) < 1e-3, f"{what}: {case}, found {value}")
    passed(what, "Dice per image, empty masks included")


def _judge_dice(what: str, answer: Callable, predictions: np.ndarray, truths: np.ndarray) -> None:
    counts = overlap_counts(torch.from_numpy(predictions), torch.from_numpy(truths))
    right = per_image(dice_score, counts).mean().item()
    both, predicted, true = counts[:, 0].double().T
    value = _number(what, answer, predictions.copy(), truths.copy())
    wrong = {
        "you divided by the union: that is IoU, not Dice": (both / (predicted + true - both)).mean().item(),
        "all pixels were pooled: that is pooled Dice; take each image's Dice and then the mean": (
            2 * both.sum() / (predicted.sum() + true.sum())
        ).item(),
        "the factor 2 in the numerator is missing": (both / (predicted + true)).mean().item(),
        "that is the share of right pixels (accuracy), which counts the background too": (predictions == truths).mean(),
        "that is precision: the truth's pixels are missing in the denominator": (both / predicted).mean().item(),
        "that is recall: the prediction's pixels are missing in the denominator": (both / true).mean().item(),
    }
    for advice, number in wrong.items():
        expect(not math.isclose(value, number, abs_tol=1e-4), f"{what}: {advice}")
    expect(
        math.isclose(value, right, abs_tol=1e-4),
        f"{what}: {right:.4f} is right for one of the tests, found {value:.4f}",
    )


def iou_from_dice(answer: Callable[[float], float]) -> None:
    """`answer(dice)`: the IoU of the same two masks."""
    what = "iou_from_dice"
    for dice in (0.0, 0.3, 0.5, 0.9, 1.0):
        value, right = float(as_array(call(answer, dice, what=what), what)), dice / (2 - dice)
        if 0 < dice < 1:
            inverse = 2 * dice / (1 + dice)
            expect(
                not math.isclose(value, inverse, rel_tol=1e-6),
                f"{what}: that is Dice from IoU; the inverse is asked for",
            )
            expect(
                not math.isclose(value, dice / 2, rel_tol=1e-6),
                f"{what}: IoU is not half of Dice; write both as counts",
            )
        expect(
            math.isclose(value, right, abs_tol=1e-6),
            f"{what}: Dice {dice} belongs to IoU {right:.4f}, found {value:.4f}",
        )
    passed(what, "IoU = Dice / (2 - Dice)")


def best_threshold(answer: Callable[[np.ndarray, np.ndarray, np.ndarray], float]) -> None:
    """`answer(probabilities, truths, thresholds)`: the threshold with the highest mean per-image Dice."""
    what = "best_threshold"
    thresholds = np.array([0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9])
    for seed, shift in ((1, 0.0), (2, 0.3), (4, -0.25)):
        rng = np.random.default_rng(seed)
        truths = (rng.random((5, 8, 8)) > 0.6).astype(np.int64)
        probabilities = np.clip(0.5 + shift + (truths - 0.5) * 0.3 + rng.normal(0, 0.18, truths.shape), 0.001, 0.999)
        scores = []
        for threshold in thresholds:
            cut = torch.from_numpy((probabilities > threshold).astype(np.int64))
            scores.append(per_image(dice_score, overlap_counts(cut, torch.from_numpy(truths))).mean().item())
        right, worst = thresholds[int(np.argmax(scores))], thresholds[int(np.argmin(scores))]
        given = as_array(call(answer, probabilities.copy(), truths.copy(), thresholds.copy(), what=what), what)
        expect(given.size == 1, f"{what}: one threshold is asked for, found {given.size} values")
        value = float(given.reshape(()))
        expect(
            not math.isclose(value, max(scores)) or right == value, f"{what}: that is the best Dice, not its threshold"
        )
        index = int(np.argmax(scores))
        expect(value in thresholds or value != index, f"{what}: that is the index; return the threshold at that index")
        expect(value != worst or worst == right, f"{what}: that is the worst threshold; is the sign right?")
        expect(math.isclose(value, right), f"{what}: {right} is best in one of the tests, found {value}")
    passed(what, "chosen by per-image Dice")


def _number(what: str, answer: Callable, predictions: np.ndarray, truths: np.ndarray) -> float:
    given = as_array(call(answer, predictions, truths, what=what), what)
    expect(given.size == 1, f"{what}: one number is asked for, the mean over the images; found shape {given.shape}")
    value = float(given.reshape(()))
    expect(not math.isnan(value), f"{what}: not a number came out; what should 0 / 0 be when both masks are empty?")
    return value
