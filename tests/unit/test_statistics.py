"""The closed forms against scipy and against textbooks."""

from __future__ import annotations

import math
import random
from statistics import median

import pytest

from harness.statistics import (
    Detectable,
    Proportion,
    Sample,
    above_test,
    below_test,
    binomial_tails,
    bootstrap,
    bootstrap_median,
    detectable_effect,
    detectable_rates,
    equivalence_margin,
    equivalence_test,
    fisher_exact,
    holm,
    intraclass_correlation,
    is_discrete,
    largest_spread,
    mcnemar_exact,
    mean_interval,
    noninferiority_margin,
    pooled_z,
    sample,
    t_cdf,
    t_power,
    t_quantile,
    t_tail,
    trials_per_arm,
    two_proportions,
    welch_test,
    wilson,
)

stats = pytest.importorskip("scipy.stats", reason="the oracle: install scipy")

TABLES = [(0, 1, 1, 1), (3, 10, 9, 10), (11, 158, 13, 158), (0, 158, 4, 158), (8, 32, 28, 32)]
TABLES += [(372, 780, 389, 780), (5, 5, 5, 5), (0, 7, 0, 9), (1, 20, 30, 40)]


def of(successes: int, trials: int) -> Proportion:
    return Proportion(successes=successes, trials=trials)


@pytest.mark.parametrize(("k", "n"), [(0, 5), (5, 5), (1, 8), (11, 158), (389, 780), (4, 158)])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_wilson_is_scipys(k: int, n: int, alpha: float) -> None:
    expected = stats.binomtest(k, n).proportion_ci(1 - alpha, method="wilson")
    found = wilson(of(k, n), alpha)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_by_the_book() -> None:
    # Newcombe 1998, table I: 81 of 263, and 0 of 20
    assert (wilson(of(81, 263)).low, wilson(of(81, 263)).high) == pytest.approx(
        (0.2553, 0.3662), abs=5e-5
    )
    assert (wilson(of(0, 20)).low, wilson(of(0, 20)).high) == pytest.approx((0, 0.1611), abs=5e-5)


@pytest.mark.parametrize(("a", "n", "b", "m"), TABLES)
def test_fisher_is_scipys(a: int, n: int, b: int, m: int) -> None:
    expected = stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue
    assert fisher_exact(of(a, n), of(b, m)) == pytest.approx(expected, rel=1e-9)


def test_fisher_by_the_book() -> None:
    # the lady tasting tea: 3 of 4 right, two-sided
    assert fisher_exact(of(3, 4), of(1, 4)) == pytest.approx(34 / 70)


@pytest.mark.parametrize(("a", "n", "b", "m"), TABLES)
def test_pooled_z_is_the_uncorrected_chi_square(a: int, n: int, b: int, m: int) -> None:
    if a + b in (0, n + m):
        assert pooled_z(of(a, n), of(b, m)) == 1.0
        return
    table = [[a, n - a], [b, m - b]]
    expected = stats.chi2_contingency(table, correction=False).pvalue
    assert pooled_z(of(a, n), of(b, m)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("a", "n", "b", "m"), TABLES)
def test_the_test_is_exact_where_a_count_expected_is_small(a: int, n: int, b: int, m: int) -> None:
    rate = (a + b) / (n + m)
    small = min(n * rate, m * rate, n * (1 - rate), m * (1 - rate)) < 5
    p_value, name = two_proportions(of(a, n), of(b, m))
    assert name == ("Fisher's exact test" if small else "pooled z-test")
    assert p_value == (fisher_exact if small else pooled_z)(of(a, n), of(b, m))


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (3, 9), (10, 10), (0, 6), (120, 80)])
def test_mcnemar_is_the_exact_sign_test(b: int, c: int) -> None:
    expected = stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert mcnemar_exact(b, c) == pytest.approx(expected, rel=1e-9)


def test_sample_size_by_the_book() -> None:
    # Fleiss, Levin and Paik, table 4.2 without continuity correction: 0.6 against 0.7
    assert trials_per_arm(0.6, 0.7) == 356
    with pytest.raises(ValueError, match="cannot be told apart"):
        trials_per_arm(0.5, 0.5)


def test_detectable_rate_and_sample_size_are_inverse() -> None:
    rates = detectable_rates(of(150, 300), 300)
    assert rates.above is not None
    assert rates.below is not None
    assert trials_per_arm(0.5, rates.above) in (300, 301)
    assert trials_per_arm(0.5, rates.below) in (300, 301)


def test_a_tiny_sample_tells_nothing() -> None:
    assert detectable_rates(of(79, 158), 1) == Detectable(below=None, above=None)


@pytest.mark.parametrize("degrees", [1, 2, 3, 7, 30, 200])
def test_t_is_scipys(degrees: int) -> None:
    for t in (-40.0, -3.0, -0.5, 0.0, 1e-3, 0.7, 1.0, 2.5, 60.0):
        assert t_tail(t, degrees) == pytest.approx(stats.t.sf(t, degrees), rel=1e-10)
        assert t_cdf(t, degrees) == pytest.approx(stats.t.cdf(t, degrees), rel=1e-10)
    for p in (0.001, 0.05, 0.5, 0.8, 0.975, 0.9999):
        expected = stats.t.ppf(p, degrees)
        assert t_quantile(p, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("degrees", [1, 2, 2.5, 5, 30, 300, 3000, 1e5])
@pytest.mark.parametrize("t", [0.5, 0.99, 1.01, 1.7, 3, 8, 30, 300, 1e10, 1e80])
def test_a_small_tail_of_t_is_right_to_its_own_digits(t: float, degrees: float) -> None:
    expected = stats.t.sf(t, degrees)
    if expected > 1e-300:
        assert t_tail(t, degrees) == pytest.approx(expected, rel=1e-9, abs=0)
    assert t_tail(-t, degrees) == pytest.approx(1 - expected, rel=1e-12)


def test_the_furthest_tail_of_t_follows_its_power() -> None:
    # one degree of freedom is Cauchy's distribution: 1 / (pi t); two: 1 / (2 t**2)
    assert t_tail(1e160, 1) == pytest.approx(1 / (math.pi * 1e160), rel=1e-12, abs=0)
    assert t_tail(1e120, 2) == pytest.approx(0.5e-240, rel=1e-12, abs=0)
    assert t_tail(1e300, 30) == 0.0


@pytest.mark.parametrize("degrees", [2, 4, 10, 50])
@pytest.mark.parametrize("effect", [0.0, 1.0, 3.0, 6.0])
def test_the_power_of_a_t_test_is_the_noncentral_distribution(degrees: int, effect: float) -> None:
    critical = stats.t.ppf(0.95, degrees)
    expected = stats.nct.sf(critical, degrees, effect) if effect else 0.05
    assert t_power(effect, degrees, 0.05) == pytest.approx(expected, abs=1e-6)
    assert t_power(detectable_effect(degrees), degrees, 0.05) == pytest.approx(0.8, abs=1e-5)


@pytest.mark.parametrize(("k", "n", "rate"), [(0, 8, 0.125), (3, 24, 0.125), (24, 24, 0.5)])
def test_binomial_tails_are_scipys(k: int, n: int, rate: float) -> None:
    expected = stats.binom.cdf(k, n, rate), stats.binom.sf(k - 1, n, rate)
    assert binomial_tails(k, n, rate) == pytest.approx(expected, abs=1e-12)


def test_trials_that_share_tasks_count_as_fewer() -> None:
    whole, fewer = binomial_tails(12, 24, 0.25)[1], binomial_tails(4, 8, 0.25)[1]
    assert whole < binomial_tails(6, 12, 0.25)[1] < fewer
    assert fewer < binomial_tails(3.5, 7, 0.25)[1]  # of which a test of whole counts has none


@pytest.mark.parametrize(("count", "alpha"), [(2, 0.05), (5, 0.05), (30, 0.01)])
def test_the_spread_that_a_known_noise_seldom_exceeds(count: int, alpha: float) -> None:
    expected = math.sqrt(stats.chi2.ppf(1 - alpha, count - 1) / (count - 1))
    assert largest_spread(1.0, count, alpha) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("values", "step", "discrete"),
    [
        ([1.0, 2.0, 4.0], 1.0, True),
        ([0.5, 0.5, 0.7], 1.0, True),
        ([0.31, 0.5, 0.7], 1.0, False),
        ([10021.0, 10044.0, 10107.0], 1.0, False),  # whole, and as good as continuous
        ([4.5, 5.0, 6.0], 0.5, True),
    ],
)
def test_what_looks_counted(values: list[float], step: float, discrete: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert is_discrete(values, step) is discrete


@pytest.mark.parametrize("clusters", [[], [(1, 2)], [(1, 1), (0, 1)]])
def test_a_correlation_needs_clusters_of_several(clusters: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="two clusters, one of several"):
        intraclass_correlation(clusters)


def test_t_by_the_book() -> None:
    assert t_quantile(0.975, 10) == pytest.approx(2.228, abs=5e-4)
    assert t_quantile(0.95, 2) == pytest.approx(2.920, abs=5e-4)


def test_one_sided_tests_are_scipys() -> None:
    values = [5.1, 4.9, 5.4, 5.2]
    seen = sample(values)
    for bound in (4.5, 5.0, 5.3):
        above = stats.ttest_1samp(values, bound, alternative="greater").pvalue
        below = stats.ttest_1samp(values, bound, alternative="less").pvalue
        assert above_test(seen, bound) == pytest.approx(above, rel=1e-9)
        assert below_test(seen, bound) == pytest.approx(below, rel=1e-9)
    tost = max(
        stats.ttest_1samp(values, 4.6, alternative="greater").pvalue,
        stats.ttest_1samp(values, 5.4, alternative="less").pvalue,
    )
    assert equivalence_test(seen, 5.0, 0.4) == pytest.approx(tost, rel=1e-9)


def test_the_interval_of_a_mean_is_scipys() -> None:
    values = [5.1, 4.9, 5.4, 5.2]
    for alpha in (0.05, 0.2):
        found = mean_interval(sample(values), alpha)
        wanted = stats.t.interval(1 - alpha, 3, loc=5.15, scale=stats.sem(values))
        assert (found.low, found.high) == pytest.approx(wanted, rel=1e-9)


def test_identical_values_decide_without_a_spread() -> None:
    seen = sample([2.0, 2.0, 2.0])
    assert equivalence_test(seen, 2.1, 0.2) == 0.0
    assert equivalence_test(seen, 2.1, 0.1) == 1.0  # the bound itself is not shown
    assert equivalence_test(seen, 3.0, 0.2) == 1.0


@pytest.mark.parametrize("count", [3, 5, 20])
def test_the_margin_that_could_have_been_shown_is_shown_with_that_power(count: int) -> None:
    seen = Sample(count=count, mean=0.0, std=1.0)
    critical, noncentral = stats.t.ppf(0.95, count - 1), math.sqrt(count)
    margin = noninferiority_margin(seen)
    power = stats.nct.sf(critical, count - 1, margin * noncentral)
    assert power == pytest.approx(0.8, abs=0.02)
    assert equivalence_margin(seen) > margin


def test_bootstrap_repeats_and_covers() -> None:
    draw = random.Random(7)  # noqa: S311 - a sample, not a secret
    values = [draw.gauss(10, 1) for _ in range(40)]
    found = bootstrap_median(values)
    assert found == bootstrap_median(values)
    assert found.low <= median(values) <= found.high
    oracle = stats.bootstrap(
        (values,), median, vectorized=False, n_resamples=2000, method="percentile", rng=0
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=0.15)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3), (0, 0)])
def test_what_is_no_proportion_is_refused(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="not a proportion"):
        of(k, n)


def test_a_bootstrap_of_the_mean_is_nearly_the_t_interval() -> None:
    draw = random.Random(3)  # noqa: S311 - a sample, not secrecy
    values = [draw.gauss(5.0, 2.0) for _ in range(200)]
    found = bootstrap(values, lambda sample: sum(sample) / len(sample))
    seen = sample(values)
    reach = t_quantile(0.975, 199) * seen.standard_error
    assert (found.low, found.high) == pytest.approx(
        (seen.mean - reach, seen.mean + reach), abs=0.05
    )


def test_clusters_are_drawn_whole() -> None:
    clusters = [(0,) * 10, (1,) * 10] * 10  # twenty units, whatever they hold
    found = bootstrap(clusters, lambda sample: sum(map(sum, sample)) / (10 * len(sample)))
    exact = stats.binom(20, 0.5)
    assert found.low == pytest.approx(exact.ppf(0.025) / 20, abs=0.05)
    assert found.high == pytest.approx(exact.ppf(0.975) / 20, abs=0.05)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1.0, 1.1, 0.9), (1.5, 1.6, 1.4)),
        ((1.0, 1.1, 0.9, 1.3), (1.1, 1.2)),
        ((5.0, 5.0, 5.1), (1.0, 9.0)),
    ],
)
def test_welch_agrees_with_scipy(one: tuple[float, ...], other: tuple[float, ...]) -> None:
    expected = stats.ttest_ind(one, other, equal_var=False).pvalue
    assert welch_test(sample(one), sample(other)) == pytest.approx(expected, rel=1e-10)


def test_welch_without_any_spread() -> None:
    assert welch_test(sample([1.0, 1.0]), sample([2.0, 2.0])) == 0.0
    assert welch_test(sample([1.0, 1.0]), sample([1.0, 1.0])) == 1.0
