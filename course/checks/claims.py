"""Checks of the exercises in notebook 08."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from course.checks.verdict import WrongAnswer, as_array, call, expect, passed
from course.experiments.claims import parse_claim
from labkit.analysis.compare import holm_levels
from labkit.errors import LabError

VERDICTS = ("supported", "refuted", "undecided")
BETS = ("ranking", "flips", "dice-loss", "sigmoid", "dropout")


def guesses(answer: Mapping[str, str]) -> None:
    """A verdict for each of five claims, whichever."""
    what = "guesses"
    expect(isinstance(answer, Mapping), f"{what}: a dictionary is expected, found {type(answer).__name__}")
    for name in BETS:
        expect(name in answer, f"{what}: {name!r} is missing; guess for all five")
        text = f"{what}: {name!r} is {answer.get(name)!r}; use one of {', '.join(VERDICTS)}"
        expect(answer[name] in VERDICTS, text)
    passed(what, "five bets; section 4 settles them")


def claim_file(answer: Mapping[str, Any]) -> None:
    """A claim about a cosine schedule, as the dictionary of a file."""
    what = "claim_file"
    expect(isinstance(answer, Mapping), f"{what}: a dictionary is expected, found {type(answer).__name__}")
    try:
        claim = parse_claim(dict(answer), "mine")
    except LabError as error:
        raise WrongAnswer(f"{what}: {error}") from None
    expect(claim.seeds >= 3, f"{what}: {claim.seeds} seeds; with fewer than three there is no spread to speak of")
    expect(len(claim.arms) == 2, f"{what}: {len(claim.arms)} arms; two are compared here")
    one, other = (arm.changes for arm in claim.arms.values())
    differs = {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
    advice = "two arms that differ in several things cannot say which of them it was"
    expect(len(differs) <= 1, f"{what}: the arms differ in {', '.join(sorted(differs))}; {advice}")
    expect(differs == {"training.schedule"}, f"{what}: the arms must differ in 'training.schedule', and do not")
    values = {arm.changes.get("training.schedule", "constant") for arm in claim.arms.values()}
    expect(values == {"constant", "cosine"}, f"{what}: the schedules are constant and cosine, found {sorted(values)}")
    expect(claim.comparisons, f"{what}: no comparison; nothing would be judged")
    for one in claim.comparisons:
        expect(one.measure == "dice", f"{what}: the measure is {one.measure}; the claim is about Dice")
        expect(one.second is not None, f"{what}: a comparison needs `first` and `second`; Dice alone is always above 0")
        expect(one.first != one.second, f"{what}: {one.first} is compared with itself")
        ahead = claim.arms[one.first].changes.get("training.schedule") == "cosine"
        expect(ahead == (one.expected == "higher"), f"{what}: this comparison says that the constant rate is better")
    same = claim.supported.strip().lower() == claim.refuted.strip().lower()
    expect(not same, f"{what}: `supported` and `refuted` say the same; what would show that the claim is wrong?")
    passed(what, "a claim that a run can refute")


def pooled(answer: Callable[[Sequence[Sequence[float]]], float]) -> None:
    """`answer(arms)`: the variance within arms, pooled."""
    what, rng = "pooled", np.random.default_rng(8)
    arms = [rng.normal(center, 0.3, size).tolist() for center, size in ((0.0, 3), (4.0, 5), (1.0, 2), (7.0, 3))]
    everything = np.concatenate([np.array(arm) for arm in arms])
    squares = sum(((np.array(arm) - np.mean(arm)) ** 2).sum() for arm in arms)
    right = squares / (len(everything) - len(arms))
    value = _number(what, answer, arms)
    _usual(
        what,
        value,
        right,
        {
            "the deviations are from the mean of all runs, so that what the arms differ in counts as spread": (
                everything.var(ddof=1),
                everything.var(),
            ),
            "divide by the runs minus the arms: each arm's mean has used up one run": (squares / len(everything),),
            "only one run was subtracted, and there is a mean in each arm": (squares / (len(everything) - 1),),
            "that is the mean of the arms' variances, which gives an arm of two runs as much weight as one of five": (
                np.mean([np.var(arm, ddof=1) for arm in arms]),
                np.mean([np.var(arm) for arm in arms]),
            ),
            "that is a standard deviation; the variance is asked for": (np.sqrt(right),),
        },
    )
    passed(what, "one spread from many arms")


def standard_error(answer: Callable[[np.ndarray, np.ndarray, float], float]) -> None:
    """`answer(first, second, variance)`: of the difference of two arms' means, over images and seeds."""
    what, rng = "standard_error", np.random.default_rng(9)
    hard = rng.gamma(0.5, 0.2, 40)
    first, second = (0.9 - hard + rng.normal(0, 0.05, (seeds, 40)) for seeds in (3, 5))
    variance = 2e-4
    differences = first.mean(0) - second.mean(0)
    images, runs = differences.var(ddof=1) / 40, 1 / 3 + 1 / 5
    unpaired = first.mean(0).var(ddof=1) / 40 + second.mean(0).var(ddof=1) / 40
    seeds = variance * runs
    _usual(
        what,
        _number(what, answer, first, second, variance),
        np.sqrt(images + seeds),
        {
            "the images are not paired: subtract image by image, and take the variance of the differences": (
                np.sqrt(unpaired + seeds),
            ),
            "that is the variance; its square root is asked for": (images + seeds,),
            "the part of the seeds is missing: other seeds would give another difference": (np.sqrt(images),),
            "the part of the images is missing": (np.sqrt(seeds),),
            "the variance of the differences was not divided by the number of images": (np.sqrt(images * 40 + seeds),),
            "the seeds' variance was not divided by the numbers of seeds: more seeds must make it smaller": (
                np.sqrt(images + variance),
                np.sqrt(images + 2 * variance),
            ),
            "both arms were given the same number of seeds; they have 3 and 5 here": (
                np.sqrt(images + variance * 2 / 3),
                np.sqrt(images + variance * 2 / 5),
            ),
            "the two errors were added; their squares are to be": (np.sqrt(images) + np.sqrt(seeds),),
        },
    )
    passed(what, "images and seeds, both")


def holm(answer: Callable[..., Sequence[bool]]) -> None:
    """`answer(p_values, alpha)`: which tests are decided, after Holm."""
    what = "holm"
    cases = (
        ([0.03, 0.01], "the smallest p-value is held against alpha / m, the next one against alpha / (m - 1)"),
        ([0.3, 0.03], "0.03 is not below 0.05 / 2: with two tests the smallest p-value must be below that"),
        (
            [0.02, 0.001, 0.3],
            "that is Bonferroni's correction if 0.02 is left open: after one decision two tests are left",
        ),
        ([0.001, 0.03, 0.04, 0.045], "stop at the first that fails: 0.045 is below 0.05 / 1, but 0.03 failed before"),
        ([0.5], "one test is held against alpha itself"),
        ([], "without tests there is nothing to decide"),
    )
    for p_values, advice in cases:
        found = call(answer, list(p_values), 0.05, what=what)
        expect(found is not None, f"{what}: nothing came back; does the function end in `return ...`?")
        found = np.asarray(found).tolist()
        right = [decided for _, decided in holm_levels(p_values)]
        expect(len(found) == len(p_values), f"{what}: {len(p_values)} p-values went in, {len(found)} answers came out")
        expect([bool(one) for one in found] == right, f"{what}: wrong for {p_values}: {advice}")
    strict = [bool(one) for one in call(answer, [0.03, 0.01], 0.02, what=what)]
    expect(strict == [False, False], f"{what}: `alpha` is not used")
    passed(what, "one false decision in twenty families, not in twenty tests")


def lucky_gain(answer: Callable[[float, int, int, np.random.Generator], float]) -> None:
    """`answer(sd, runs, studies, rng)`: what the best of some runs seems to gain over the mean of as many others."""
    what, studies = "lucky_gain", 40_000
    draws = np.random.default_rng(1).normal(size=(200_000, 5))
    best, rng = draws.max(1).mean(), np.random.default_rng(2)
    value = _number(what, answer, 2.0, 5, studies, rng)
    for advice, wrong in {
        "nothing is gained: both arms were taken by their means, or both by their best runs": 0.0,
        "the worst run was taken": -2 * best,
        "`sd` is not used": best,
        "the maximum was taken over studies, not over the runs of each": 2 * 4.2,
    }.items():
        expect(abs(value - wrong) > 0.1, f"{what}: {advice}")
    expect(
        abs(value - 2 * best) < 0.05,
        f"{what}: wrong for sd = 2 and 5 runs; best of each study's first arm, then the mean",
    )
    alone = _number(what, answer, 1.0, 1, studies, rng)
    expect(abs(alone) < 0.05, f"{what}: with one run there is nothing to choose, and nothing to gain")
    passed(what, "the best of several seeds is not a result")


def _number(what: str, answer: Callable, *arguments: Any) -> float:
    value = as_array(call(answer, *arguments, what=what), what)
    expect(value.size == 1, f"{what}: one number is expected, found shape {value.shape}")
    try:
        return float(value.reshape(()))
    except (TypeError, ValueError):
        raise WrongAnswer(f"{what}: a number is expected, found {value.reshape(()).item()!r}") from None


def _usual(what: str, value: float, right: float, mistakes: Mapping[str, Sequence[float]]) -> None:
    if np.isclose(value, right, rtol=1e-6):
        return
    for advice, numbers in mistakes.items():
        expect(not any(np.isclose(value, number, rtol=1e-6) for number in numbers), f"{what}: {advice}")
    raise WrongAnswer(f"{what}: not right, and none of the usual mistakes; work out the smallest case by hand")
