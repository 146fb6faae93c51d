"""The algebra of recounting: bounds that hold for every trajectory, and oracles for the sums."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.experiments.a22 import energy, noise, recount
from harness.workloads.autoresearch.loop_state import decide
from harness.workloads.autoresearch.trajectory import Decision

figures = st.floats(min_value=0.1, max_value=100.0, allow_nan=False)
labels = st.lists(st.sampled_from("abcdef"), max_size=40)
groups = st.lists(st.lists(figures, min_size=1, max_size=6), min_size=1, max_size=8)


@given(baseline=figures, value=figures, delta=st.floats(min_value=0.0, max_value=0.5))
def test_a_decision_is_the_threshold_on_the_improvement(
    baseline: float, value: float, delta: float
) -> None:
    is_kept = decide(baseline, value, delta) is Decision.KEEP
    assert is_kept == ((baseline - value) / baseline >= delta)


@given(baseline=figures, one=figures, other=figures, delta=st.floats(min_value=0.0, max_value=0.5))
def test_what_is_lower_than_a_keep_is_kept(
    baseline: float, one: float, other: float, delta: float
) -> None:
    lower, higher = sorted((one, other))
    if decide(baseline, higher, delta) is Decision.KEEP:
        assert decide(baseline, lower, delta) is Decision.KEEP


@given(labels)
def test_entropy_is_between_none_and_that_of_equal_shares(given_labels: list[str]) -> None:
    bits = recount.entropy_bits(given_labels)
    distinct = len(set(given_labels))
    assert 0.0 <= bits <= (np.log2(distinct) if distinct else 0.0) + 1e-9


@given(labels, st.permutations(range(6)))
def test_entropy_knows_no_names(given_labels: list[str], order: list[int]) -> None:
    renamed = ["abcdef"[order["abcdef".index(label)]] for label in given_labels]
    assert recount.entropy_bits(renamed) == pytest.approx(recount.entropy_bits(given_labels))


@given(labels)
def test_each_distinct_pair_is_new_once(pairs: list[str]) -> None:
    assert len(pairs) - sum(recount.repeats(pairs)) == len(set(pairs))


@given(labels, st.integers(min_value=1, max_value=50))
def test_a_longer_memory_sees_no_fewer_repeats_and_never_more_than_all(
    pairs: list[str], memory: int
) -> None:
    seen = recount.repeats_in_view(pairs, memory)
    assert seen <= recount.repeats_in_view(pairs, memory + 1) <= sum(recount.repeats(pairs))
    assert recount.repeats_in_view(pairs, len(pairs) + 1) == sum(recount.repeats(pairs))


@given(labels, st.integers(min_value=1, max_value=12))
def test_window_rates_are_shares_that_add_up_to_the_total(pairs: list[str], width: int) -> None:
    flags = recount.repeats(pairs)
    rates = dict(recount.window_rates(flags, width))
    assert all(0.0 <= rate <= 1.0 for rate in rates.values())
    sizes = {first: min(width, len(flags) - first + 1) for first in rates}
    assert sum(rate * sizes[first] for first, rate in rates.items()) == pytest.approx(sum(flags))


@given(groups)
def test_pooling_agrees_with_an_analysis_of_variance(given_groups: list[list[float]]) -> None:
    pooled = noise.pooled_sd(given_groups)
    repeated = [group for group in given_groups if len(group) > 1]
    if not repeated:
        assert pooled is None
        return
    degrees = sum(len(group) - 1 for group in repeated)
    within = sum((len(group) - 1) * np.var(group, ddof=1) for group in repeated)
    assert pooled is not None
    assert pooled.degrees_of_freedom == degrees
    assert pooled.std == pytest.approx(np.sqrt(within / degrees), abs=1e-9)


@given(st.lists(figures, min_size=2, max_size=12))
def test_one_group_pools_to_its_own_standard_deviation(group: list[float]) -> None:
    pooled = noise.pooled_sd([group])
    assert pooled is not None
    assert pooled.std == pytest.approx(statistics.stdev(group), abs=1e-9)


@given(
    st.floats(min_value=0.0, max_value=10.0),
    st.floats(min_value=0.0, max_value=10.0),
    st.floats(min_value=0.01, max_value=10.0),
)
def test_a_higher_threshold_never_raises_the_false_keep_risk(
    one: float, other: float, sd: float
) -> None:
    low, high = sorted((one, other))
    assert 0.0 <= noise.false_keep_risk(high, sd) <= noise.false_keep_risk(low, sd) <= 0.5


@given(st.lists(figures, min_size=2, max_size=40), st.integers(min_value=1, max_value=99))
def test_percentiles_are_numpys(values: list[float], percent: int) -> None:
    wanted = float(np.percentile(values, percent))
    assert energy.percentile(values, percent) == pytest.approx(wanted, rel=1e-12)
