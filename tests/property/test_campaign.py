"""What holds for the cost arithmetic whatever the prices are."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.experiments.a23_24 import formulas
from harness.experiments.a23_24.campaign import PricedMachine, costs, document, rendered
from harness.experiments.a23_24.params import CampaignParams

prices = st.floats(min_value=0.01, max_value=1e3)
shares = st.floats(min_value=0.0, max_value=1.0)
factors = st.floats(min_value=1.01, max_value=100.0)
campaigns = st.builds(
    CampaignParams,
    h100_usd_per_hour=prices,
    spark_kw=st.floats(min_value=0.01, max_value=10.0),
    electricity_usd_per_kwh=st.floats(min_value=0.01, max_value=2.0),
    spark_capex_usd=st.floats(min_value=100.0, max_value=1e5),
    spark_life_years=st.floats(min_value=0.1, max_value=10.0),
    iter_seconds=st.integers(min_value=1, max_value=10_000),
    campaign_iters=st.integers(min_value=1, max_value=10_000),
    final_node_hours=st.integers(min_value=1, max_value=10_000),
    wrong_pick_rate=shares,
    residual_wrong_pick_rate=shares,
)


@given(campaigns, st.integers(min_value=2, max_value=50))
def test_costs_scale_with_the_number_of_taste_tests(p: CampaignParams, times: int) -> None:
    one, many = costs(p), costs(replace(p, campaign_iters=times * p.campaign_iters))
    for machine in PricedMachine:
        assert many.campaign[machine] == pytest.approx(times * one.campaign[machine])


@given(campaigns, factors)
def test_expected_loss_scales_with_the_rent_and_the_search_does_not(
    p: CampaignParams, factor: float
) -> None:
    one, dear = costs(p), costs(replace(p, h100_usd_per_hour=factor * p.h100_usd_per_hour))
    assert dear.expected_loss == pytest.approx(factor * one.expected_loss)
    assert dear.campaign[PricedMachine.SPARK] == one.campaign[PricedMachine.SPARK]


@given(campaigns, factors)
def test_a_shorter_life_makes_the_spark_dearer(p: CampaignParams, factor: float) -> None:
    shorter = replace(p, spark_life_years=p.spark_life_years / factor)
    assert costs(shorter).hourly[PricedMachine.SPARK] > costs(p).hourly[PricedMachine.SPARK]


@given(campaigns, st.floats(min_value=0.01, max_value=1.0))
def test_idling_is_the_same_as_a_shorter_life(p: CampaignParams, duty: float) -> None:
    idle = costs(replace(p, duty_cycle=duty))
    short = costs(replace(p, spark_life_years=duty * p.spark_life_years))
    assert idle.hourly[PricedMachine.SPARK] == pytest.approx(short.hourly[PricedMachine.SPARK])


@given(campaigns, st.tuples(shares, shares).map(sorted))
def test_savings_fall_as_the_search_leaves_more_wrong(p: CampaignParams, left: list[float]) -> None:
    fewer, more = (costs(replace(p, residual_wrong_pick_rate=share)).savings for share in left)
    assert fewer >= more


@given(campaigns)
def test_nothing_is_saved_at_the_break_even_rate(p: CampaignParams) -> None:
    c, left = costs(p), p.residual_wrong_pick_rate
    search = c.campaign[PricedMachine.SPARK]
    rate = formulas.break_even_wrong_pick_rate(c.final, left, search)
    saved = formulas.savings_usd(c.final, rate, left, search)
    assert saved == pytest.approx(0.0, abs=1e-9 * (c.final + search))


@given(campaigns, factors)
def test_a_faster_rented_gpu_lowers_only_the_rented_search(p: CampaignParams, k: float) -> None:
    one, fast = costs(p), costs(replace(p, cloud_speedup=k))
    assert fast.campaign[PricedMachine.NODE] == pytest.approx(one.campaign[PricedMachine.NODE] / k)
    assert fast.savings == one.savings


@given(campaigns)
def test_any_inputs_make_a_document_that_records_them(p: CampaignParams) -> None:
    read = json.loads(rendered(p))
    assert read == document(p)
    assert read["rates"]["h100_hourly_usd"] == p.h100_usd_per_hour


@given(st.floats(min_value=1e6, max_value=1e12), factors)
def test_chinchilla_compute_grows_with_the_square_of_the_size(n: float, factor: float) -> None:
    def flop(parameters: float) -> float:
        return formulas.training_flop(parameters, formulas.chinchilla_tokens(parameters))

    assert flop(factor * n) == pytest.approx(factor**2 * flop(n))


@given(st.floats(min_value=0.0, max_value=60.0), st.floats(min_value=1e-3, max_value=4.0))
def test_each_further_bit_doubles_the_perplexity(bits: float, more: float) -> None:
    assert formulas.perplexity(bits + 1) == pytest.approx(2 * formulas.perplexity(bits))
    assert formulas.perplexity(bits + more) > formulas.perplexity(bits)
