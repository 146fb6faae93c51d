"""One cell from spec to events, in this process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.errors import HostError
from harness.records import Profile, RunSpec
from harness.workloads.__main__ import run
from harness.workloads.api.declare import defaults_of
from harness.workloads.api.emit import EVENTS_FILE, read_events
from harness.workloads.models.conditions import ARMS
from harness.workloads.training import pretrain as cell
from harness.workloads.training.pretrain_params import EnvelopeParams

_TINY = {
    **defaults_of(EnvelopeParams),
    "batch_size": 2,
    "seq_len": 16,
    "precision": "bf16",
    "num_hidden_layers": 1,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 61,
    "dropout": 0.0,
    "max_steps": 8,
    "warmup_steps": 2,
    "learning_rate": 0.01,
    "device": "cpu",
}


def _spec(**params: Any) -> RunSpec:
    return RunSpec(
        scenario="a19-gb10-pretrain-envelope",
        profile=Profile.CPU,
        workload="pretrain.envelope",
        params={**_TINY, **params},
        seed=3,
    )


def _figures(spec: RunSpec, out: Path) -> tuple[dict[str, Any], list[float]]:
    out.mkdir()
    run(spec.workload, spec, out)
    events = read_events(out / EVENTS_FILE)
    measured = {e.payload["metric"]: e.payload["value"] for e in events if e.kind == "measured"}
    return measured, [e.payload["values"]["loss"] for e in events if e.kind == "step"]


def test_a_cell_learns_its_batch_and_reports_what_it_held(tmp_path: Path) -> None:
    measured, losses = _figures(_spec(), tmp_path / "out")
    assert len(losses) == 8
    assert losses[-1] < losses[0] - 0.5
    assert measured["parameters"] == (61 + 16 + 6) * 32 + 4 * 32**2 + 2 * 32 * 64
    assert measured["cell.out_of_memory"] is False
    assert measured["memory.counter"] == "live storages"
    assert measured["memory.peak_allocated"] > 0
    assert measured["memory.peak_reserved"] is None
    assert measured["fp8.backend"] == "none"


def test_the_seed_decides_the_weights(tmp_path: Path) -> None:
    _, one = _figures(_spec(), tmp_path / "one")
    _, same = _figures(_spec(), tmp_path / "same")
    _, other = _figures(replace(_spec(), seed=4), tmp_path / "other")
    assert one == same
    assert one != other


def test_an_arm_says_its_conditions_and_pads_the_table_but_not_the_data(tmp_path: Path) -> None:
    shared = {key: value for key, value in _TINY.items() if key not in ("precision", "dropout")}
    spec = RunSpec(
        scenario="a18-nemo-framework",
        profile=Profile.CPU,
        workload="pretrain.frameworks",
        params={**shared, "variant": "vanilla-padded"},
    )
    measured, losses = _figures(spec, tmp_path / "out")
    assert measured["conditions"] == ARMS["vanilla-padded"].text
    assert measured["framework"] == f"torch {torch.__version__}"
    assert measured["parameters"] == (128 + 16 + 6) * 32 + 4 * 32**2 + 2 * 32 * 64
    assert losses[-1] < losses[0] - 0.5


def test_running_out_of_memory_is_an_outcome_of_the_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = cell.training_run

    def short_of_memory(*args: Any) -> Any:
        def batch(_: int) -> Any:
            raise torch.OutOfMemoryError

        return replace(whole(*args), batch=batch)

    monkeypatch.setattr(cell, "training_run", short_of_memory)
    measured, losses = _figures(_spec(), tmp_path / "out")
    assert losses == []
    assert measured["cell.out_of_memory"] is True
    assert measured["memory.peak_allocated"] is None


def test_no_cuda_device_is_said_with_a_remedy(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(HostError, match="sees no CUDA device"):
        _figures(_spec(device="cuda"), tmp_path / "out")


def test_every_step_holds_what_the_params_ask_for(tmp_path: Path) -> None:
    asked = {"beta1": 0.7, "beta2": 0.6, "weight_decay": 0.5, "warmup_steps": 4}
    run("pretrain.envelope", _spec(**asked), tmp_path)
    events = read_events(tmp_path / EVENTS_FILE)
    steps = [each.payload["values"] for each in events if each.kind == "step"]
    assert len(steps) == 8
    for name in ("beta1", "beta2", "weight_decay"):
        assert {step[name] for step in steps} == {asked[name]}
    rates = [step["learning_rate"] for step in steps]
    assert rates[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert {step["tokens"] for step in steps} == {32}
    assert len({step["batch"] for step in steps}) == 1
