"""Checks of notebook 05: what is called Dice, and calibration."""

from collections.abc import Callable, Mapping

import numpy as np
import torch

from course.calibration import calibration_counts
from course.calibration import calibration_error as expected_error
from course.checks.verdict import SMOOTHED, Check, Collected, call, expect, name_mistake, number_check, numbers
from labkit.metrics import dice_score, overlap_counts, per_image, pooled, soft_dice

# --- pooled and per image


two_means = number_check(
    "two_means",
    "one missed pet of two halves the one, and hardly moves the other",
    (0.5, 900 / 950),
    {
        "the two are swapped: first per image, then pooled": (900 / 950, 0.5),
        "pooled: 0.9 is the share of the pet's pixels that were found; Dice also counts the predicted ones": (0.5, 0.9),
        "per image: each image counts the same, however large its pet": (0.9, 900 / 950),
    },
    "work out each image's Dice and their mean; then add up the pixels of both images and use the formula",
    0.006,
)

# --- the reports' four definitions

REPORTS = ("000", "001", "002", "003")


def _predictions(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and truths of 10 images, which batches of 4 do not divide; small pets, of which one is missed."""
    rng = np.random.default_rng(seed)
    truths = (rng.random((10, 6, 6)) < rng.choice([0.1, 0.4, 0.7], (10, 1, 1))).astype(np.int64)
    truths[:, 2, 2] = 1
    probabilities = np.clip(0.5 + (truths - 0.5) * 0.5 + rng.normal(0, 0.27, truths.shape), 0.01, 0.99)
    probabilities[4] = 0.1 + 0.8 * truths[4]  # the best image
    probabilities[-1] *= 0.45  # in the short last batch
    return probabilities, truths


def _dices(seed: int) -> dict[str, dict[str, float]]:
    """For each report the right number, then what the usual mistakes give."""
    p, t = map(torch.from_numpy, _predictions(seed))
    counts = overlap_counts((p > 0.5).long(), t)
    images, batches = per_image(dice_score, counts), counts.split(4)
    parts = list(zip(p.split(4), t.split(4), strict=True))
    soft = [soft_dice(torch.logit(a)[:, None], b).item() for a, b in parts]
    squares = [(2 * (a * b).sum() / ((a**2).sum() + b.sum())).item() for a, b in parts]
    single = [soft_dice(torch.logit(a)[None, None], b[None]).item() for a, b in zip(p, t, strict=True)]
    halves = [(c[:, 0, 0], c[:, 0, 1:].sum(1)) for c in batches]  # of each image: in both, and the sum of the two sizes
    sums = [((a * b).sum(), a.sum() + b.sum()) for a, b in parts]
    by_batch, plain, top = [b.mean().item() for b in images.split(4)], images.mean().item(), images.sort().values
    weighed = "that is the plain mean; a mean of batch means gives the images of the short last batch more weight"
    return {
        "000": {
            "right": np.mean(by_batch),
            weighed: plain,
            SMOOTHED: np.mean([((2 * both + 1) / (size + 1)).mean() for both, size in halves]),
        },
        "001": {
            "right": top[-2:].mean().item(),
            "that is the best image alone": top[-1].item(),
            "those are the first two images": images[:2].mean().item(),
            "those are the two worst images": top[:2].mean().item(),
        },
        "002": {
            "right": np.mean([pooled(dice_score, b) for b in batches]),
            "that pools all images; pool each batch, then take the mean": pooled(dice_score, counts),
            "that is each image's Dice; pool the pixels of a batch": np.mean(by_batch),
            SMOOTHED: np.mean([(2 * both.sum() + 1) / (size.sum() + 1) for both, size in halves]),
        },
        "003": {
            "right": np.mean(soft),
            "that is hard Dice; use the probabilities as they are": np.mean([pooled(dice_score, b) for b in batches]),
            "that is soft per image; pool each batch": np.mean(single),
            "the probabilities are squared there; the report did not": np.mean(squares),
            SMOOTHED: np.mean([(2 * both + 1) / (size + 1) for both, size in sums]),
            "that pools all images; pool each batch": soft_dice(torch.logit(p)[:, None], t).item(),
        },
    }


def _collect_report_dices(student: Callable, seed: int) -> Collected:
    what = "report_dices"
    answer = call(student, *(part.copy() for part in _predictions(seed)), 4, what=what)
    expect(isinstance(answer, Mapping), f"{what}: a dictionary is expected, found {type(answer).__name__}")
    missing = [report for report in REPORTS if report not in answer]
    expect(not missing, f"{what}: no entry {', '.join(map(repr, missing))}")
    return {report: numbers(answer[report], f"{what}, report {report}", ()) for report in REPORTS}


def _judge_report_dices(arrays: Collected, seed: int) -> None:
    for report, known in _dices(seed).items():
        right, *mistakes = known.items()
        otherwise = "another number comes out; begin with one batch of one image, where all but 003 agree"
        name_mistake(f"report_dices, report {report}", arrays[report], right[1], dict(mistakes), otherwise)


report_dices = Check("report_dices", "four numbers for the same masks", _collect_report_dices, _judge_report_dices)

# --- calibration


def _claims(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of 400 pixels, one of them 1 and no bin of ten from 0.4 to 0.5, and whether they are pet."""
    rng = np.random.default_rng(seed)
    probabilities = np.append(rng.beta(0.6, 0.8, 399), 1.0)
    probabilities[(probabilities > 0.4) & (probabilities < 0.5)] = 0.93
    gap = np.select([probabilities < 0.5, probabilities < 0.75], [-0.1, 0.15], -0.25)  # of both signs, on both sides
    share = np.clip(probabilities + gap, 0, 1)
    return probabilities, np.append((rng.random(399) < share[:399]).astype(np.int64), 0)


def _collect_calibration(student: Callable, seed: int) -> Collected:
    what, (probabilities, truths) = "calibration_error", _claims(seed)
    answers = [call(student, probabilities.copy(), truths.copy(), bins, what=what) for bins in (10, 4)]
    return {"errors": np.array([numbers(answer, what, ()) for answer in answers])}


def _judge_calibration(arrays: Collected, seed: int) -> None:
    what, (p, t) = "calibration_error", _claims(seed)

    def each(error: Callable[[np.ndarray], float], p: np.ndarray = p, t: np.ndarray = t) -> list[float]:
        return [error(calibration_counts(p.reshape(1, 1, -1), t.reshape(1, 1, -1), bins)) for bins in (10, 4)]

    def gaps(counts: np.ndarray) -> np.ndarray:
        pixels, confidence, pet = counts.sum(0)[counts.sum(0)[:, 0] > 0].T
        return np.abs(confidence - pet) / pixels

    def from_middles(counts: np.ndarray) -> float:
        pixels, _, pet = counts.sum(0).T
        return float(np.abs(pixels * (np.arange(len(pixels)) + 0.5) / len(pixels) - pet).sum() / pixels.sum())

    sure, correct = np.maximum(p, 1 - p), ((p > 0.5) == t).astype(np.int64)
    mistakes = {
        "every bin counts the same there; weigh it by its pixels": each(lambda c: gaps(c).mean()),
        "that is the largest gap of a bin (MCE); the mean over pixels is asked for": each(lambda c: gaps(c).max()),
        "that takes the middle of a bin for its mean probability": each(from_middles),
        "a probability of exactly 1 falls out of the last bin": [
            v * 399 / 400 for v in each(expected_error, p[:-1], t[:-1])
        ],
        "a probability of exactly 1 is left out": each(expected_error, p[:-1], t[:-1]),
        "that is how far each pixel is from its own truth; compare the means of a bin": [np.abs(p - t).mean()] * 2,
        "that is the Brier score": [((p - t) ** 2).mean()] * 2,
        "gaps of both signs cancel; take the absolute value of each bin's": [abs((p - t).mean())] * 2,
        "that bins how sure the decision is; bin the probability of pet itself": each(expected_error, sure, correct),
        "that compares with the share of right decisions; take the share of pet": each(expected_error, p, correct),
    }
    otherwise = "try two pixels of probability 0.2 of which none is pet: their bin's gap is 0.2"
    name_mistake(what, arrays["errors"], each(expected_error), mistakes, otherwise, tolerance=1e-6)


calibration_error = Check(
    "calibration_error", "weighed by pixels, empty bins included", _collect_calibration, _judge_calibration
)
