"""The tests behind the statistical kinds, what they can see, and the least-squares line.

The standard library is enough for all of them, and scipy.stats takes two seconds to import; the
tests compare the closed forms with scipy, and every rule with a simulation: its coverage, its
false alarms and its power. Sources: Wilson 1927 (interval), Fleiss, Levin and Paik, Statistical
Methods for Rates and Proportions, 3rd ed., sections 3.4 and 4.2 (two proportions, sample size),
Donner and Klar 2000 (proportions in clusters), Schuirmann 1987 (two one-sided tests), Fisher 1935,
section 21 (permutations and signs), Welch 1947 (means with spreads that differ), Holm 1979 (several
tests).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from itertools import combinations, product
from statistics import NormalDist, fmean, median, stdev
from typing import TypeVar

from harness.records import record

POWER = 0.8  # the chance of seeing an effect that is there, where "could have seen" is said
ALPHA = 0.05
PERMUTATION = "permutation test"
_SMALL_COUNT = 5.0  # Cochran's rule: below it the normal approximation does not hold
_TINY = 1e-300
_MAX_ARRANGEMENTS = 20_000  # more than these are drawn instead of listed
_DRAWS = 9_999
_SQUARES_OVERFLOW = 1e100
_MANY = 200  # degrees of freedom, beyond which t is normal
_FEW_STEPS = 10  # a spread of three steps and more is as good as continuous

T = TypeVar("T")

_normal_quantile = NormalDist().inv_cdf


def normal_tail(z: float) -> float:
    """Return P(Z > z) of the standard normal distribution."""
    return math.erfc(z / math.sqrt(2)) / 2


@record
class Interval:
    """A closed interval."""

    low: float
    high: float


@record
class Proportion:
    """`successes` of `trials`."""

    successes: int
    trials: int

    def __post_init__(self) -> None:
        if not 0 <= self.successes <= self.trials or self.trials < 1:
            message = f"{self.successes} of {self.trials} is not a proportion"
            raise ValueError(message)

    @property
    def rate(self) -> float:
        """Successes over trials."""
        return self.successes / self.trials


@record
class Sample:
    """What a t-test needs to know of replicates: how many, their mean and their spread."""

    count: int
    mean: float
    std: float  # with n - 1; NaN for a single value, which has no spread

    @property
    def standard_error(self) -> float:
        """Of the mean."""
        return self.std / math.sqrt(self.count)


def sample(values: Sequence[float]) -> Sample:
    """Return the count, mean and standard deviation (n - 1) of `values`, of which there is one."""
    sd = stdev(values) if len(values) > 1 else math.nan
    return Sample(count=len(values), mean=fmean(values), std=sd)


# --- proportions ----------------------------------------------------------------------------------


def wilson(seen: Proportion, alpha: float = ALPHA, effect: float = 1.0) -> Interval:
    """Return the Wilson score interval of a proportion, at confidence ``1 - alpha``.

    `effect` is the design effect of trials that come in clusters: so many count as one.
    """
    z, n, p = _normal_quantile(1 - alpha / 2), seen.trials / effect, seen.rate
    shrink = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / shrink
    reach = z / shrink * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Interval(
        low=max(0.0, centre - reach) if seen.successes else 0.0,
        high=min(1.0, centre + reach) if seen.successes < seen.trials else 1.0,
    )


def binomial_tails(successes: float, trials: float, rate: float) -> tuple[float, float]:
    """Return P(X <= successes) and P(X >= successes) where every trial succeeds with `rate`.

    The exact one-sample test: `rate` is a known constant, not a sample. Trials in clusters are
    first divided by their design effect, and then need not be whole (Korn and Graubard 1998).
    """
    k, n = successes, trials
    below = 1.0 if k >= n else _incomplete_beta(1 - rate, n - k, k + 1)
    above = 1.0 if k <= 0 else _incomplete_beta(rate, k, n - k + 1)
    return below, above


def detectable_rate_above(
    trials: float, rate: float, alpha: float = ALPHA, power: float = POWER
) -> float | None:
    """Return the true rate that `trials` would probably show to lie above a constant `rate`.

    None where not even a rate of 1 would be shown.
    """
    whole = math.floor(trials)
    critical = next((k for k in range(whole + 1) if binomial_tails(k, whole, rate)[1] <= alpha), 0)
    if not critical:
        return None
    return _root(lambda true: binomial_tails(critical, whole, true)[1] - power, rate, 1.0)


def two_proportions(one: Proportion, other: Proportion) -> tuple[float, str]:
    """Return the two-sided p-value of "the rates are equal", and the name of the test.

    Fisher's exact test where an expected count is below 5, else the pooled z-test.
    """
    trials = one.trials + other.trials
    successes = one.successes + other.successes
    rarer = min(successes, trials - successes)
    if rarer * min(one.trials, other.trials) < _SMALL_COUNT * trials:
        return fisher_exact(one, other), "Fisher's exact test"
    return pooled_z(one, other), "pooled z-test"


def pooled_z(one: Proportion, other: Proportion) -> float:
    """Return the two-sided p-value of the z-test with pooled variance, not continuity-corrected."""
    pooled = (one.successes + other.successes) / (one.trials + other.trials)
    error = math.sqrt(pooled * (1 - pooled) * (1 / one.trials + 1 / other.trials))
    if error == 0:
        return 1.0  # all or none in both
    return math.erfc(abs(one.rate - other.rate) / error / math.sqrt(2))


def clustered_z(one: Proportion, other: Proportion, effects: tuple[float, float]) -> float:
    """Return the two-sided p-value of equal rates, where trials come in clusters.

    The pooled z-test with the variance of each sample multiplied by its design effect (Donner and
    Klar 2000, section 6.2.2); `effects` are those of `one` and `other`, see `design_effect`.
    """
    pooled = (one.successes + other.successes) / (one.trials + other.trials)
    spread = effects[0] / one.trials + effects[1] / other.trials
    error = math.sqrt(pooled * (1 - pooled) * spread)
    if error == 0:
        return 1.0  # all or none in both
    return 2 * normal_tail(abs(one.rate - other.rate) / error)


def design_effect(per_cluster: float, correlation: float) -> float:
    """Return by how much clusters inflate the variance of a rate.

    Args:
        per_cluster: trials in a cluster, on average; assertions of a task.
        correlation: of two trials of one cluster, see `intraclass_correlation`.
    """
    return max(1.0, 1 + (per_cluster - 1) * correlation)


def intraclass_correlation(clusters: Sequence[tuple[float, float]]) -> float:
    """Return how much alike the trials of a cluster are, by the analysis of variance.

    Fleiss, Levin and Paik, section 15.2; between 0 (independent) and 1 (all alike), negative
    estimates are 0.

    Args:
        clusters: successes and trials of each; at least two, and one of several trials.

    Raises:
        ValueError: there is nothing to estimate it from.
    """
    total = math.fsum(n for _, n in clusters)
    if len(clusters) < 2 or total <= len(clusters):  # noqa: PLR2004 - one cluster has no spread
        message = "an intraclass correlation needs two clusters, one of several trials"
        raise ValueError(message)
    rate = math.fsum(k for k, _ in clusters) / total
    between = math.fsum(n * (k / n - rate) ** 2 for k, n in clusters) / (len(clusters) - 1)
    within = math.fsum(k * (n - k) / n for k, n in clusters) / (total - len(clusters))
    size = (total - math.fsum(n * n for _, n in clusters) / total) / (len(clusters) - 1)
    spread = between + (size - 1) * within
    return max(0.0, (between - within) / spread) if spread else 0.0


def clustered_rate(clusters: Sequence[tuple[float, float]]) -> Sample:
    """Return a rate over clusters as a sample of as many values as there are clusters.

    Its standard error is the cluster-robust one of a ratio (Cochran, Sampling Techniques, 3rd ed.,
    section 6.3), so that a t interval with one degree of freedom less than clusters covers.

    Args:
        clusters: what is counted, and of how many, in each; a difference of two policies has the
            difference of their counts.
    """
    count, total = len(clusters), math.fsum(whole for _, whole in clusters)
    rate = math.fsum(part for part, _ in clusters) / total
    size = total / count
    residuals = [(part - rate * whole) / size for part, whole in clusters]
    std = math.sqrt(math.fsum(each**2 for each in residuals) / (count - 1)) if count > 1 else None
    return Sample(count=count, mean=rate, std=math.nan if std is None else std)


def fisher_exact(one: Proportion, other: Proportion) -> float:
    """Return the two-sided p-value: the chance, margins fixed, of a table no likelier than this.

    Computed in integers, so that equally likely tables tie exactly.
    """
    successes = one.successes + other.successes
    first = max(0, successes - other.trials)
    last = min(one.trials, successes)
    weight = math.comb(one.trials, first) * math.comb(other.trials, successes - first)
    weights = {first: weight}
    for k in range(first, last):
        kept, left = other.trials - successes + k + 1, successes - k
        weight = weight * (one.trials - k) * left // ((k + 1) * kept)
        weights[k + 1] = weight
    observed = weights[one.successes]
    return sum(each for each in weights.values() if each <= observed) / sum(weights.values())


def mcnemar_exact(only_one: int, only_other: int) -> float:
    """Return the two-sided p-value for paired outcomes, from the pairs where just one succeeds."""
    discordant = only_one + only_other
    tail = sum(math.comb(discordant, k) for k in range(min(only_one, only_other) + 1))
    return min(1.0, 2 * tail / (1 << discordant))


@record
class Detectable:
    """The rates nearest to the reference that a test would probably tell from it.

    None where not even 0 or 1 would be told from it.
    """

    below: float | None
    above: float | None


def detectable_rates(
    reference: Proportion,
    trials: float,
    alpha: float = ALPHA,
    power: float = POWER,
    effects: tuple[float, float] = (1.0, 1.0),
) -> Detectable:
    """Return what `trials` could have told from `reference`, by the two-sided z-test.

    `effects` are the design effects of the trials and of the reference, if they come in clusters.
    """

    def surplus(rate: float) -> float:
        """How much further `rate` is from the reference than the test needs."""
        base, n, m = reference.rate, trials / effects[0], reference.trials / effects[1]
        pooled = (n * rate + m * base) / (n + m)
        null_error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
        true_error = math.sqrt(rate * (1 - rate) / n + base * (1 - base) / m)
        needed = _normal_quantile(1 - alpha / 2) * null_error + _normal_quantile(power) * true_error
        return abs(rate - base) - needed

    def nearest_to_reference(end: float) -> float | None:
        return _root(surplus, reference.rate, end) if surplus(end) > 0 else None

    return Detectable(below=nearest_to_reference(0.0), above=nearest_to_reference(1.0))


def trials_per_arm(one: float, other: float, alpha: float = ALPHA, power: float = POWER) -> int:
    """Return the trials that each of two equal arms needs to tell the rates `one` and `other`.

    Raises:
        ValueError: the rates are equal; no number is enough.
    """
    if one == other:
        message = "equal rates cannot be told apart"
        raise ValueError(message)
    middle = (one + other) / 2
    null_part = _normal_quantile(1 - alpha / 2) * math.sqrt(2 * middle * (1 - middle))
    true_part = _normal_quantile(power) * math.sqrt(one * (1 - one) + other * (1 - other))
    return math.ceil(((null_part + true_part) / (one - other)) ** 2)


# --- means ----------------------------------------------------------------------------------------


def t_tail(t: float, degrees: float) -> float:
    """Return P(T > t) of Student's t, to nine digits of itself in both tails."""
    if t < 0:
        return 1 - t_tail(-t, degrees)
    if t <= 1:  # from the middle: the share beyond t is no small one there
        within = _incomplete_beta(t * t / (degrees + t * t), 0.5, degrees / 2)
        return 0.5 - within / 2
    if t > _SQUARES_OVERFLOW:  # the tail is a power of t, with an error of the order 1 / t**2
        log_scale = degrees * (math.log(degrees) / 2 - math.log(t))
        return math.exp(log_scale - math.log(degrees) - _log_beta(degrees / 2, 0.5))
    return _incomplete_beta(degrees / (degrees + t * t), degrees / 2, 0.5) / 2


def t_cdf(t: float, degrees: float) -> float:
    """Return P(T <= t) of Student's t."""
    return t_tail(-t, degrees)


@cache
def t_quantile(probability: float, degrees: float) -> float:
    """Return the t with P(T <= t) = `probability`, between 0 and 1."""
    if probability < 0.5:  # noqa: PLR2004 - the median of a symmetric distribution
        return -t_quantile(1 - probability, degrees)
    high = 1.0
    while t_tail(high, degrees) > 1 - probability:
        high *= 2
    return _root(lambda t: 1 - probability - t_tail(t, degrees), 0.0, high)


def equivalence_test(seen: Sample, value: float, margin: float) -> float:
    """Return the p-value of "the mean is `margin` or more away from `value`" (TOST)."""
    return max(
        above_test(seen, value - margin),
        below_test(seen, value + margin),
    )


def above_test(seen: Sample, bound: float) -> float:
    """Return the p-value of "the mean is `bound` or less"; small: it lies above."""
    if seen.std == 0:
        return 0.0 if seen.mean > bound else 1.0
    return t_tail((seen.mean - bound) / seen.standard_error, seen.count - 1)


def below_test(seen: Sample, bound: float) -> float:
    """Return the p-value of "the mean is `bound` or more"; small: it lies below."""
    if seen.std == 0:
        return 0.0 if seen.mean < bound else 1.0
    return t_tail((bound - seen.mean) / seen.standard_error, seen.count - 1)


def t_power(effect: float, degrees: float, alpha: float) -> float:
    """Return the power of a one-sided t-test: P(T > its critical value) at a true `effect`.

    The noncentral t distribution, by Simpson's rule over the spread that a sample may show.

    Args:
        effect: in standard errors of the mean.
        degrees: of freedom; infinite for a known spread.
        alpha: level of the test.
    """
    if degrees == math.inf:
        return normal_tail(_normal_quantile(1 - alpha) - effect)
    critical = t_quantile(1 - alpha, degrees)
    return sum(
        share * normal_tail(critical * spread - effect) for spread, share in _spreads(degrees)
    )


@lru_cache(maxsize=256)  # a search asks for the same degrees again and again
def _spreads(degrees: float) -> tuple[tuple[float, float], ...]:
    """Return spreads that a sample may show, over the true one, and the probability of each.

    That is the density there, times the step and the weight of Simpson's rule.
    """
    half, steps = degrees / 2, 200
    log_front = math.log(2) + half * math.log(half) - math.lgamma(half)
    low, high = 1e-9, 1 + 9 / math.sqrt(2 * degrees)
    width = (high - low) / steps
    found = []
    for i in range(steps + 1):
        spread = low + i * width
        log_density = log_front + (degrees - 1) * math.log(spread) - half * spread**2
        weight = 1 if i in (0, steps) else 2 + 2 * (i % 2)
        found.append((spread, weight * width / 3 * math.exp(log_density)))
    return tuple(found)


@cache
def detectable_effect(degrees: float, alpha: float = ALPHA, power: float = POWER) -> float:
    """Return the effect that a one-sided t-test sees with `power`, in standard errors."""
    high = 1.0
    while t_power(high, degrees, alpha) < power:
        high *= 2
    return _root(lambda effect: t_power(effect, degrees, alpha) - power, 0.0, high, 1e-6)


def noninferiority_margin(seen: Sample, alpha: float = ALPHA, power: float = POWER) -> float:
    """Return the smallest margin that a one-sided t-test of such a sample would probably see."""
    return detectable_effect(seen.count - 1, alpha, power) * seen.standard_error


def equivalence_margin(seen: Sample, alpha: float = ALPHA, power: float = POWER) -> float:
    """Return the smallest margin within which TOST would probably show a true mean to lie.

    Both tests must reject, so each may miss only half of ``1 - power``.
    """
    return noninferiority_margin(seen, alpha, (1 + power) / 2)


def differs_test(seen: Sample, value: float = 0.0) -> float:
    """Return the two-sided p-value of "the mean is `value`"; of differences, the paired t-test."""
    return min(1.0, 2 * min(above_test(seen, value), below_test(seen, value)))


def mean_interval(seen: Sample, alpha: float = ALPHA) -> Interval:
    """Return the t interval of a mean, at confidence ``1 - alpha``; of two values or more."""
    reach = t_quantile(1 - alpha / 2, seen.count - 1) * seen.standard_error if seen.std else 0.0
    return Interval(low=seen.mean - reach, high=seen.mean + reach)


def values_needed(effect: float, std: float, alpha: float = ALPHA, power: float = POWER) -> int:
    """Return how many values a two-sided t-test needs to see a mean of `effect` with `power`.

    Args:
        effect: not 0.
        std: of one value.
        alpha: of the test.
        power: the chance to see it.
    """
    z = _normal_quantile(1 - alpha / 2) + _normal_quantile(power)
    count = max(2, math.ceil((z * std / effect) ** 2))
    if count > _MANY:  # as good as normal
        return count
    while (
        t_power(abs(effect) * math.sqrt(count) / std if std else 1e3, count - 1, alpha / 2) < power
    ):
        count += 1
    return count


def largest_spread(noise: float, count: int, alpha: float = ALPHA) -> float:
    """Return the standard deviation that `count` values of a known one seldom exceed.

    By Wilson and Hilferty's approximation of the chi-squared quantile (1931).
    """
    degrees = count - 1
    part = 2 / (9 * degrees)
    return noise * math.pow(1 - part + _normal_quantile(1 - alpha) * math.sqrt(part), 1.5)


def welch_test(one: Sample, other: Sample) -> float:
    """Return the two-sided p-value of "the means are equal", for spreads that may differ.

    Args:
        one: at least two values.
        other: at least two values.
    """
    squares = [each.standard_error**2 for each in (one, other)]
    error = math.sqrt(sum(squares))
    if error == 0:
        return 1.0 if one.mean == other.mean else 0.0
    weights = zip(squares, (one.count - 1, other.count - 1), strict=True)
    degrees = sum(squares) ** 2 / sum(square**2 / free for square, free in weights)
    return 2 * t_tail(abs(one.mean - other.mean) / error, degrees)


# --- counts and small samples ---------------------------------------------------------------------


def is_discrete(values: Sequence[float], step: float = 1.0) -> bool:
    """Return whether values look counted: two are equal, or they are few steps apart.

    The spread of a few such values is often 0, and says nothing; tests of them permute.

    Args:
        values: at least one.
        step: the smallest difference of two values, where they are counted.
    """
    if len({*values}) < len(values):
        return True
    is_whole = all(abs(value / step - round(value / step)) < 1e-9 for value in values)  # noqa: PLR2004 - round-off
    return is_whole and max(values) - min(values) < _FEW_STEPS * step


def sign_test(values: Sequence[float], bound: float) -> tuple[float, float]:
    """Return the p-values of "the mean is `bound` or more" and "or less", by flipping signs.

    Exact where the values scatter symmetrically, as differences of pairs do under no effect: each
    deviation from the bound might as well have had the other sign (Fisher 1935, section 21). Of
    many values, signs are drawn instead of listed.
    """
    deviations = [value - bound for value in values]
    slack = 1e-9 * sum(map(abs, deviations))
    seen = sum(deviations)
    if 2 ** len(deviations) <= _MAX_ARRANGEMENTS:
        sums = [sum(each) for each in product(*((d, -d) for d in deviations))]
    else:
        draw = random.Random(0)  # noqa: S311 - resampling, not secrecy
        sums = [sum(d * draw.choice((1, -1)) for d in deviations) for _ in range(_DRAWS)]
        sums.append(seen)  # what was seen is one of the arrangements
    below = sum(each <= seen + slack for each in sums) / len(sums)
    above = sum(each >= seen - slack for each in sums) / len(sums)
    return below, above


def permutation_test(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the two-sided p-value of "both come from one distribution", by the means.

    Exact for few values: the share of all ways to deal them out that part the means as far. Of many
    values, ways are drawn instead of listed.
    """
    pooled, n = [*one, *other], len(one)
    total = math.fsum(pooled)
    slack = 1e-9 * math.fsum(map(abs, pooled))

    def apart(chosen: Iterable[float]) -> float:
        part = sum(chosen)
        return abs(part / n - (total - part) / (len(pooled) - n)) * n

    seen = apart(one)
    if math.comb(len(pooled), n) <= _MAX_ARRANGEMENTS:
        dealt = [apart(each) for each in combinations(pooled, n)]
    else:
        draw = random.Random(0)  # noqa: S311 - resampling, not secrecy
        dealt = [apart(draw.sample(pooled, n)) for _ in range(_DRAWS)]
        dealt.append(seen)
    return sum(each >= seen - slack for each in dealt) / len(dealt)


def two_samples(
    one: Sequence[float], other: Sequence[float], step: float = 1.0
) -> tuple[float, str]:
    """Return the two-sided p-value of "the means are equal", and the name of the test.

    Welch's for measured values, three on each side; a permutation test for counted ones, and for
    pairs, whose spread is hardly known.

    Args:
        one: at least one value.
        other: at least one value.
        step: see `is_discrete`.
    """
    enough = 3
    if min(len(one), len(other)) < enough or is_discrete([*one, *other], step):
        return permutation_test(one, other), PERMUTATION
    return welch_test(sample(one), sample(other)), "Welch's t-test"


def least_p(one: int, other: int) -> float:
    """Return the smallest p-value that a permutation test of so many values can give."""
    ways = math.comb(one + other, one)
    return (2 if one == other else 1) / ways


def bootstrap(
    units: Sequence[T],
    statistic: Callable[[Sequence[T]], float],
    *,
    alpha: float = ALPHA,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return the percentile bootstrap interval of a statistic; the seed makes it repeatable.

    Args:
        units: the resampled units: values, or clusters of values that hang
            together, as the assertions of one task do.
        statistic: function of the resampled units.
        alpha: one minus the confidence.
        resamples: number of bootstrap samples.
        seed: of the draws.
    """
    draw = random.Random(seed)  # noqa: S311 - resampling, not secrecy
    found = sorted(statistic(draw.choices(units, k=len(units))) for _ in range(resamples))
    cut = math.floor(alpha / 2 * resamples)
    return Interval(low=found[cut], high=found[resamples - 1 - cut])


def bootstrap_median(
    values: Sequence[float], *, alpha: float = ALPHA, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Return the percentile bootstrap interval of the median."""
    return bootstrap(values, median, alpha=alpha, resamples=resamples, seed=seed)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return the p-values adjusted for being one of several tests, in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = least
    return tuple(adjusted)


# --- lines ----------------------------------------------------------------------------------------


@record
class Line:
    """A straight line through points, by least squares.

    Attributes:
        slope: per unit of x.
        intercept: at x = 0.
        residual: the largest distance of a point from the line, in y.
    """

    slope: float
    intercept: float
    residual: float


def least_squares(points: Iterable[tuple[float, float]]) -> Line:
    """Return the line through (x, y) points that has the least sum of squared distances in y.

    Raises:
        ValueError: fewer than two different x.
    """
    known = list(points)
    if len({x for x, _ in known}) < 2:  # noqa: PLR2004 - a line needs two
        message = f"no line through {len(known)} points of one x"
        raise ValueError(message)
    mean_x, mean_y = (math.fsum(point[axis] for point in known) / len(known) for axis in (0, 1))
    spread = math.fsum((x - mean_x) ** 2 for x, _ in known)
    slope = math.fsum((x - mean_x) * (y - mean_y) for x, y in known) / spread
    intercept = mean_y - slope * mean_x
    residual = max(abs(y - intercept - slope * x) for x, y in known)
    return Line(slope=slope, intercept=intercept, residual=residual)


# --- numerics -------------------------------------------------------------------------------------


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b).

    By its continued fraction (Abramowitz and Stegun 26.5.8), on the side where that converges fast.
    """
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(1 - x, b, a)
    log_front = a * math.log(x) + b * math.log1p(-x) - _log_beta(a, b)
    return math.exp(log_front) / (a * _beta_fraction(x, a, b))


def _log_beta(a: float, b: float) -> float:
    """Return log B(a, b); of a large argument without the difference of two large logarithms."""
    small, large = sorted((a, b))
    if large < 1000:  # noqa: PLR2004 - below it lgamma loses less than the series leaves out
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    def correction(x: float) -> float:  # of Stirling's formula
        return 1 / (12 * x) - 1 / (360 * x**3)

    # log gamma(large) - log gamma(large + small), by Stirling's formula for both
    difference = small - small * math.log(large + small)
    difference -= (large - 0.5) * math.log1p(small / large)
    return math.lgamma(small) + difference + correction(large) - correction(large + small)


def _beta_fraction(x: float, a: float, b: float) -> float:
    """Return 1 + d1/(1 + d2/(1 + ...)) by Lentz's method."""
    value, c, d = 1.0, 1.0, 0.0
    for step in range(1, 10_000):
        m, odd = divmod(step, 2)
        if odd:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / (1 + term * d or _TINY)
        c = 1 + term / c or _TINY
        value *= c * d
        if abs(c * d - 1) < 1e-15:  # noqa: PLR2004 - the last bit of a double
            break
    return value


def _root(rising: Callable[[float], float], low: float, high: float, width: float = 0.0) -> float:
    """Return where a function crosses zero between `low`, where it is negative, and `high`.

    Args:
        rising: the function.
        low: where it is negative.
        high: where it is not.
        width: how close is close enough; 0 for the last bit.
    """
    while True:
        middle = (low + high) / 2
        if middle in (low, high) or abs(high - low) < width:
            return middle
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
