"""The file agent's whole arc on the embedded engine: small, and every stage for real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.experiments.a32_34.params import WORKLOADS
from harness.records import Limits, Profile, RunSpec, Status
from harness.workloads.__main__ import run
from harness.workloads.api.declare import build, defaults_of
from harness.workloads.api.emit import EVENTS_FILE, read_events

pytest.importorskip("peft")

SMALL = {
    "engine": "transformers",
    "sandbox": "memory",
    "threads": 4,
    "per_persona": 3,
    "held_out": 8,
    "sft_rate": 0.0022,
    "sft_epochs": 2,
    "steps": 2,
    "tasks_per_step": 3,
    "rollouts_per_task": 3,
    "rollout_temperature": 1.0,
    "rate": 0.002,
    "dropout": "off",
    "evaluate_every": 2,
}

Rows = dict[tuple[str, frozenset[tuple[str, Any]]], Any]


def played(workload: str, out: Path, **more: Any) -> Rows:
    """Run a workload; return metric and where -> value."""
    (declared,) = (each for each in WORKLOADS if each.name == workload)
    known = defaults_of(declared.params)
    params = {**known, **{name: value for name, value in SMALL.items() if name in known}, **more}
    spec = RunSpec(
        scenario="a33-clawgym-on-spark-grpo",
        profile=Profile.CPU,
        workload=workload,
        params=params,
        axes=(),
        seed=1,
        sandbox=declared.sandbox(build(declared.params, params)) if declared.sandbox else None,
        source="0" * 8,
        limits=Limits(timeout_s=600.0),
    )
    out.mkdir()
    run(workload, spec, out)
    events = read_events(out / EVENTS_FILE)
    assert events[-1].kind == Status.FINISHED.value
    shown = [each.payload for each in events if each.kind == "measured"]
    return {(each["metric"], frozenset(each["where"].items())): each["value"] for each in shown}


def of(rows: Rows, metric: str, **where: Any) -> Any:
    return rows[metric, frozenset(where.items())]


def test_rewards_follow_imitation(tmp_path: Path) -> None:
    rows = played("agent.grpo", tmp_path / "out")
    assert of(rows, "agent.task_complete", policy="base") == 100.0
    assert of(rows, "sft.loss_ratio") < 0.9
    assert of(rows, "agent.mean_turns", policy="sft") > of(rows, "agent.mean_turns", policy="base")
    assert of(rows, "learn.steps", arm="grpo") == 2
    assert of(rows, "train.kl", arm="grpo", step=1) == pytest.approx(0.0, abs=1e-9)
    assert 0.9 < of(rows, "train.change_share", arm="grpo", step=1) <= 1.0
    assert of(rows, "serve.logprob_gap_max", arm="grpo") < 1e-3
    served = {
        json.loads(line)["served"]
        for line in (tmp_path / "out" / "rollouts.jsonl").read_text().splitlines()
    }
    assert served == {"", "base", "sft", "grpo-1", "grpo-2"}


def test_arms_begin_alike_and_draw_turns_again(tmp_path: Path) -> None:
    rows = played(
        "agent.t2po", tmp_path / "out", arms=["grpo", "redraw"], steps=1, evaluate_every=1
    )
    for part in ("pool", "held-out"):
        starts = {
            of(rows, "curve.assertions", arm=a, step=0, split=part) for a in ("grpo", "redraw")
        }
        assert len(starts) == 1
    assert 0 < of(rows, "train.redraw_share", arm="redraw", step=1) <= 100
    assert ("train.redraw_share", frozenset({("arm", "grpo"), ("step", 1)})) not in rows
    drawn = [of(rows, "learn.drawn_tokens", arm=arm) for arm in ("grpo", "redraw")]
    assert drawn[1] > drawn[0]
    assert of(rows, "learn.near_share", arm="redraw", eta=0.3) >= of(
        rows, "learn.near_share", arm="redraw", eta=0.003
    )
