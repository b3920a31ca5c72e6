"""Checks of the exercises in notebook 08."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from course.checks.verdict import Check, Collected, WrongAnswer, call, expect, name_mistake, numbers
from course.compare import holm_levels
from course.experiments.claims import parse_claim
from labkit.errors import LabError

VERDICTS = ("supported", "refuted", "undecided")
BETS = ("ranking", "flips", "dice-loss", "sigmoid", "dropout")

# --- five bets


def _collect_text(what: str) -> Callable[[Any, int], Collected]:
    def unfilled(value: Any) -> None:
        expect(value is not ..., f"{what}: replace every `...` by your answer")
        raise TypeError(f"found {type(value).__name__}")

    def collect(student: Any, seed: int) -> Collected:
        expect(isinstance(student, Mapping), f"{what}: a dictionary is expected, found {type(student).__name__}")
        try:
            return {"text": np.array(json.dumps(dict(student), default=unfilled))}
        except (TypeError, ValueError) as error:
            raise WrongAnswer(f"{what}: only texts, numbers, lists and dictionaries are expected ({error})") from None

    return collect


def _judge_guesses(arrays: Collected, seed: int) -> None:
    what, answer = "guesses", json.loads(str(arrays["text"]))
    for name in BETS:
        expect(name in answer, f"{what}: {name!r} is missing; guess for all five")
        known = f"{what}: {name!r} is {answer[name]!r}; use one of {', '.join(VERDICTS)}"
        expect(answer[name] in VERDICTS, known)


guesses = Check("guesses", "five bets; section 4 settles them", _collect_text("guesses"), _judge_guesses)

# --- a claim's file


def _judge_claim(arrays: Collected, seed: int) -> None:
    what = "claim_file"
    try:
        claim = parse_claim(json.loads(str(arrays["text"])), "mine")
    except LabError as error:
        raise WrongAnswer(f"{what}: {error}") from None
    expect(claim.seeds >= 3, f"{what}: {claim.seeds} seeds; with fewer than three there is no spread to speak of")
    expect(len(claim.arms) == 2, f"{what}: {len(claim.arms)} arms; two are compared here")
    one, other = (arm.changes for arm in claim.arms.values())
    differs = {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
    advice = "two arms that differ in several things cannot say which of them it was"
    expect(len(differs) <= 1, f"{what}: the arms differ in {', '.join(sorted(differs))}; {advice}")
    found = ", ".join(sorted(differs)) or "nothing"
    expect(differs == {"training.schedule"}, f"{what}: the arms must differ in 'training.schedule'; found {found}")
    values = {arm.changes.get("training.schedule", "constant") for arm in claim.arms.values()}
    expect(values == {"constant", "cosine"}, f"{what}: the schedules are constant and cosine, found {sorted(values)}")
    expect(claim.comparisons, f"{what}: no comparison; nothing would be judged")
    for one in claim.comparisons:
        expect(one.measure == "dice", f"{what}: the measure is {one.measure}; the claim is about Dice")
        expect(one.second is not None, f"{what}: a comparison needs `first` and `second`; Dice alone is always above 0")
        expect(one.first != one.second, f"{what}: {one.first} is compared with itself")
        ahead = claim.arms[one.first].changes.get("training.schedule") == "cosine"
        expect(ahead == (one.expected == "higher"), f"{what}: this comparison says that the constant rate is better")
    said = [re.findall(r"\w+", text.lower()) for text in (claim.supported, claim.refuted)]
    expect(min(map(len, said)) > 2, f"{what}: `supported` and `refuted` are sentences: what would be measured?")
    same = said[0] == said[1]
    expect(not same, f"{what}: `supported` and `refuted` say the same; what would show that the claim is wrong?")


claim_file = Check("claim_file", "a claim that a run can refute", _collect_text("claim_file"), _judge_claim)

# --- the pooled spread


def _arms(seed: int) -> list[list[float]]:
    rng = np.random.default_rng([8, seed])
    return [rng.normal(center, 0.3, size).tolist() for center, size in ((0.0, 3), (4.0, 5), (1.0, 2), (7.0, 3))]


def _judge_pooled(arrays: Collected, seed: int) -> None:
    arms = _arms(seed)
    everything = np.concatenate([np.array(arm) for arm in arms])
    squares = sum(((np.array(arm) - np.mean(arm)) ** 2).sum() for arm in arms)
    right = squares / (len(everything) - len(arms))
    means = "that is the mean of the arms' variances, which gives an arm of two runs as much weight as one of five"
    mistakes = {
        "the deviations are from the mean of all runs, and count what the arms differ in": everything.var(ddof=1),
        "each arm's mean has used up one run: divide by the runs minus the arms": squares / len(everything),
        "only one run was subtracted, and there is a mean in each arm": squares / (len(everything) - 1),
        means: np.mean([np.var(arm, ddof=1) for arm in arms]),
        means + " (and each is divided by its runs)": np.mean([np.var(arm) for arm in arms]),
        "that is a standard deviation; the variance is asked for": np.sqrt(right),
    }
    otherwise = "not right, and none of the usual mistakes; work out the example of the task by hand"
    name_mistake("pooled", arrays["value"], right, mistakes, otherwise, tolerance=1e-9)


pooled = Check(
    "pooled",
    "one spread from many arms",
    lambda student, seed: {"value": numbers(call(student, _arms(seed), what="pooled"), "pooled", ())},
    _judge_pooled,
)

# --- the standard error


def _two_arms(seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    rng = np.random.default_rng([9, seed])
    hard = rng.gamma(0.5, 0.2, 40)
    first, second = (0.9 - hard + rng.normal(0, 0.05, (seeds, 40)) for seeds in (3, 5))
    return first, second, 2e-4


def _judge_error(arrays: Collected, seed: int) -> None:
    first, second, variance = _two_arms(seed)
    images, seeds = (first.mean(0) - second.mean(0)).var(ddof=1) / 40, variance * (1 / 3 + 1 / 5)
    unpaired = (first.mean(0).var(ddof=1) + second.mean(0).var(ddof=1)) / 40
    undivided = "the seeds' variance was not divided by the numbers of seeds: more seeds must make it smaller"
    mistakes = {
        "the images are not paired: subtract image by image, and take the variance of the differences": unpaired
        + seeds,
        "the part of the seeds is missing: other seeds would give another difference": images,
        "the part of the images is missing": seeds,
        "the variance of the differences was not divided by the number of images": images * 40 + seeds,
        undivided: images + 2 * variance,
        undivided + " (and there are two arms)": images + variance,
        "both arms were given the same number of seeds, and they have 3 and 5 here": images + variance * 2 / 3,
        "both arms were given 5 seeds, and one has 3 here": images + variance * 2 / 5,
        "the two errors were added; their squares are to be": (np.sqrt(images) + np.sqrt(seeds)) ** 2,
    }
    mistakes["a variance from a sample divides by one less: ddof=1"] = images * 39 / 40 + seeds
    roots = {"that is the variance; its square root is asked for": images + seeds}
    roots |= {advice: np.sqrt(value) for advice, value in mistakes.items()}
    otherwise = "not right, and none of the usual mistakes; compute the two parts one by one"
    name_mistake("standard_error", arrays["value"], np.sqrt(images + seeds), roots, otherwise, tolerance=1e-9)


standard_error = Check(
    "standard_error",
    "images and seeds, both",
    lambda student, seed: {
        "value": numbers(call(student, *_two_arms(seed), what="standard_error"), "standard_error", ())
    },
    _judge_error,
)

# --- Holm

FAMILIES = (
    ([0.02, 0.001, 0.3], "that is Bonferroni's correction if 0.02 is left open: after one decision two tests are left"),
    ([0.03, 0.01], "the smallest p-value is held against alpha / m, the next one against alpha / (m - 1)"),
    ([0.3, 0.03], "0.03 is not below 0.05 / 2: with two tests the smallest p-value must be below that"),
    ([0.01, 0.01, 0.2], "two tests with one p-value are decided alike; do not look a test up by its value"),
    ([0.001, 0.03, 0.04, 0.045], "stop at the first that fails: 0.045 is below 0.05 / 1, but 0.03 failed before"),
    ([0.5], "one test is held against alpha itself"),
    ([], "without tests there is nothing to decide"),
)


def _families(seed: int) -> list[tuple[list[float], float]]:
    rng = np.random.default_rng([10, seed])
    drawn = [((np.round(rng.beta(0.3, 3, rng.integers(2, 7)), 4) + 3e-5).tolist(), 0.05) for _ in range(8)]  # no ties
    return [(p_values, 0.05) for p_values, _ in FAMILIES] + [([0.03, 0.01], 0.015)] + drawn


def _collect_holm(student: Callable, seed: int) -> Collected:
    what, found = "holm", {}
    for number, (p_values, alpha) in enumerate(_families(seed)):
        answer = call(student, list(p_values), alpha, what=what)
        expect(answer is not None, f"{what}: nothing came back; does the function end in `return ...`?")
        found[str(number)] = numbers(list(np.ravel(np.asarray(answer))), what, (np.size(answer),)) != 0
    return found


def _judge_holm(arrays: Collected, seed: int) -> None:
    what = "holm"
    for number, (p_values, alpha) in enumerate(_families(seed)):
        found, right = arrays[str(number)].tolist(), [decided for _, decided in holm_levels(p_values, alpha)]
        expect(len(found) == len(p_values), f"{what}: {len(p_values)} p-values went in, {len(found)} answers came out")
        advice = FAMILIES[number][1] if number < len(FAMILIES) else "take the p-values one by one, the smallest first"
        unused = alpha != 0.05 and found == [decided for _, decided in holm_levels(p_values, 0.05)]
        advice = "`alpha` is not used" if unused else f"wrong for {p_values} and {alpha}: {advice}"
        expect(found == right, f"{what}: {advice}")


holm = Check("holm", "one false decision in twenty families, not in twenty tests", _collect_holm, _judge_holm)

# --- luck


def _collect_gain(student: Callable, seed: int) -> Collected:
    what, found = "lucky_gain", {}
    for name, case in (("five", (2.0, 5, 40_000)), ("one", (1.0, 1, 40_000)), ("few", FEW)):
        rng = np.random.default_rng([11, seed])
        found[name] = numbers(call(student, *case, rng, what=what), what, ())
        used = rng.bit_generator.state != np.random.default_rng([11, seed]).bit_generator.state
        found[f"{name} used"] = np.array(used)
    return found


FEW = (1.5, 4, 3)
"""So few studies that what was computed can be told from the very numbers that were drawn."""


def _judge_gain(arrays: Collected, seed: int) -> None:
    what, best = "lucky_gain", np.random.default_rng(1).normal(size=(200_000, 5)).max(1).mean()
    mistakes = {
        "nothing is gained: both arms were taken by their means, or both by their best runs": 0.0,
        "the worst run was taken": -2 * best,
        "`sd` is not used": best,
    }
    expect(arrays["five"] < 6, f"{what}: the maximum was taken over studies, not over the runs of each")
    otherwise = "wrong for sd = 2 and 5 runs; take the best of each study's first arm, then the mean over studies"
    name_mistake(what, arrays["five"], 2 * best, mistakes, otherwise, tolerance=0.12)
    expect(abs(arrays["one"]) < 0.06, f"{what}: with one run there is nothing to choose, and nothing to gain")
    sd, runs, studies = FEW
    first, second = np.random.default_rng([11, seed]).normal(0, sd, (2, studies, runs))
    few = {
        "the best run and the mean are of one arm; the second has runs of its own": (
            first.max(1) - first.mean(1)
        ).mean(),
        "the second arm's mean is subtracted, not added": (first.max(1) + second.mean(1)).mean(),
        "that is the sum of the second arm; take its mean": (first.max(1) - second.sum(1)).mean(),
        "a single run of the second arm was taken; take its mean": (first.max(1) - second[:, 0]).mean(),
        "that is the second arm's median; take its mean": (first.max(1) - np.median(second, 1)).mean(),
        "the best run and the mean are of one arm; draw the second one, too": first.max(1).mean() - first.mean(),
    }
    expect(
        arrays["few used"], f"{what}: nothing was drawn from `rng`; use rng.normal, so that a seed repeats the study"
    )
    for advice, wrong in few.items():
        expect(not np.isclose(arrays["few"], wrong), f"{what}: {advice}")


lucky_gain = Check("lucky_gain", "the best of several seeds is not a result", _collect_gain, _judge_gain)
