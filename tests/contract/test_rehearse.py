"""``harness rehearse`` on real runs of a workload that does nothing but wait."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ExitCode
from harness.runtime.host import probe_host

from .small import ROOT, SCENARIO, called, make_project

WALK = SCENARIO.replace("params: {value: 3}", "params: {value: 3, steps: 40, step_s: 0.7}")
LOCAL = ("rehearse", "a99", "--profile", "cpu", "--runtime", "local")


def rehearsed(project: Path, *words: str) -> tuple[int, dict[str, Any]]:
    done = called(project, *LOCAL, *words, "--json")
    document = json.loads(done.stdout)
    answer = document["scenarios"]["a99-small"]["answer"]
    return done.returncode, answer


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, dict[str, Any]]:
    """A run of forty steps of 0.7 s, three times, rehearsed."""
    project = make_project(tmp_path_factory.mktemp("rehearse") / "project", WALK)
    return project, *rehearsed(project)


def test_two_passes_tell_what_forty_take(found: tuple[Path, int, dict[str, Any]]) -> None:
    _, code, answer = found
    assert (code, answer["goes"]) == (ExitCode.OK, True)
    assert (answer["found"]["runs"], answer["found"]["rehearsed"]) == (3, 1)
    hours = next(each for each in answer["found"]["figures"] if each["quantity"] == "time")
    # sleeping takes 0.7 s at least, whatever else the machine does
    assert hours["value"] * 3600 >= 3 * 40 * 0.7
    assert hours["low"] < hours["value"] < hours["high"] < hours["limit"]
    (run,) = answer["found"]["each"]
    (loop,) = run["repeats"]
    assert (loop["name"], loop["of"]) == ("walk", 40)
    assert 2 <= loop["made"] <= 4


def test_the_run_was_killed_and_went_on(found: tuple[Path, int, dict[str, Any]]) -> None:
    (kill,) = (each for each in found[2]["found"]["checks"] if each["what"] == "kill")
    assert kill["is_good"] is True
    assert "by SIGKILL; the next attempt took" in kill["said"]


def test_nothing_of_it_is_a_result(found: tuple[Path, int, dict[str, Any]]) -> None:
    project, *_ = found
    store = project / "results" / "local"
    assert [*store.rglob("spec.json")] == []
    assert [*(store / ".rehearsal").iterdir()] == []
    planned = json.loads(called(project, "plan", *LOCAL[1:], "--json").stdout)
    runs = planned["scenarios"]["a99-small"]["answer"]["runs"]
    assert {run["state"] for run in runs} == {"to run"}


def test_a_limit_that_the_run_would_break_is_no_go(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", WALK)
    code, answer = rehearsed(project, "--timeout", "20s")
    assert (code, answer["goes"]) == (ExitCode.INFRASTRUCTURE, False)
    (wrong,) = (each for each in answer["found"]["checks"] if each["is_good"] is False)
    assert (wrong["what"], wrong["remedy"][:9]) == ("time", "--timeout")


def test_a_run_that_breaks_is_no_go_with_its_cause(tmp_path: Path) -> None:
    broken = SCENARIO.replace("params: {value: 3}", "params: {value: 3, exit_code: 7}")
    code, answer = rehearsed(make_project(tmp_path / "project", broken))
    assert (code, answer["goes"], answer["found"]["figures"]) == (3, False, [])
    (wrong,) = (each for each in answer["found"]["checks"] if each["what"] == "run")
    assert "exit code 7" in wrong["said"] or "7" in wrong["said"]
    assert wrong["remedy"]


def test_a_budget_leaves_cells_out(tmp_path: Path) -> None:
    swept = WALK.replace("profiles:", "sweep: {product: {index: [1, 2, 3]}}\nprofiles:").replace(
        "steps: 40", "steps: 4"
    )
    code, answer = rehearsed(make_project(tmp_path / "project", swept), "--budget", "1s")
    assert code == ExitCode.OK
    assert (answer["found"]["runs"], answer["found"]["rehearsed"]) == (9, 1)
    (cells,) = (each for each in answer["found"]["checks"] if each["what"] == "cells")
    assert (cells["is_good"], cells["said"][:7]) == (None, "2 cells")


def test_a_budget_that_is_none_is_refused(tmp_path: Path) -> None:
    done = called(make_project(tmp_path / "project"), *LOCAL, "--budget", "soon")
    assert done.returncode == ExitCode.USAGE
    assert b"--budget" in done.stderr


def test_a_rehearsal_that_is_killed_leaves_nothing_that_the_next_one_minds(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", WALK)
    command = [sys.executable, "-m", "harness", *LOCAL, "--project", str(project)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE) as process:
        lines = project / "results" / "local" / ".rehearsal"
        while not [*lines.rglob("passes.jsonl")]:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    code, answer = rehearsed(project)
    assert (code, answer["goes"]) == (ExitCode.OK, True)


@pytest.mark.skipif(bool(probe_host().gpus), reason="a machine without a GPU says why it cannot")
def test_every_scenario_says_what_to_do_where_it_cannot_run(
    project_root: Path, tmp_path: Path
) -> None:
    names = [path.name for path in sorted((project_root / "scenarios").iterdir())]
    words = ("--profile", "spark", "--store", str(tmp_path / "store"), "--json")
    done = called(project_root, "rehearse", *names, *words)
    assert done.returncode == ExitCode.INFRASTRUCTURE
    document = json.loads(done.stdout)
    assert document["errors"] == []
    for name in names:
        found = document["scenarios"][name]["answer"]["found"]
        checks = found["checks"]
        assert checks, name
        assert all(each["is_good"] is False and each["remedy"] for each in checks), name
        assert found["figures"] == [], name
