"""Intervals that say 95 % hold the truth in 95 of 100 cases; oracles are scipy's tests, a bootstrap, and simulation."""

import numpy as np
import pytest
from scipy import stats

from course.compare import (
    Difference,
    Variance,
    holm_levels,
    image_difference,
    one_spread,
    pooled_variance,
    run_difference,
    seeds_needed,
)
from labkit.errors import LabError

RNG = np.random.default_rng(5)


def test_one_seed_each_and_no_spread_of_seeds_is_the_paired_t_test():
    first, second = RNG.normal(0.8, 0.1, 40), RNG.normal(0.78, 0.1, 40)
    found = image_difference(first, second, Variance(0.0, 9))
    expected = stats.ttest_rel(first, second)
    assert found.p_value() == pytest.approx(expected.pvalue)
    assert found.interval() == pytest.approx(tuple(expected.confidence_interval()))


def test_numbers_of_runs_are_the_two_sample_t_test_with_equal_variances():
    first, second = [1.0, 3.0, 2.5, 4.0], [2.0, 5.0, 6.5]
    found = run_difference(first, second, pooled_variance([first, second]))
    expected = stats.ttest_ind(first, second, equal_var=True)
    assert found.p_value() == pytest.approx(expected.pvalue)
    assert found.interval(0.9) == pytest.approx(tuple(expected.confidence_interval(0.9)))


def test_arms_with_a_spread_of_their_own_are_welchs_t_test():
    first, second = [1.0, 3.0, 2.5, 4.0], [2.0, 15.0, 6.5]
    found = run_difference(first, second, Variance(99.0, 50), own=True)
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert found.p_value() == pytest.approx(expected.pvalue)
    assert found.interval(0.9) == pytest.approx(tuple(expected.confidence_interval(0.9)))


def test_an_arm_that_shows_no_spread_takes_that_of_all():
    found = run_difference([3.0, 3.0, 3.0], [5.0, 5.0, 5.0], Variance(0.6, 12), own=True)
    assert found.seeds.value == pytest.approx(0.4)
    assert np.isfinite(found.p_value())


def test_pooling_is_refused_where_arms_differ_in_spread():
    draw = np.random.default_rng(3)
    same = [draw.normal(0, 1, 5) for _ in range(12)]
    assert one_spread(same)
    assert not one_spread([*same, *(30 * arm for arm in same)])
    assert one_spread([[1.0], [2.0, 2.0, 2.0], [0.0, 1.0]])  # one arm alone shows a spread: nothing to compare


def test_one_arm_against_a_number_is_the_one_sample_t_test():
    values = [0.61, 0.55, 0.58]
    found = run_difference(values, None, pooled_variance([values]))
    assert found.p_value(0.5) == pytest.approx(stats.ttest_1samp(values, 0.5).pvalue)


def test_pooling_over_arms_is_the_within_mean_square_of_an_analysis_of_variance():
    arms = [[1.0, 2.0, 4.0], [3.0, 3.5], [8.0], [0.0, 1.0, 1.0, 2.0]]
    found = pooled_variance(arms)
    several = [arm for arm in arms if len(arm) > 1]
    squares = sum(np.var(arm) * len(arm) for arm in several)
    assert found.freedom == 2 + 1 + 3
    assert found.value == pytest.approx(squares / 6)


def test_without_two_runs_of_an_arm_the_spread_is_not_known():
    with pytest.raises(LabError, match="no arm has two runs; train at least one more seed"):
        image_difference(np.zeros(5), np.ones(5))


def test_arms_need_the_same_images():
    with pytest.raises(LabError, match="images: 5 and 6"):
        image_difference(np.zeros((2, 5)), np.ones((2, 6)))


def drawn_scores(rng, seeds: int, images: int, effect: float, hard: np.ndarray, sd_seed=0.006, sd_arm=0.03, sd=0.08):
    """Scores `[seeds, images]` of one arm by the model of the module, with images of skewed difficulty."""
    own = rng.normal(0, sd_seed, (seeds, 1)) + rng.normal(0, sd_arm, images) + rng.normal(0, sd, (seeds, images))
    return 0.8 + effect - hard + own


def difficulty(rng, images: int) -> np.ndarray:
    return rng.gamma(0.5, 0.15, images)  # most are easy, a few very hard: sd 0.1


def test_the_images_part_is_what_a_bootstrap_over_images_finds():
    hard = difficulty(RNG, 300)
    first, second = (drawn_scores(RNG, 3, 300, effect, hard, sd_seed=0.0) for effect in (0.01, 0.0))
    found = image_difference(first, second, Variance(0.0, 9))
    differences = first.mean(0) - second.mean(0)
    means = RNG.choice(differences, (4000, 300)).mean(1)
    # a bootstrap over images keeps the rest of the scores in, which belongs to the seeds, too
    rest = 0.08**2 * (2 / 3) / 300
    assert np.sqrt(found.images.value + rest) == pytest.approx(means.std(), rel=0.08)


def covered(seeds: int, images: int, repeats: int, arms: int = 12, effect: float = 0.0, rng_seed: int = 0):
    """How often the interval holds the effect, and how often it leaves 0 out, over whole simulated studies."""
    rng, held, called = np.random.default_rng(rng_seed), 0, 0
    for _ in range(repeats):
        hard = difficulty(rng, images)
        all_arms = [drawn_scores(rng, seeds, images, 0.0, hard) for _ in range(arms - 1)]
        first = drawn_scores(rng, seeds, images, effect, hard)
        variance = pooled_variance([arm.mean(1) for arm in (*all_arms, first)])
        low, high = image_difference(first, all_arms[0], variance).interval()
        held += low <= effect <= high
        called += low > 0 or high < 0
    return held / repeats, called / repeats


def test_a_quick_simulation_finds_the_coverage_near_95_percent():
    held, _ = covered(seeds=3, images=60, repeats=400)
    assert 0.92 <= held <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("effect", [0.0, 0.01])
def test_intervals_of_95_percent_hold_the_truth_in_93_to_97(seeds, effect):
    held, called = covered(seeds, images=400, repeats=3000, effect=effect, rng_seed=seeds)
    assert 0.93 <= held <= 0.97
    if effect == 0:
        assert called <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 3000)


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [1.0, 10.0])
def test_intervals_hold_the_truth_for_the_arms_that_spread_most(ratio):
    """Half of the arms spread by `ratio` times as much; two of those are compared. Pooling would hold 83 % at 10."""
    draw, held, repeats = np.random.default_rng(11), 0, 3000
    for _ in range(repeats):
        arms = [draw.normal(0, 1, 5) * (ratio if i % 2 else 1) for i in range(16)]
        low, high = run_difference(arms[1], arms[3], pooled_variance(arms), own=not one_spread(arms)).interval()
        held += low <= 0 <= high
    assert 0.93 <= held / repeats <= 0.97


def test_three_seeds_alone_are_worth_less_than_pooled_ones():
    hard = difficulty(RNG, 200)
    arms = [drawn_scores(RNG, 3, 200, 0.0, hard) for _ in range(12)]
    alone = image_difference(arms[0], arms[1])
    pooled = image_difference(arms[0], arms[1], pooled_variance([arm.mean(1) for arm in arms]))
    assert alone.freedom < pooled.freedom
    assert stats.t.ppf(0.975, alone.freedom) > stats.t.ppf(0.975, pooled.freedom)


def test_holm_decides_as_adjusted_p_values_do():
    for _ in range(200):
        p = RNG.choice([0.001, 0.01, 0.012, 0.02, 0.03, 0.04, 0.2, 0.6], RNG.integers(1, 6)).tolist()
        order, running, adjusted = np.argsort(p, kind="stable"), 0.0, np.empty(len(p))
        for rank, index in enumerate(order):
            running = max(running, (len(p) - rank) * p[index])
            adjusted[index] = running
        assert [decided for _, decided in holm_levels(p)] == [value < 0.05 for value in adjusted]


def test_an_interval_of_holms_level_leaves_out_what_is_decided():
    differences = [Difference(effect, Variance(1e-4, 200), Variance(1e-4, 30)) for effect in (0.05, 0.034, 0.01)]
    levels = holm_levels([one.p_value() for one in differences])
    for one, (level, decided) in zip(differences, levels, strict=True):
        low, high = one.interval(level)
        assert decided == (low > 0 or high < 0)


def test_no_spread_at_all_is_certain_only_of_its_own_value():
    same = Difference(0.0, Variance(0.0, 9), Variance(0.0, 9))
    assert (same.p_value(), same.p_value(0.1)) == (1.0, 0.0)
    assert same.interval() == (0.0, 0.0)


def test_seeds_needed_make_the_interval_end_at_zero():
    seeds, images = Variance(4e-5, 100), Variance(1e-6, 3000)
    found = Difference(0.006, images, Variance(seeds.value * 2 / 3, 100))
    needed = seeds_needed(found, seeds)
    reach = [1.96 * np.sqrt(images.value + seeds.value * 2 / n) for n in (needed - 1, needed)]
    assert reach[1] <= 0.006 < reach[0]
    assert seeds_needed(Difference(0.001, images, seeds), seeds) is None
