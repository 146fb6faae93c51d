from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.experiments.a23_24.campaign import (
    CAMPAIGN,
    VARIED,
    Campaign,
    PricedMachine,
    compared,
    costs,
    document,
    figure,
    rendered,
)
from harness.experiments.a23_24.params import CampaignParams
from harness.records import Profile, RunSpec
from harness.workloads.__main__ import run
from harness.workloads.api.declare import defaults_of, problems_of
from harness.workloads.api.emit import read_events

PUBLISHED = "a24/cost_arithmetic.json"
DEFAULT = CampaignParams()
SECOND = replace(DEFAULT, h100_usd_per_hour=3.5, final_node_hours=504)
README = replace(DEFAULT, h100_usd_per_hour=4.0, final_node_hours=336)

# sha256 of the two published cost_arithmetic files
PUBLISHED_SHA256 = {
    "default": "391848cd0e5f004c6f68d69356ca3f7e122e3c94048060ded326611e1b31c212",
    "second": "f59d5e6cc57cec249f65ea402d64d37bc6c58380a2cf3483acf0ff52e8cf89dc",
}


def spec(params: CampaignParams, evidence: dict[str, str] | None = None) -> RunSpec:
    values = {name: getattr(params, name) for name in defaults_of(CampaignParams)}
    as_json = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
    return RunSpec(
        scenario="a24-derisk-cloud-pretraining",
        profile=Profile.CPU,
        workload=CAMPAIGN.name,
        params=as_json,
        evidence=evidence or {},
    )


@pytest.mark.parametrize(("params", "name"), [(DEFAULT, "default"), (SECOND, "second")])
def test_published_document_comes_out_byte_for_byte(params: CampaignParams, name: str) -> None:
    assert hashlib.sha256(rendered(params).encode()).hexdigest() == PUBLISHED_SHA256[name]


def test_published_file_itself_is_reproduced(evidence_dir: Path) -> None:
    assert rendered(DEFAULT).encode() == (evidence_dir / PUBLISHED).read_bytes()


def test_readme_override_gives_its_printed_figures() -> None:
    argument = document(README)["expected_value_argument"]
    assert document(README)["final_pretrain_usd"]["8xh100_one_week"] == 10752.0
    assert argument["expected_savings_per_campaign_usd"] == 5374.99
    assert argument["ratio_savings_to_spark_cost"] == 5344.1


def test_every_declared_metric_is_reported_and_no_other() -> None:
    compared_with_itself = Campaign(DEFAULT, (document(DEFAULT),))
    reported = {each.metric for each in figure.found(compared_with_itself)}
    assert reported == {metric.name for metric in CAMPAIGN.metrics}


def test_no_figure_is_reported_twice_for_one_row() -> None:
    found = figure.found(Campaign(DEFAULT))
    rows = [(each.metric, *sorted(each.where.items())) for each in found]
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("name", VARIED)
def test_varied_inputs_are_allowed_values(name: str) -> None:
    for value in VARIED[name]:
        assert not [*problems_of(CampaignParams, {name: value})]


@pytest.mark.parametrize(
    ("wrong", "left", "savings"), [(0.5, 0.1, 1342.99), (0.5, 0.2, 1006.99), (0.5, 0.5, -1.01)]
)
def test_an_imperfect_search_saves_less(wrong: float, left: float, savings: float) -> None:
    params = replace(DEFAULT, wrong_pick_rate=wrong, residual_wrong_pick_rate=left)
    assert round(costs(params).savings, 2) == savings


def test_a_rented_gpu_six_times_as_fast_costs_what_the_spark_does() -> None:
    found = figure.found(Campaign(DEFAULT))
    (speedup,) = [each.value for each in found if each.metric == "break_even.cloud_speedup"]
    assert isinstance(speedup, float)
    even = costs(replace(DEFAULT, cloud_speedup=speedup)).campaign
    assert even[PricedMachine.H100] == pytest.approx(even[PricedMachine.SPARK])
    assert speedup == pytest.approx(6.076, abs=5e-4)


def test_a_search_that_saves_nothing_never_pays_back(tmp_path: Path) -> None:
    run(CAMPAIGN.name, spec(replace(DEFAULT, wrong_pick_rate=0.0)), tmp_path)
    (payback,) = [
        event.payload
        for event in read_events(tmp_path / "events.jsonl")
        if event.payload.get("metric") == "payback.campaigns"
    ]
    assert (payback["value"], payback["absent"]) == (None, "inf")


def test_program_leaves_the_document_and_its_digest(tmp_path: Path) -> None:
    run(CAMPAIGN.name, spec(SECOND), tmp_path)
    events = read_events(tmp_path / "events.jsonl")
    (artefact,) = [event.payload for event in events if event.kind == "artefact"]
    (digest,) = [
        event.payload for event in events if event.payload.get("metric") == "document.sha256"
    ]
    assert artefact["sha256"] == digest["value"] == PUBLISHED_SHA256["second"]
    assert (tmp_path / "cost_arithmetic.json").read_text(encoding="utf-8") == rendered(SECOND)


def test_program_compares_with_the_published_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a24").mkdir()
    (tmp_path / PUBLISHED).write_text(rendered(DEFAULT), encoding="utf-8")
    monkeypatch.setenv("HARNESS_EVIDENCE_DIR", str(tmp_path))
    run(CAMPAIGN.name, spec(DEFAULT, {PUBLISHED: PUBLISHED_SHA256["default"]}), tmp_path)
    counts = {
        event.payload["metric"]: event.payload["value"]
        for event in read_events(tmp_path / "events.jsonl")
        if str(event.payload.get("metric", "")).startswith("published.")
    }
    assert counts == {"published.fields": 33, "published.fields_matching": 33}


def test_a_changed_field_is_counted_as_one_mismatch() -> None:
    published = json.loads(rendered(DEFAULT))
    published["ratios"]["h100_8gpu_vs_spark_total"] = 48.7
    assert [*compared(document(DEFAULT), published)] == [(33, 32)]


def test_other_inputs_are_not_compared() -> None:
    assert not [*compared(document(SECOND), document(DEFAULT))]
