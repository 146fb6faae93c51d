"""Continued pretraining under NeMo's experiment manager: the loop's figures, also after a kill.

Needs nemo_toolkit: ``nox -s nemo``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

if find_spec("nemo") is None:
    pytest.skip("needs nemo_toolkit: use nox -s nemo", allow_module_level=True)

from harness.experiments.cpt.nemo_trainer import _keep_newest_checkpoint, train
from harness.experiments.cpt.params import REPLAY, ReplayParams
from harness.experiments.cpt.replay import Experiment
from harness.experiments.cpt.replay import train as train_by_the_loop
from harness.records import Profile, RunSpec
from harness.workloads.__main__ import run
from harness.workloads.api.context import Context
from harness.workloads.api.declare import build, defaults_of
from harness.workloads.api.emit import EVENTS_FILE, EventWriter, read_events
from harness.workloads.api.steps import Steps
from harness.workloads.models.frameworks import hand_written

pytestmark = pytest.mark.filterwarnings("ignore")  # NeMo and Lightning warn of much

TINY = {
    **defaults_of(ReplayParams),
    "vocab_size": 24,
    "branching_factor": 2,
    "seq_len": 16,
    "batch_size": 10,
    "hidden_size": 24,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "base_steps": 12,
    "max_steps": 10,
    "replay_ratios": [0.3],
    "num_eval_examples": 4,
    "device": "cpu",
}
Figures = Mapping[tuple[Any, ...], Any]


def spec_of(workload: str, **params: Any) -> RunSpec:
    return RunSpec(
        scenario="cpt-continued-pretraining",
        profile=Profile.CPU,
        workload=workload,
        params={**TINY, **params},
        seed=3,
    )


def figures(out: Path) -> Figures:
    """Return every figure but those of the clock."""
    return dict(_figures(out))


def _figures(out: Path) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for event in read_events(out / EVENTS_FILE):
        figure = event.payload
        if event.kind == "measured" and figure["metric"] != "tokens_per_second":
            yield (figure["metric"], *figure["where"].values()), figure["value"]


def figures_of(workload: str, out: Path, **params: Any) -> Figures:
    out.mkdir()
    run(workload, spec_of(workload, **params), out)
    return figures(out)


# --- one training ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nemo")


def base_training(out: Path) -> tuple[torch.nn.Module, Any]:
    """Return the base, and what decides its training."""
    params: ReplayParams = build(ReplayParams, TINY)
    with EventWriter(out / "events.jsonl", REPLAY.metrics) as emit:
        spec = spec_of("continued.replay")
        steps = Steps(spec, emit, out / "steps")
        context = Context(spec=spec, params=params, out=out, emit=emit, steps=steps)
        experiment = Experiment(context, train_by_the_loop)
    torch.manual_seed(3)
    model = hand_written(
        params.shape, params.conditions, experiment.arithmetic, device=torch.device("cpu")
    )
    return model, experiment.training(
        model, experiment.in_order(), params.base_steps, params.learning_rate
    )


def test_the_losses_are_those_of_the_loop_written_here(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "loop").mkdir()
    (tmp_path / "nemo").mkdir()
    by_the_loop, training = base_training(tmp_path / "loop")
    expected = train_by_the_loop("base", training, 12, {})
    by_nemo, training = base_training(tmp_path / "nemo")
    found = train(folder, "base", training, 12, {12: lambda: {"at": 12.0}})
    assert found.losses == expected.losses
    assert (len(found.losses), found.num_steps) == (12, 12)
    assert found.losses[-1] < found.losses[0]
    for name, weights in by_the_loop.state_dict().items():
        assert torch.equal(by_nemo.state_dict()[name], weights), name


def test_the_experiment_manager_keeps_log_events_and_weights(folder: Path, tmp_path: Path) -> None:
    model, training = base_training(tmp_path)
    again = train(folder, "base", training, 12, {})  # it is done: only its weights are loaded
    assert again.num_steps == 0
    assert again.measured == {12: {"at": 12.0}}
    assert len(again.losses) == 12
    kept_in = folder / "base"
    assert [*kept_in.glob("events.out.tfevents.*")]
    assert {"cmd-args.log", "lightning_logs.txt"} <= {file.name for file in kept_in.iterdir()}
    (last,) = (kept_in / "checkpoints").glob("*.ckpt")
    kept = torch.load(last, weights_only=False)
    assert kept["global_step"] == 12
    for name, weights in model.state_dict().items():
        assert torch.equal(kept["state_dict"][f"model.{name}"], weights), name


def test_a_kill_while_a_checkpoint_is_saved_leaves_one_to_go_on_from(tmp_path: Path) -> None:
    for step in (2, 4, 6):
        (tmp_path / f"step={step}-last.ckpt").write_text(str(step), encoding="utf-8")
        os.utime(tmp_path / f"step={step}-last.ckpt", ns=(step, step))
    (tmp_path / "step=6-last-unfinished").touch()
    _keep_newest_checkpoint(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["step=4-last.ckpt"]


# --- a whole run ----------------------------------------------------------------------------------


@pytest.mark.parametrize("params", [{}, {"dropout": 0.1}, {"precision": "mixed"}])
def test_every_figure_is_the_loops(tmp_path: Path, params: dict[str, Any]) -> None:
    expected = figures_of("continued.replay", tmp_path / "loop", **params)
    assert figures_of("continued.nemo", tmp_path / "nemo", **params) == expected


SCENARIO = """\
scenario: a99-kill
title: Killed
question: Does a training survive being killed?
article: {number: 99, title: Nothing}
environment: nemo
workload: continued.nemo
"""
LEDGER = """\
scenario: a99-kill
sections:
- title: Figures
  entries:
  - id: parameters
    metric: parameters
    unit: parameter
    class: arithmetic
    kind: law
    expect: {law: all_cells, params: {low: 1, high: 100000}}
    reason: every replicate has the same model
    source: this test
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("place", ["base", "adapters-replay-0"])
def test_after_kill_9_the_same_command_goes_on_from_the_checkpoint_with_equal_figures(
    tmp_path: Path, project_root: Path, place: str
) -> None:
    params = {**TINY, "base_steps": 100, "max_steps": 60, "dropout": 0.1}
    scenario = tmp_path / "scenarios" / "a99-kill"
    scenario.mkdir(parents=True)
    text = f"{SCENARIO}params: {json.dumps(params)}\nprofiles: {{cpu: {{summary: kill it}}}}\n"
    (scenario / "scenario.yaml").write_text(text, encoding="utf-8")
    (scenario / "expectations.yaml").write_text(LEDGER, encoding="utf-8")
    command = [sys.executable, "-m", "harness", "run", "a99", "--project", str(tmp_path)]
    began = f"{place}/checkpoints/*-last.ckpt"
    with subprocess.Popen(command, cwd=project_root, stdout=subprocess.DEVNULL) as harness:
        wait_for(tmp_path / "results/local/.staging", f"*/checkpoints/{began}", harness)
        harness.send_signal(signal.SIGKILL)
    assert subprocess.run(command, check=False, cwd=project_root).returncode == 0
    (out,) = (tmp_path / "results/local/a99-kill/cpu").iterdir()
    notes = [each.payload["text"] for each in read_events(out / EVENTS_FILE) if each.kind == "note"]
    assert notes == ["an attempt was killed: trainings go on from their last checkpoints"]
    assert "Resuming training from checkpoint" in (out / "stdout.log").read_text("utf-8")
    assert not (out / "checkpoints").exists()
    whole = tmp_path / "whole"
    whole.mkdir()
    spec = json.loads((out / "spec.json").read_text(encoding="utf-8"))
    run("continued.replay", RunSpec(**{**_plain(spec), "workload": "continued.replay"}), whole)
    assert figures(out) == figures(whole)


def _plain(spec: dict[str, Any]) -> dict[str, Any]:
    return {name: spec[name] for name in ("scenario", "profile", "params", "seed")}


def wait_for(folder: Path, pattern: str, harness: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while not [*folder.glob(pattern)]:
        assert harness.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.02)
