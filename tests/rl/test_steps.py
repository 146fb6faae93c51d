"""The steps of a training: killed anywhere, it goes on behind the last one, to the same figures."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.experiments.a32_34.params import WORKLOADS
from harness.records import Limits, Profile, RunSpec, StepTaken, from_json, to_json
from harness.variables import ARTEFACTS_VARIABLE
from harness.workloads.api.declare import build, defaults_of
from harness.workloads.api.emit import EVENTS_FILE, read_events

from .test_agent import SMALL

pytest.importorskip("peft")

TIMES = {metric.name for workload in WORKLOADS for metric in workload.metrics if metric.timing} | {
    "agent.environment_share",
    "learn.environment_share",
}  # parts of times


class Attempt:
    """One attempt at a run, in a process of its own."""

    def __init__(self, workload: str, out: Path, artefacts: Path, **more: Any) -> None:
        (declared,) = (each for each in WORKLOADS if each.name == workload)
        known = defaults_of(declared.params)
        params = {**known, **{name: each for name, each in SMALL.items() if name in known}, **more}
        self.out = out
        out.mkdir()
        spec = RunSpec(
            scenario=f"of-{workload}",
            profile=Profile.CPU,
            workload=workload,
            params=params,
            seed=1,
            sandbox=declared.sandbox(build(declared.params, params)) if declared.sandbox else None,
            limits=Limits(timeout_s=600.0),
        )
        (out / "spec.json").write_text(json.dumps(to_json(spec)), encoding="utf-8")
        with (out / "stderr.log").open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "harness.workloads", workload, "spec.json", "."],
                cwd=out,
                env={
                    **os.environ,
                    ARTEFACTS_VARIABLE: str(artefacts),
                    "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path]),
                },
                stdin=subprocess.DEVNULL,
                stderr=errors,
            )

    def kill(self, num_steps: int, delay_s: float) -> None:
        """Kill it soon after so many steps are done."""
        while self.process.poll() is None and len(self.steps) < num_steps:
            time.sleep(0.05)
        time.sleep(delay_s)
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait() == -signal.SIGKILL, "it was faster"

    def finish(self) -> Mapping[tuple[str, str], Any]:
        """Return metric and where -> value, of what depends on no clock."""
        assert self.process.wait() == 0, (self.out / "stderr.log").read_text(encoding="utf-8")
        shown = [each.payload for each in read_events(self.out / EVENTS_FILE)]
        found = {
            (each["metric"], json.dumps(each["where"])): each["value"]
            for each in shown
            if each.get("metric", next(iter(TIMES))) not in TIMES
        }
        assert found
        return found

    @property
    def steps(self) -> list[StepTaken]:
        """What it has made or taken so far."""
        events = read_events(self.out / EVENTS_FILE)
        return [
            from_json(StepTaken, dict(each.payload)) for each in events if each.kind == "stored"
        ]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Attempt:
    """Article 33's training, whole."""
    folder = tmp_path_factory.mktemp("whole")
    attempt = Attempt("agent.grpo", folder / "out", folder / "artefacts", dropout="active")
    attempt.finish()
    return attempt


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "num_kills", [2, pytest.param(12, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_a_killed_training_ends_with_the_same_figures(
    uninterrupted: Attempt, tmp_path: Path, num_kills: int
) -> None:
    chance = random.Random(num_kills)  # noqa: S311 - moments, not secrets
    whole, artefacts = [step.name for step in uninterrupted.steps], tmp_path / "artefacts"
    done: list[StepTaken] = []
    for number in range(num_kills):
        attempt = Attempt("agent.grpo", tmp_path / f"out-{number}", artefacts, dropout="active")
        wanted = 1 + (number + 1) * (len(whole) - 2) // (num_kills + 1)
        attempt.kill(wanted, chance.uniform(0.0, 0.5))
        keys = [step.key for step in attempt.steps]
        assert keys[: len(done)] == [step.key for step in done], "a finished step was lost"
        assert not any(step.made_now for step in attempt.steps[: len(done)]), "or made twice"
        done = attempt.steps
    last = Attempt("agent.grpo", tmp_path / "last", artefacts, dropout="active")
    assert last.finish() == uninterrupted.finish()
    assert [step.name for step in last.steps] == whole
    assert not last.steps[len(done) - 1].made_now


@pytest.mark.timeout(900)
def test_article_33_starts_from_what_article_32_made(tmp_path: Path) -> None:
    first = Attempt("agent.sft", tmp_path / "a32", tmp_path / "artefacts")
    first.finish()
    second = Attempt("agent.grpo", tmp_path / "a33", tmp_path / "artefacts", max_steps=1)
    figures = second.finish()
    taken = {step.name: step.made_by for step in second.steps if step.made_by}
    shared = ("tasks", "demonstrations", "evaluation nothing", "evaluation base", "stopping base")
    assert set(taken) == {*shared, "sft", "evaluation sft", "stopping sft"}
    assert all(made_by.startswith("of-agent.sft cpu ") for made_by in taken.values())
    alone = Attempt("agent.grpo", tmp_path / "alone", tmp_path / "other", max_steps=1)
    assert alone.finish() == figures
