"""Is one training better than another? Differences with intervals that account for images and for seeds.

A score differs from run to run (initial weights, order of the images) and from image to image. Both are samples: of the
trainings that could have been made, and of the images that could have been photographed. With random effects for both,
`score = arm + seed of the arm + image + arm x image + rest`, the difference of two arms has the variance

    images:  variance over images of (mean over seeds of A - mean over seeds of B) / images
    seeds:   variance of a run's mean score * (1 / seeds of A + 1 / seeds of B)

of which the rest, that is in both, is subtracted once. Images are paired, which removes what makes an image hard for
both. The seeds' variance is pooled over many arms, which is what makes three seeds of one worth something, unless the
arms are seen to have different ones: then each arm's own is taken, which costs degrees of freedom.

Source: Searle, Casella, McCulloch, "Variance Components", Wiley 1992, chapter 4; degrees of freedom after
Satterthwaite, Biometrics Bulletin 2 (1946); arms of unequal variance after Welch, Biometrika 34 (1947).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from labkit.errors import LabError


class Variance(NamedTuple):
    """An estimated variance and its degrees of freedom."""

    value: float
    freedom: float


class Difference(NamedTuple):
    """An effect with its uncertainty."""

    effect: float
    images: Variance
    """Of the effect, from the sample of images."""
    seeds: Variance
    """Of the effect, from the sample of seeds."""

    @property
    def error(self) -> float:
        """The standard error of the effect."""
        return float(np.sqrt(self.images.value + self.seeds.value))

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the whole variance, after Satterthwaite."""
        parts = [part for part in (self.images, self.seeds) if part.value > 0]
        whole = sum(part.value for part in parts)
        return whole**2 / sum(part.value**2 / part.freedom for part in parts) if parts else np.inf

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The confidence interval of the effect."""
        reach = stats.t.ppf((1 + level) / 2, self.freedom) * self.error
        return self.effect - reach, self.effect + reach

    def p_value(self, than: float = 0.0) -> float:
        """Two-sided, of the hypothesis that the effect is `than`."""
        if self.error == 0:
            return float(self.effect == than)
        return float(2 * stats.t.sf(abs(self.effect - than) / self.error, self.freedom))


def pooled_variance(arms: Iterable[Sequence[float]]) -> Variance:
    """The variance within arms, from the scores of each arm's runs; arms of a single run say nothing of it.

    Raises:
        LabError: no arm has two runs.
    """
    groups = [np.asarray(arm, float) for arm in arms if len(arm) > 1]
    if not groups:
        raise LabError("the spread over seeds is not known: no arm has two runs; train at least one more seed")
    freedom = sum(len(group) - 1 for group in groups)
    return Variance(sum(float(((group - group.mean()) ** 2).sum()) for group in groups) / freedom, freedom)


def one_spread(arms: Iterable[Sequence[float]], alpha: float = 0.01) -> bool:
    """Whether the arms may share one variance: Bartlett's test of their runs' scores does not refuse it.

    Arms of one run, or of runs that are all equal, are left out; with fewer than two others nothing speaks against it.
    The level is strict, because pooling is the rule and the test tells more, the more arms there are.
    """
    groups = [arm for arm in arms if len(arm) > 1 and np.ptp(arm) > 0]
    return len(groups) < 2 or bool(stats.bartlett(*groups).pvalue >= alpha)


def seeds_part(arms: Sequence[Sequence[float]], seeds: Variance, own: bool) -> Variance:
    """The seeds' variance of a difference of arms (or of one arm's mean), from the scores of each arm's runs.

    `own`: each arm has its own variance, after Welch; an arm that shows none takes `seeds`, which all arms have if not.
    """
    runs = np.array([1 / len(arm) for arm in arms])
    if not own:
        return Variance(float(seeds.value * runs.sum()), seeds.freedom)
    each = [Variance(np.var(arm, ddof=1), len(arm) - 1) if len(arm) > 1 and np.ptp(arm) > 0 else seeds for arm in arms]
    parts = np.array([part.value for part in each]) * runs
    freedom = parts.sum() ** 2 / sum(part**2 / one.freedom for part, one in zip(parts, each, strict=True) if part > 0)
    return Variance(float(parts.sum()), float(freedom))


def image_difference(
    first: np.ndarray, second: np.ndarray, seeds: Variance | None = None, own: bool = False
) -> Difference:
    """The mean difference of two arms' scores of the same images.

    Args:
        first, second: `[seeds, images]`, in one order of the images; the numbers of seeds may differ.
        seeds: the variance of a run's mean score (`pooled_variance`); None takes these two arms' own.
        own: the arms differ in it (see `seeds_part`).

    Raises:
        LabError: the arms have other images; without `seeds`, neither arm has two runs.
    """
    first, second = np.atleast_2d(first).astype(float), np.atleast_2d(second).astype(float)
    if first.shape[1] != second.shape[1] or first.shape[1] < 2:
        raise LabError(f"images: {first.shape[1]} and {second.shape[1]}; both arms need the same images, two at least")
    scores = (first.mean(1), second.mean(1))
    if seeds is None:
        seeds = pooled_variance(scores)
    number, runs = first.shape[1], 1 / len(first) + 1 / len(second)
    differences = first.mean(0) - second.mean(0)
    rest = pooled_rest([first, second]) * runs / number  # is in the images' part and in the seeds'
    images = max(0.0, differences.var(ddof=1) / number - rest)
    return Difference(differences.mean(), Variance(images, number - 1), seeds_part(scores, seeds, own))


def pooled_rest(arms: Iterable[np.ndarray]) -> float:
    """Mean square of what seed and image do not explain in arms `[seeds, images]`; 0 where no arm has two runs."""
    squares = freedom = 0.0
    for scores in arms:
        rest = scores - scores.mean(0) - scores.mean(1, keepdims=True) + scores.mean()
        squares += float((rest**2).sum())
        freedom += (scores.shape[0] - 1) * (scores.shape[1] - 1)
    return squares / freedom if freedom else 0.0


def run_difference(
    first: Sequence[float], second: Sequence[float] | None, seeds: Variance, own: bool = False
) -> Difference:
    """The difference of two arms in a number that each run has once; `second` None: `first` itself."""
    arms = [first] if second is None else [first, second]
    effect = np.mean(first) - (np.mean(second) if second is not None else 0)
    return Difference(float(effect), Variance(0.0, np.inf), seeds_part(arms, seeds, own))


def holm_levels(p_values: Sequence[float], alpha: float = 0.05) -> list[tuple[float, bool]]:
    """For each of several tests its confidence level and whether it is decided, so that one in 20 families errs.

    The smallest of m p-values is held against alpha / m, the next against alpha / (m - 1), and so on until one fails;
    an interval of that level leaves the hypothesis out exactly where the test is decided, up to the first that fails.
    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    found: list[tuple[float, bool]] = [(1 - alpha, False)] * len(p_values)
    decided = True
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        share = alpha / (len(p_values) - rank)
        decided = bool(decided and p_values[index] < share)
        found[index] = (1 - share, decided)
    return found


def seeds_needed(difference: Difference, seeds: Variance, level: float = 0.95) -> int | None:
    """Runs an arm after which the interval would leave 0 out, if the effect is as found; None if no number would.

    More seeds narrow the seeds' part alone; the images' part stays.
    """
    reach = stats.norm.ppf((1 + level) / 2)
    left = (difference.effect / reach) ** 2 - difference.images.value
    return None if left <= 0 else max(1, int(np.ceil(2 * seeds.value / left)))


def image_interval(
    statistic: Callable[[np.ndarray], float], images: int, level: float = 0.95, resamples: int = 1000
) -> tuple[float, float]:
    """Bootstrap interval of a number computed from a table of images, of one run: images are drawn with replacement.

    Args:
        statistic: takes the drawn rows, `int64 [images]`, and computes the number from them.
        images: how many rows there are.

    Source: Efron, "Bootstrap Methods", Annals of Statistics 7 (1979); percentiles, as in `scipy.stats.bootstrap`.
    """
    rows, settings = (np.arange(images),), {"confidence_level": level, "n_resamples": resamples, "rng": 0}
    found = stats.bootstrap(rows, statistic, vectorized=False, method="percentile", **settings)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def mean_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """The mean of a number that each image has, and its bootstrap interval (see `image_interval`)."""
    return (float(values.mean()), *image_interval(lambda rows: float(values[rows].mean()), len(values), level))


def resampled_sums(counts: np.ndarray, resamples: int = 1000) -> np.ndarray:
    """Sums over images `[resamples, ...]` of counts `[images, ...]`, the images drawn anew each time: for intervals."""
    drawn = np.random.default_rng(0).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), resamples)
    return np.tensordot(drawn, counts, 1)
