from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.experiments.a23_24.params import TrainingTiersParams
from harness.experiments.a23_24.training_tiers import TRAINING_TIERS, figure
from harness.records import Profile, RunSpec
from harness.units import UNITS
from harness.workloads.__main__ import run
from harness.workloads.api import rates
from harness.workloads.api.declare import defaults_of
from harness.workloads.api.emit import read_events

DEFAULT = TrainingTiersParams()


def value(metric: str, params: TrainingTiersParams = DEFAULT, **where: str | float) -> float:
    (found,) = [f.value for f in figure.found(params) if (f.metric, f.where) == (metric, where)]
    assert isinstance(found, int | float)
    return found


def test_every_declared_metric_is_reported_and_no_other() -> None:
    assert {f.metric for f in figure.found(DEFAULT)} == {
        each.name for each in TRAINING_TIERS.metrics
    }


def test_the_run_is_energy_times_price() -> None:
    assert value("run.energy") == pytest.approx(0.0681, abs=5e-5)
    assert value("run.cost") == pytest.approx(0.0204, abs=5e-5)
    assert value("spark.daily_cost") == pytest.approx(0.4032, abs=1e-9)
    cheaper = replace(
        DEFAULT, electricity_usd_per_kwh=0.20
    )  # what an earlier 0.27 USD a day corresponds to
    assert value("spark.daily_cost", cheaper) == pytest.approx(0.27, abs=5e-3)


def test_six_days_come_from_the_baseline_step() -> None:
    printed = value("training.time", model="354m_printed_tokens", machine="spark")
    assert printed == pytest.approx(6.0, abs=0.01)
    assert value("spark.tokens_per_second") == pytest.approx(13_501, abs=0.5)
    assert value("recipe.token_multiple") == pytest.approx(7214, abs=0.5)


def test_a_larger_model_takes_the_square_of_its_size() -> None:
    small = value("training.time", model="354m", machine="spark")
    huge = value("training.time", model="70b", machine="spark")
    assert huge / small == pytest.approx((70e9 / 354.6e6) ** 2)


def test_perplexity_is_two_to_the_bits_per_token() -> None:
    assert value("validation.perplexity", bits_per_token=4.0) == 16.0
    assert value("validation.perplexity", bits_per_token=10.85) == pytest.approx(1846, abs=0.5)


def test_program_reports_every_figure(tmp_path: Path) -> None:
    params = defaults_of(TrainingTiersParams)
    asked = RunSpec(
        scenario="a23", profile=Profile.CPU, workload=TRAINING_TIERS.name, params=params
    )
    run(TRAINING_TIERS.name, asked, tmp_path)
    events = read_events(tmp_path / "events.jsonl")
    assert sum(event.kind == "measured" for event in events) == len([*figure.found(DEFAULT)])


def test_every_rate_has_a_known_unit_a_source_and_a_date() -> None:
    stated = [each for each in vars(rates).values() if isinstance(each, rates.Rate)]
    assert len(stated) > 10
    for rate in stated:
        assert rate.unit in UNITS
        assert rate.source
        assert rate.date[:2] == "20"
