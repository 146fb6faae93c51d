"""Every statistical rule, simulated: its false alarms, its coverage, and its power as printed.

Draws are seeded, and the bounds are three standard errors of the number of draws wide, so that a
rule that keeps its level passes and one that is a few points off does not. Marked `slow`, the same
with ten times as many draws.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import fmean

import pytest

from harness.check.finding import Judgement, SignificanceTest
from harness.check.inference import Scatter, decide
from harness.records import VerdictKind
from harness.statistics import (
    ALPHA,
    POWER,
    Proportion,
    binomial_tails,
    bootstrap,
    clustered_rate,
    clustered_z,
    design_effect,
    detectable_effect,
    detectable_rate_above,
    detectable_rates,
    holm,
    intraclass_correlation,
    permutation_test,
    sample,
    t_quantile,
    two_proportions,
    two_samples,
    wilson,
)

Draw = Callable[[random.Random], bool]
K = VerdictKind


@pytest.fixture(params=[1, pytest.param(10, marks=pytest.mark.slow)], ids=["few", "many"])
def times(request: pytest.FixtureRequest) -> int:
    return int(request.param)


class Shares:
    """The share of draws in which something happens, beside what it should be."""

    def __init__(self, draws: int, happens: Draw) -> None:
        source = seeded(20261130)
        self.draws = draws
        self.share = fmean(happens(source) for _ in range(draws))

    def error(self, rate: float) -> float:
        return 3 * math.sqrt(rate * (1 - rate) / self.draws)

    def at_most(self, level: float) -> None:
        assert self.share <= level + self.error(level), self.share

    def about(self, rate: float, within: float = 0.0) -> None:
        assert abs(self.share - rate) <= self.error(rate) + within, self.share

    def above(self, level: float) -> None:
        assert self.share > level, self.share


def normal(draw: random.Random, count: int, mean: float = 0.0) -> tuple[float, ...]:
    return tuple(draw.gauss(mean, 1.0) for _ in range(count))


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - simulation, not secrecy


def poisson(draw: random.Random, mean: float) -> int:
    passed, count = math.exp(-mean), 0
    left = draw.random()
    while left > passed:
        left *= draw.random()
        count += 1
    return count


# --- means of replicates --------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 5, 8])
def test_a_mean_is_wrongly_shown_at_the_level(count: int, times: int) -> None:
    Shares(1500 * times, lambda draw: Scatter(values=normal(draw, count)).above(0) <= ALPHA).about(
        ALPHA
    )


@pytest.mark.parametrize("count", [3, 5, 8])
def test_a_mean_is_shown_with_the_power_printed(count: int, times: int) -> None:
    effect = detectable_effect(count - 1, ALPHA) / math.sqrt(count)  # as printed, for a spread of 1
    Shares(
        1500 * times, lambda draw: Scatter(values=normal(draw, count, effect)).above(0) <= ALPHA
    ).about(POWER)


def counted_differences(draw: random.Random, count: int, more: float = 0.0) -> tuple[float, ...]:
    """Keeps of a search less keeps of another: few, and often equal."""
    return tuple(float(poisson(draw, 0.4 + more) - poisson(draw, 0.4)) for _ in range(count))


@pytest.mark.parametrize("count", [3, 5, 8])
def test_counted_differences_are_wrongly_shown_at_the_level(count: int, times: int) -> None:
    Shares(
        1000 * times,
        lambda draw: Scatter(values=counted_differences(draw, count)).above(0) <= ALPHA,
    ).at_most(ALPHA)


def test_what_a_test_of_counts_sees_is_printed(times: int) -> None:
    count, effect = 8, 1.0
    for _ in range(20):  # a higher Poisson mean spreads more: until both agree
        spread = math.sqrt(0.8 + effect)
        effect = detectable_effect(count - 1, 12 / 2**count) * spread / math.sqrt(count)
    Shares(
        1000 * times,
        lambda draw: Scatter(values=counted_differences(draw, count, effect)).above(0) <= ALPHA,
    ).about(POWER, within=0.05)


def test_few_counts_say_that_they_see_nothing() -> None:
    assert Scatter(values=(1.0, 1.0, 2.0)).sees(ALPHA) is None  # 2 ** -3 is above the level
    assert Scatter(values=(1.0, 1.0, 2.0, 2.0, 3.0)).sees(ALPHA) is not None


@pytest.mark.parametrize("count", [1, 3, 10])
def test_known_noise_keeps_its_level_and_its_power(count: int, times: int) -> None:
    noise = 1.0
    effect = detectable_effect(math.inf, ALPHA) * noise / math.sqrt(count)

    def sees(shift: float) -> Draw:
        return lambda draw: (
            Scatter(values=normal(draw, count, shift), noise=noise).above(0) <= ALPHA
        )

    Shares(1500 * times, sees(0.0)).at_most(ALPHA)
    # one set of replicates in twenty contradicts even a true noise, and is tested by its own spread
    Shares(1500 * times, sees(effect)).about(POWER, within=0.04)


def test_replicates_that_contradict_the_noise_are_believed(times: int) -> None:
    def happens(draw: random.Random) -> bool:
        return Scatter(values=normal(draw, 5), noise=0.2).above(0) <= ALPHA

    Shares(1500 * times, happens).at_most(ALPHA)


def test_more_replicates_see_more_where_a_tolerance_alone_saw_less() -> None:
    """A true shift of 3 % under noise of 1 % a run: by an old tolerance of 5 %, and by a test."""

    def by_tolerance(count: int) -> float:
        return Shares(800, lambda draw: abs(fmean(normal(draw, count, -3.0))) > 5.0).share

    def not_shown(count: int) -> float:
        def happens(draw: random.Random) -> bool:
            scatter = Scatter(values=normal(draw, count, -3.0), noise=1.0)
            return max(scatter.above(-3.0), scatter.below(3.0)) > ALPHA

        return Shares(800, happens).share

    def refuted(count: int) -> float:
        """The same shift, where a difference of 2 % matters."""

        def happens(draw: random.Random) -> bool:
            scatter = Scatter(values=normal(draw, count, -3.0), noise=1.0)
            return 2 * scatter.below(-2.0) <= ALPHA

        return Shares(800, happens).share

    assert by_tolerance(1) < 0.04
    assert by_tolerance(5) <= by_tolerance(1)
    assert min(not_shown(1), not_shown(5)) > 0.92
    assert refuted(1) < refuted(3) < refuted(10)
    assert refuted(10) > POWER


# --- rates ----------------------------------------------------------------------------------------


def binomial(draw: random.Random, trials: int, rate: float) -> Proportion:
    return Proportion(successes=sum(draw.random() < rate for _ in range(trials)), trials=trials)


@pytest.mark.parametrize("rate", [0.07, 0.5])
def test_equal_rates_are_told_apart_at_the_level(rate: float, times: int) -> None:
    def happens(draw: random.Random) -> bool:
        one, other = (binomial(draw, 158, rate) for _ in range(2))
        return two_proportions(one, other)[0] < ALPHA

    Shares(1000 * times, happens).at_most(ALPHA)


def test_rates_are_told_apart_with_the_power_printed(times: int) -> None:
    reference = Proportion(successes=79, trials=158)
    above = detectable_rates(reference, 158).above
    assert above is not None

    def happens(draw: random.Random) -> bool:
        one, other = binomial(draw, 158, above), binomial(draw, 158, 0.5)
        return two_proportions(one, other)[0] < ALPHA

    Shares(1000 * times, happens).about(POWER, within=0.02)


@pytest.mark.parametrize(("trials", "constant"), [(24, 0.125), (120, 0.125), (50, 0.5)])
def test_a_constant_is_no_sample(trials: int, constant: float, times: int) -> None:
    def better(rate: float) -> Draw:
        def happens(draw: random.Random) -> bool:
            seen = binomial(draw, trials, rate)
            return binomial_tails(seen.successes, seen.trials, constant)[1] <= ALPHA

        return happens

    printed = detectable_rate_above(trials, constant)
    assert printed is not None
    Shares(1000 * times, better(constant)).at_most(ALPHA)
    Shares(1000 * times, better(printed)).about(POWER)


# --- trials that share a task ---------------------------------------------------------------------

TASKS, PER_TASK, ICC, RATE = 158, 5, 0.4, 0.48


def tasks(draw: random.Random, count: int = TASKS, rate: float = RATE) -> list[tuple[float, float]]:
    """Assertions that hold, of those there are, task by task: beta-binomial."""
    a = rate * (1 - ICC) / ICC
    b = (1 - rate) * (1 - ICC) / ICC
    rates = (draw.betavariate(a, b) for _ in range(count))
    return [(sum(draw.random() < each for _ in range(PER_TASK)), PER_TASK) for each in rates]


def whole(clusters: list[tuple[float, float]]) -> Proportion:
    return Proportion(
        successes=int(sum(k for k, _ in clusters)), trials=int(sum(n for _, n in clusters))
    )


def test_assertions_of_a_task_are_no_independent_trials(times: int) -> None:
    effects = (design_effect(PER_TASK, ICC),) * 2

    def apart(test: Callable[[Proportion, Proportion], float]) -> Draw:
        return lambda draw: test(whole(tasks(draw)), whole(tasks(draw))) < ALPHA

    Shares(500 * times, apart(lambda one, other: two_proportions(one, other)[0])).above(0.08)
    Shares(500 * times, apart(lambda one, other: clustered_z(one, other, effects))).about(ALPHA)


def test_clustered_rates_are_told_apart_with_the_power_printed(times: int) -> None:
    effects = (design_effect(PER_TASK, ICC),) * 2
    reference = Proportion(successes=round(RATE * TASKS * PER_TASK), trials=TASKS * PER_TASK)
    above = detectable_rates(reference, TASKS * PER_TASK, effects=effects).above
    assert above is not None

    def happens(draw: random.Random) -> bool:
        return clustered_z(whole(tasks(draw, rate=above)), whole(tasks(draw)), effects) < ALPHA

    Shares(500 * times, happens).about(POWER, within=0.02)


def test_the_correlation_within_tasks_is_estimated() -> None:
    draw = seeded(3)
    assert fmean(intraclass_correlation(tasks(draw)) for _ in range(60)) == pytest.approx(
        ICC, abs=0.02
    )


@pytest.mark.parametrize("count", [16, 48])
def test_an_interval_over_tasks_covers(count: int, times: int) -> None:
    def covers(draw: random.Random) -> bool:
        found = clustered_rate(tasks(draw, count))
        reach = t_quantile(1 - ALPHA / 2, count - 1) * found.standard_error
        return abs(found.mean - RATE) <= reach

    Shares(800 * times, covers).about(1 - ALPHA, within=0.015)


def test_wilsons_interval_of_clustered_trials_covers(times: int) -> None:
    effect = design_effect(PER_TASK, ICC)

    def covers(effect: float) -> Draw:
        def happens(draw: random.Random) -> bool:
            found = wilson(whole(tasks(draw, 48)), effect=effect)
            return found.low <= RATE <= found.high

        return happens

    Shares(800 * times, covers(effect)).about(1 - ALPHA, within=0.01)
    assert Shares(800, covers(1.0)).share < 0.9  # as if they were independent


@pytest.mark.slow
def test_a_bootstrap_over_tasks_covers_nearly() -> None:
    def ratio(units: Sequence[tuple[float, float]]) -> float:
        return sum(k for k, _ in units) / sum(n for _, n in units)

    def covers(draw: random.Random) -> bool:
        found = bootstrap(tasks(draw, 48), ratio, resamples=400, seed=draw.randrange(2**31))
        return found.low <= RATE <= found.high

    Shares(400, covers).about(1 - ALPHA, within=0.03)


def test_the_difference_of_two_policies_is_tested_task_by_task(times: int) -> None:
    """Both play the same tasks: what a task is worth to both of them cancels."""

    def apart(draw: random.Random) -> bool:
        pairs = []
        for _ in range(48):
            easy = draw.random()
            one, other = (sum(draw.random() < easy for _ in range(4)) for _ in range(2))
            pairs.append((one - other, 4))
        found = clustered_rate(pairs)
        return abs(found.mean) > t_quantile(1 - ALPHA / 2, 47) * found.standard_error

    Shares(800 * times, apart).about(ALPHA, within=0.01)


# --- several tests --------------------------------------------------------------------------------


def judgements(p_values: list[float]) -> dict[str, Judgement]:
    def judgement(p: float) -> Judgement:
        test = SignificanceTest(
            name="t", alpha=ALPHA, shown=1 - p, refuted=p, sight=lambda alpha: f"{alpha:g}"
        )
        return Judgement(kind=K.INCONCLUSIVE, test=test)

    return {f"e{index}": judgement(p) for index, p in enumerate(p_values)}


def test_a_ledger_of_true_claims_is_refuted_at_the_level(times: int) -> None:
    def happens(draw: random.Random) -> bool:
        findings = judgements([draw.random() for _ in range(12)])
        decided = decide(findings, {*findings}).values()
        return K.OUTSIDE in {each.kind for each in decided}

    def alone(draw: random.Random) -> bool:
        decided = decide(judgements([draw.random() for _ in range(12)]), set()).values()
        return K.OUTSIDE in {each.kind for each in decided}

    Shares(1000 * times, happens).at_most(ALPHA)
    Shares(1000 * times, alone).above(0.3)  # without correction


def test_what_is_not_counted_is_tested_alone_and_costs_the_others_nothing() -> None:
    findings = judgements([0.02, 0.03, 0.5])
    decided = decide(findings, {"e0"})
    assert [decided[name].kind for name in findings] == [K.OUTSIDE, K.OUTSIDE, K.INCONCLUSIVE]
    assert decided["e0"].sees == "0.05"
    together = decide(findings, {*findings})
    assert {each.kind for each in together.values()} == {K.INCONCLUSIVE}
    assert {each.sees for each in together.values()} == {f"{ALPHA / 3:g}"}
    assert together["e0"].detail.startswith("t p = 1 by Holm over 3 tests; could have seen ")


# --- two stores -----------------------------------------------------------------------------------


def false_alarm(figures: Iterator[Callable[[], float]], count: int) -> bool:
    """Whether any figure of two stores of the same kind of runs is called significant."""
    p_values = []
    for figure in figures:
        one, other = ([figure() for _ in range(count)] for _ in range(2))
        if one != other:
            p_values.append(two_samples(one, other)[0])
    return min(holm(p_values), default=1.0) < ALPHA


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("kind", ["counts", "rates", "times"])
def test_equal_stores_are_told_apart_at_the_level(kind: str, count: int, times: int) -> None:
    def figure(draw: random.Random, mean: float) -> float:
        if kind == "counts":
            return float(poisson(draw, mean))
        return (
            binomial(draw, 48, mean / 6).rate if kind == "rates" else draw.lognormvariate(mean, 0.1)
        )

    def figures(draw: random.Random) -> Iterator[Callable[[], float]]:
        for index in range(20):
            yield partial(figure, draw, 0.2 + index / 5)

    Shares(100 * times, lambda draw: false_alarm(figures(draw), count)).at_most(ALPHA)


def test_stores_that_differ_are_told_apart() -> None:
    def happens(draw: random.Random) -> bool:
        return two_samples(normal(draw, 5), normal(draw, 5, 3.0))[0] < ALPHA

    Shares(400, happens).above(POWER)


def test_permutations_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats", reason="the oracle: install scipy")
    draw = seeded(5)
    for one, other in [((1, 2, 2), (4, 3, 3, 2)), (normal(draw, 4), normal(draw, 5, 1.0))]:
        found = stats.permutation_test(
            (one, other), lambda a, b: abs(fmean(a) - fmean(b)), alternative="greater"
        )
        assert permutation_test(one, other) == pytest.approx(found.pvalue, abs=1e-12)
    values = counted_differences(draw, 8, 1.0)
    found = stats.permutation_test(
        (values,), sum, permutation_type="samples", alternative="greater"
    )
    assert Scatter(values=values).above(0) == pytest.approx(found.pvalue, abs=1e-12)
    assert sample(values).count == 8
