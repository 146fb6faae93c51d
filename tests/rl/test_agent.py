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
    "max_concurrency": 4,
    "per_persona": 3,
    "num_eval_examples": 8,
    "sft_learning_rate": 0.0022,
    "sft_num_train_epochs": 2,
    "max_steps": 2,
    "prompts_per_step": 3,
    "num_generations": 3,
    "rollout_temperature": 1.0,
    "learning_rate": 0.002,
    "dropout": "off",
    "eval_steps": 2,
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
    assert of(rows, "agent.stop_rate", policy="base") == 100.0
    assert of(rows, "sft.loss_ratio") < 0.9
    assert of(rows, "agent.mean_turns", policy="sft") > of(rows, "agent.mean_turns", policy="base")
    assert of(rows, "learn.steps", variant="grpo") == 2
    assert of(rows, "train.kl", variant="grpo", step=1) == pytest.approx(0.0, abs=1e-9)
    assert 0.9 < of(rows, "train.update_norm_ratio", variant="grpo", step=1) <= 1.0
    assert of(rows, "serve.logprob_abs_diff_max", variant="grpo") < 1e-3
    for step in (1, 2):  # each on the weights that sampled it, in float32
        assert of(rows, "train.logprob_abs_diff_p95", variant="grpo", step=step) < 1e-5
        assert of(rows, "train.ratio_outside_clip", variant="grpo", step=step) == 0.0
    served = {
        json.loads(line)["served"]
        for log in (tmp_path / "out" / ".artefacts").glob("*/files/rollouts.jsonl")
        for line in log.read_text(encoding="utf-8").splitlines()
    }
    assert served == {"", "base", "sft", "grpo-1", "grpo-2"}


def test_arms_begin_alike_and_draw_turns_again(tmp_path: Path) -> None:
    rows = played(
        "agent.t2po", tmp_path / "out", variants=["grpo", "resample"], max_steps=1, eval_steps=1
    )
    for part in ("pool", "held-out"):
        starts = {
            of(rows, "eval.assertion_pass_rate", variant=a, step=0, split=part)
            for a in ("grpo", "resample")
        }
        assert len(starts) == 1
    assert 0 < of(rows, "train.resample_share", variant="resample", step=1) <= 100
    assert ("train.resample_share", frozenset({("variant", "grpo"), ("step", 1)})) not in rows
    drawn = [of(rows, "learn.generated_tokens", variant=arm) for arm in ("grpo", "resample")]
    assert drawn[1] > drawn[0]
    assert of(
        rows, "learn.below_threshold_fraction", variant="resample", resample_threshold=0.3
    ) >= of(rows, "learn.below_threshold_fraction", variant="resample", resample_threshold=0.003)
