"""The tests behind the statistical kinds, in closed form, and the least-squares line.

The standard library is enough for all of them, and scipy.stats takes two seconds to import; the
tests compare every function here with scipy. Sources: Wilson 1927 (interval), Fleiss, Levin and
Paik, Statistical Methods for Rates and Proportions, 3rd ed., sections 3.4 and 4.2 (two proportions,
sample size), Schuirmann 1987 (two one-sided tests), Julious 2004 (what such tests can see), Holm
1979 (several tests).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from statistics import NormalDist, fmean, median, stdev
from typing import TypeVar

from harness.records import record

POWER = 0.8  # the chance of seeing an effect that is there, where "could have seen" is said
ALPHA = 0.05
_SMALL_COUNT = 5.0  # Cochran's rule: below it the normal approximation does not hold
_TINY = 1e-300

T = TypeVar("T")

_normal_quantile = NormalDist().inv_cdf


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


def wilson(seen: Proportion, alpha: float = ALPHA) -> Interval:
    """Return the Wilson score interval of a proportion, at confidence ``1 - alpha``."""
    z, n, p = _normal_quantile(1 - alpha / 2), seen.trials, seen.rate
    shrink = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / shrink
    reach = z / shrink * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Interval(
        low=max(0.0, centre - reach) if seen.successes else 0.0,
        high=min(1.0, centre + reach) if seen.successes < n else 1.0,
    )


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
    reference: Proportion, trials: int, alpha: float = ALPHA, power: float = POWER
) -> Detectable:
    """Return what `trials` could have told from `reference`, by the two-sided z-test."""

    def surplus(rate: float) -> float:
        """How much further `rate` is from the reference than the test needs."""
        base, n, m = reference.rate, trials, reference.trials
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
    """Return P(T > t) of Student's t, accurate in both tails."""
    if t * t < degrees:  # from the middle, where the share beyond t would lose digits
        within = _incomplete_beta(t * t / (degrees + t * t), 0.5, degrees / 2)
        return 0.5 - math.copysign(within, t) / 2
    beyond = _incomplete_beta(degrees / (degrees + t * t), degrees / 2, 0.5) / 2
    return beyond if t > 0 else 1 - beyond


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


def noninferiority_margin(seen: Sample, alpha: float = ALPHA, power: float = POWER) -> float:
    """Return the smallest margin that a one-sided t-test of such a sample would probably see.

    The central-t approximation of the power: exact as n grows, a few points of power off at n = 3.
    """
    degrees = seen.count - 1
    return (t_quantile(1 - alpha, degrees) + t_quantile(power, degrees)) * seen.standard_error


def equivalence_margin(seen: Sample, alpha: float = ALPHA, power: float = POWER) -> float:
    """Return the smallest margin within which TOST would probably show a true mean to lie.

    Both tests must reject, so each may miss only half of ``1 - power``.
    """
    return noninferiority_margin(seen, alpha, (1 + power) / 2)


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
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    log_front += a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) / (a * _beta_fraction(x, a, b))


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


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function crosses zero between `low`, where it is negative, and `high`."""
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return middle
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
