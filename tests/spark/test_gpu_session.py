"""The plan of `tests.gpu.session`, and how it reads what its parts leave; a GPU does the rest."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.gpu import session
from tests.gpu.session import MEASURES, PARTS, PartState, done, main, of_rehearsal, of_store
from tests.spark.profiles import planned

PART = PARTS[0]
WRITES = "import json, sys; open(sys.argv[1], 'w').write(json.dumps({'x': 1.5}))"
STARTS_ANOTHER = (
    "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; "
    "time.sleep(600)']); print(p.pid, flush=True); time.sleep(600)"
)


def test_all_parts_fit_into_twelve_minutes_in_the_order_of_their_worth() -> None:
    assert [each.name for each in PARTS] == ["serve", "step", "mfu", "memory", "forecast"]
    assert sum(each.budget_s for each in PARTS) <= session.TOTAL_S == 720
    assert MEASURES.keys() == {each.name for each in PARTS}


def test_the_plan_is_printed_without_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--plan"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(PARTS)


def test_the_step_keeps_the_shapes_of_the_profile() -> None:
    (spec,) = session.planned_step(planned)
    kept = {"max_model_len": 8192, "max_new_tokens": 400, "num_generations": 4, "lora_rank": 16}
    assert {name: spec.params[name] for name in kept} == kept
    assert spec.params["model"].partition("@")[0] == session.MODEL


def test_what_a_part_measured_is_kept() -> None:
    found = done(PART, [sys.executable, "-c", WRITES], 60.0)
    assert (found.state, found.figures, found.cause) == (PartState.DONE, {"x": 1.5}, "")


def test_a_part_that_breaks_leaves_its_last_words() -> None:
    found = done(PART, [sys.executable, "-c", "raise ValueError('no kernel')"], 60.0)
    assert found.state is PartState.FAILED
    assert "no kernel" in found.cause


def test_a_part_is_ended_with_all_that_it_started_when_its_time_is_over() -> None:
    found = done(replace(PART, budget_s=2.0), [sys.executable, "-c", STARTS_ANOTHER], 2.0)
    assert found.state is PartState.OUT_OF_TIME
    with suppress(psutil.NoSuchProcess):  # the kernel may be at its end still
        psutil.Process(int(found.cause)).wait(timeout=60.0)


def test_a_run_and_a_rehearsal_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "a34" / "cuda" / "run"
    folder.mkdir(parents=True)
    rows = [
        {"metric": "learn.step_time", "value": 12.5, "where": {"variant": "full"}},
        {"metric": "agent.pass_rate", "value": 3.0, "where": {}},
    ]
    (folder / "measurements.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "outcome.json").write_text(
        json.dumps({"wall_s": 90.0, "device": "a GPU"}), encoding="utf-8"
    )
    assert of_store(tmp_path) == {"wall_s": 90.0, "device": "a GPU", "learn.step_time": 12.5}
    run = {"wall_s": 88.0, "low_s": 80.0, "high_s": 99.0, "memory_gib": 7.0}
    answer = {"goes": True, "found": {"each": [run], "wall_s": 20.0}}
    assert of_rehearsal(answer) == {**run, "goes": True, "cost_s": 20.0}
