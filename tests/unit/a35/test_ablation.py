"""Both searches of an ablation: what differs, which comes first, and what the effect is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.experiments.a35 import ablation
from harness.experiments.a35.params import ABLATION, ARM_FIGURES, AblationParams
from harness.records import Profile, RunSpec
from harness.workloads.api.context import Context
from harness.workloads.api.declare import build, defaults_of
from harness.workloads.api.emit import EVENTS_FILE, EventWriter, read_events
from harness.workloads.api.steps import Steps
from harness.workloads.autoresearch.as_trials import ProposerContext
from harness.workloads.autoresearch.bandit import BanditProposer
from harness.workloads.autoresearch.loop import Session
from tests.unit.autoresearch.fakes import FakeEvaluator, run

ARMS = ("with_lineage", "without_lineage")
PARAMS = {
    **defaults_of(AblationParams),
    "search_space": "small",
    "device": "cpu",
    "iterations": 15,
    "num_noise_samples": 3,
}
Figures = Mapping[str, Any]


def ablated(
    out: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[Figures, dict[str, Session]]:
    """Run the ablation with an evaluator that trains nothing; return its figures and searches."""
    sessions: dict[str, Session] = {}

    def searched(_: Context, name: str, session: Session, __: object) -> SimpleNamespace:
        sessions[name.removeprefix("search ")] = session
        folder = out / "made" / name
        run(folder, session, BanditProposer(space=session.search_space, seed=seed), FakeEvaluator())
        return SimpleNamespace(folder=folder)

    monkeypatch.setattr(ablation, "searched", searched)
    spec = RunSpec(
        scenario="a35-auto-research-loop",
        profile=Profile.CPU,
        workload=ABLATION.name,
        params=PARAMS,
        seed=seed,
    )
    out.mkdir()
    with EventWriter(out / EVENTS_FILE, ABLATION.metrics) as emit:
        steps = Steps(spec, emit, out / "steps")
        params = build(AblationParams, PARAMS)
        ablation.run(Context(spec=spec, params=params, out=out, emit=emit, steps=steps))
    rows = [each.payload for each in read_events(out / EVENTS_FILE) if each.kind == "measured"]
    return {row["metric"]: row["value"] for row in rows if not row["where"]}, sessions


def test_an_effect_is_with_the_record_less_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures, _ = ablated(tmp_path / "out", 1, monkeypatch)
    effects = {name: figures[f"lineage_effect.{name}"] for name in ARM_FIGURES}
    for name, effect in effects.items():
        one, other = (figures[f"{arm}.{name}"] for arm in ARMS)
        assert effect == pytest.approx(one - other)
    assert any(effects[name] for name in ("accepted", "repeats", "gain"))


def test_only_what_the_proposer_sees_differs_between_the_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, sessions = ablated(tmp_path / "out", 1, monkeypatch)
    one, other = (sessions[arm] for arm in ARMS)
    assert one.params.proposer_context == ProposerContext.LINEAGE
    assert other.params.proposer_context == ProposerContext.NONE
    assert replace(one.params, proposer_context=other.params.proposer_context) == other.params
    assert one.seed == other.seed == 1
    # the noise of the baseline is measured once, in the first search
    assert (len(one.noise), len(other.noise)) == (0, 3)


def test_over_the_replicates_neither_search_is_always_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = [tuple(ablated(tmp_path / str(seed), seed, monkeypatch)[1]) for seed in (1, 2, 3, 4)]
    assert orders == [ARMS, ARMS[::-1]] * 2
