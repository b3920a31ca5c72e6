"""The checks of notebook 08: right answers pass however they are written, usual mistakes are named."""

import numpy as np
import pytest

from course import checks
from course.checks.verdict import WrongAnswer

GOOD = {
    "claim": "A cosine schedule beats a constant learning rate.",
    "reports": [],
    "reported": "Nothing yet.",
    "supported": "Test Dice is higher with the cosine.",
    "refuted": "Test Dice is lower with the cosine.",
    "seeds": 3,
    "arms": {"constant": {}, "cosine": {"training.schedule": "cosine"}},
    "comparisons": [{"measure": "dice", "first": "cosine", "second": "constant", "expected": "higher"}],
}
BETS = dict.fromkeys(("ranking", "flips", "dice-loss", "sigmoid", "dropout"), "undecided")


def wrong(check, answer, sentence: str) -> None:
    with pytest.raises(WrongAnswer, match=sentence):
        check(answer)


def test_any_bet_counts_and_none_is_missed():
    checks.guesses(BETS)
    checks.guesses(BETS | {"ranking": "refuted", "more": "supported"})
    wrong(checks.guesses, {"ranking": "supported"}, "'flips' is missing")
    wrong(checks.guesses, BETS | {"flips": "yes"}, "'flips' is 'yes'; use one of supported, refuted, undecided")
    wrong(checks.guesses, None, "a dictionary is expected, found NoneType")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"seeds": 10},
        {"arms": {"constant": {"training.schedule": "constant"}, "cosine": {"training.schedule": "cosine"}}},
        {"comparisons": [{"measure": "dice", "first": "constant", "second": "cosine", "expected": "lower"}]},
    ],
)
def test_claims_that_a_run_can_refute_pass(change):
    answer = GOOD | change
    checks.claim_file(answer)
    assert answer == GOOD | change  # the student's dictionary is left as it is


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seeds": 1}, "1 seeds; with fewer than three"),
        ({"arms": {"cosine": {"training.schedule": "cosine"}}}, "'constant' is none of the arms cosine"),
        (
            {"arms": {"constant": {"training.epochs": 3}, "cosine": {"training.schedule": "cosine"}}},
            "differ in training.epochs, training.schedule; two arms that differ in several things",
        ),
        ({"arms": {"constant": {}, "cosine": {"training.epochs": 3}}}, "must differ in 'training.schedule'"),
        (
            {"arms": {"constant": {}, "cosine": {"training.schedule": "one-cycle"}}},
            r"constant and cosine, found \['constant', 'one-cycle'\]",
        ),
        ({"comparisons": []}, "no comparison"),
        (
            {
                "comparisons": [
                    {"measure": "valid_loss_last", "first": "cosine", "second": "constant", "expected": "lower"}
                ]
            },
            "the measure is valid_loss_last",
        ),
        ({"comparisons": [{"measure": "dice", "first": "cosine", "expected": "higher"}]}, "needs `first` and `second`"),
        (
            {"comparisons": [{"measure": "dice", "first": "constant", "second": "cosine", "expected": "higher"}]},
            "says that the constant rate is better",
        ),
        (
            {"comparisons": [{"measure": "dice", "first": "cosine", "second": "cosine", "expected": "higher"}]},
            "cosine is compared with itself",
        ),
        ({"refuted": GOOD["supported"]}, "say the same"),
        ({"seed": 3}, "seed: Extra inputs are not permitted"),
        ({"arms": ["constant", "cosine"]}, "a table for each arm is expected"),
        (
            {"arms": {"constant": "plain", "cosine": {"training.schedule": "cosine"}}},
            "a table for each arm is expected",
        ),
    ],
)
def test_claims_that_would_say_nothing_are_told_why(change, sentence):
    wrong(checks.claim_file, GOOD | change, sentence)


def loops(arms):
    total = runs = 0
    for arm in arms:
        mean = sum(arm) / len(arm)
        total += sum((value - mean) ** 2 for value in arm)
        runs += len(arm) - 1
    return total / runs


@pytest.mark.parametrize(
    "answer",
    [
        loops,
        lambda arms: sum(np.var(a, ddof=1) * (len(a) - 1) for a in arms) / sum(len(a) - 1 for a in arms),
        lambda arms: np.average([np.var(a, ddof=1) for a in arms], weights=[len(a) - 1 for a in arms]),
        lambda arms: np.float32(loops(arms)).astype(float) * 0 + loops(arms),
    ],
)
def test_right_ways_to_pool_pass(answer):
    checks.pooled(answer)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda arms: np.var(np.concatenate(arms), ddof=1), "mean of all runs"),
        (lambda arms: loops(arms) * 9 / 13, "each arm's mean has used up one run"),
        (lambda arms: loops(arms) * 9 / 12, "only one run was subtracted"),
        (lambda arms: np.mean([np.var(a, ddof=1) for a in arms]), "mean of the arms' variances"),
        (lambda arms: np.sqrt(loops(arms)), "that is a standard deviation"),
        (lambda arms: 0.0, "none of the usual mistakes"),
        (lambda arms: None, "nothing came back"),
        (lambda arms: arms["a"], "failed with TypeError"),
        (lambda arms: [1.0, 2.0], "one number is expected, found shape"),
        (lambda arms: "much", "numbers are expected, found str"),
        (..., "a function is expected"),
    ],
)
def test_usual_mistakes_in_pooling_are_named(answer, sentence):
    wrong(checks.pooled, answer, sentence)


def errors(first, second, variance):
    d = np.array([first[:, i].mean() - second[:, i].mean() for i in range(first.shape[1])])
    return ((d - d.mean()) ** 2).sum() / (len(d) - 1) / len(d), variance / len(first) + variance / len(second)


@pytest.mark.parametrize(
    "answer",
    [
        lambda a, b, v: sum(errors(a, b, v)) ** 0.5,
        lambda a, b, v: np.hypot(*np.sqrt(errors(a, b, v))),
        lambda a, b, v: np.sqrt((a.mean(0) - b.mean(0)).std(ddof=1) ** 2 / a.shape[1] + v * (1 / len(a) + 1 / len(b))),
    ],
)
def test_right_standard_errors_pass(answer):
    checks.standard_error(answer)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda a, b, v: sum(errors(a, b, v)), "its square root is asked for"),
        (lambda a, b, v: np.sqrt(errors(a, b, v)[0]), "the part of the seeds is missing"),
        (lambda a, b, v: np.sqrt(errors(a, b, v)[1]), "the part of the images is missing"),
        (lambda a, b, v: np.sqrt(errors(a, b, v)[0] * 40 + errors(a, b, v)[1]), "not divided by the number of images"),
        (lambda a, b, v: np.sqrt(errors(a, b, v)[0] + 2 * v), "not divided by the numbers of seeds"),
        (lambda a, b, v: np.sqrt(errors(a, b, v)[0] + v * 2 / len(a)), "the same number of seeds"),
        (lambda a, b, v: sum(np.sqrt(errors(a, b, v))), "their squares are to be"),
        (
            lambda a, b, v: np.sqrt((a.mean(0).var(ddof=1) + b.mean(0).var(ddof=1)) / 40 + errors(a, b, v)[1]),
            "the images are not paired",
        ),
    ],
)
def test_usual_mistakes_in_the_standard_error_are_named(answer, sentence):
    wrong(checks.standard_error, answer, sentence)


def sorted_pairs(p_values, alpha=0.05):
    left, decided = len(p_values), {}
    for p, index in sorted((p, i) for i, p in enumerate(p_values)):
        decided[index] = p < alpha / left and all(decided.values())
        left -= 1
    return [decided[i] for i in range(len(p_values))]


def adjusted(p_values, alpha=0.05):
    order, running, found = np.argsort(p_values), 0.0, np.zeros(len(p_values), bool)
    for rank, index in enumerate(order):
        running = max(running, p_values[index] * (len(p_values) - rank))
        found[index] = running < alpha
    return found


@pytest.mark.parametrize("answer", [sorted_pairs, adjusted, lambda p, alpha: tuple(sorted_pairs(p, alpha))])
def test_right_ways_of_holm_pass(answer):
    checks.holm(answer)


def looked_up(p_values, alpha):
    decided = [False] * len(p_values)
    for number, value in enumerate(sorted(p_values)):
        if value > alpha / (len(p_values) - number):
            break
        decided[p_values.index(value)] = True
    return decided


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda p, alpha: [value < alpha / len(p) for value in p], "Bonferroni"),
        (looked_up, "decided alike"),
        (lambda p, alpha: [value < alpha for value in p], "0.03 is not below 0.05 / 2"),
        (
            lambda p, alpha: [value < alpha / (len(p) - sorted(p).index(value)) for value in p],
            "stop at the first that fails",
        ),
        (lambda p, alpha: sorted_pairs(p, 0.05), "`alpha` is not used"),
        (lambda p, alpha: [True], "3 p-values went in, 1 answers came out"),
        (lambda p, alpha: None, "nothing came back"),
    ],
)
def test_usual_mistakes_in_holm_are_named(answer, sentence):
    wrong(checks.holm, answer, sentence)


def one_by_one(sd, runs, studies, rng):
    gains = []
    for _ in range(max(1, studies // 20)):
        gains.append(max(rng.normal(0, sd, runs)) - np.mean(rng.normal(0, sd, runs)))
    return sum(gains) / len(gains)


def of_both(gain):
    return lambda sd, runs, studies, rng: gain(*rng.normal(0, sd, (2, studies, runs))).mean()


def best_minus_mean(first, second):
    return first.max(1) - second.mean(1)


@pytest.mark.parametrize(
    "answer",
    [
        lambda sd, runs, studies, rng: rng.normal(0, sd, (studies, runs)).max(1).mean(),
        one_by_one,
        of_both(best_minus_mean),
    ],
    ids=["the mean of the second arm is 0", "a loop", "as the task says"],
)
def test_right_simulations_of_luck_pass(answer):
    checks.lucky_gain(answer)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda sd, runs, studies, rng: 0.0, "nothing is gained"),
        (lambda sd, runs, studies, rng: rng.normal(0, sd, (studies, runs)).min(1).mean(), "the worst run was taken"),
        (lambda sd, runs, studies, rng: rng.normal(0, 1, (studies, runs)).max(1).mean(), "`sd` is not used"),
        (lambda sd, runs, studies, rng: rng.normal(0, sd, (studies, runs)).max(0).mean(), "taken over studies"),
        (lambda sd, runs, studies, rng: 4.5, "wrong for sd = 2 and 5 runs"),
        (of_both(lambda a, b: a.max(1) - a.mean(1)), "are of one arm"),
        (of_both(lambda a, b: a.max(1) - b[:, 0]), "a single run"),
        (of_both(lambda a, b: a.max(1) + b.mean(1)), "not added"),
        (of_both(lambda a, b: a.max(1) - b.sum(1)), "the sum of"),
        (of_both(lambda a, b: a.max(1) - np.median(b, 1)), "median"),
        (
            lambda sd, runs, studies, rng: of_both(best_minus_mean)(sd, runs, studies, np.random.default_rng(1)),
            "from `rng`",
        ),
    ],
)
def test_usual_mistakes_about_luck_are_named(answer, sentence):
    wrong(checks.lucky_gain, answer, sentence)
