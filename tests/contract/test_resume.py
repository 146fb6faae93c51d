"""kill -9 at any moment: nothing lost, nothing counted twice, nothing left running."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

NUM_CELLS = 100
SCENARIO = f"""\
scenario: a99-resume
title: One hundred cells
question: Does a sweep survive being killed?
article: {{number: 99, title: Nothing}}
workload: noop
params: {{sleep_s: 0.01}}
sweep: {{product: {{index: {list(range(NUM_CELLS))}}}}}
profiles: {{cpu: {{summary: one hundred cells}}}}
"""
LEDGER = """\
scenario: a99-resume
sections:
- title: Figures
  entries:
  - id: value
    metric: noop.value
    unit: "1"
    class: arithmetic
    kind: law
    expect: {law: all_cells, params: {low: 0, high: 0}}
    reason: every cell reports what it was given
    source: this test
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "scenarios" / "a99-resume"
    folder.mkdir(parents=True)
    (folder / "scenario.yaml").write_text(SCENARIO, encoding="utf-8")
    (folder / "expectations.yaml").write_text(LEDGER, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize(
    "num_kills", [5, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_a_sweep_survives_being_killed_at_random_moments(
    project: Path, project_root: Path, num_kills: int, jobs: str
) -> None:
    chance = random.Random(num_kills)  # noqa: S311 - moments, not secrets
    finished_before = 0
    for _ in range(num_kills):
        _run_and_kill(project, project_root, chance, jobs)
        finished = _finished(project)
        assert finished >= finished_before, "a finished run was lost"
        finished_before = finished
    ended = _harness(project, project_root, "--jobs", jobs).wait(timeout=120)
    assert ended == 0
    assert _finished(project) == NUM_CELLS
    assert _indices(project) == list(range(NUM_CELLS))
    assert [path.name for path in (project / "results/local/.staging").iterdir()] == [
        "a99-resume.cpu.lock"
    ]
    assert _still_running(project) == []


def test_a_killed_workload_is_a_failed_run_and_owed_again(
    project: Path, project_root: Path
) -> None:
    harness = _harness(project, project_root, "--set", "sleep_s=30", "--only", "index=3")
    victim = _wait_for_workload(project)
    os.kill(victim, signal.SIGKILL)
    assert harness.wait(timeout=120) == 3
    (attempt,) = (project / "results/local/a99-resume/cpu").iterdir()
    assert attempt.name.endswith(".failed-1")
    outcome = json.loads((attempt / "outcome.json").read_text(encoding="utf-8"))
    assert outcome["status"] == "failed"
    assert "SIGKILL" in outcome["cause"]
    again = _harness(project, project_root, "--only", "index=3")
    assert again.wait(timeout=120) == 4  # it ran; a part of the experiment is not judged
    assert _still_running(project) == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_run_leaves_nothing_and_says_so(
    project: Path, project_root: Path, jobs: int
) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        harness = _harness(project, project_root, "--set", "sleep_s=30", "--jobs", str(jobs))
        _wait_for_workload(project, jobs)
        harness.send_signal(number)
        assert harness.wait(timeout=120) == 130
        assert _finished(project) == 0
        assert _still_running(project) == []


def _harness(project: Path, project_root: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "harness", "run", "a99", "--project", str(project)]
    return subprocess.Popen(
        [*command, "--runtime", "local", *arguments],
        cwd=project_root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _run_and_kill(project: Path, project_root: Path, chance: random.Random, jobs: str) -> None:
    with _harness(project, project_root, "--jobs", jobs) as harness:
        time.sleep(chance.uniform(0.2, 1.2))
        harness.send_signal(signal.SIGKILL)


def _finished(project: Path) -> int:
    return len(_folders(project))


def _folders(project: Path) -> list[Path]:
    place = project / "results/local/a99-resume/cpu"
    found = [path for path in place.glob("*") if "." not in path.name]
    for folder in found:  # whole, or it would not be here
        assert (folder / "outcome.json").is_file()
        json.loads((folder / "measurements.json").read_text(encoding="utf-8"))
    return found


def _indices(project: Path) -> list[int]:
    specs = [json.loads((path / "spec.json").read_text("utf-8")) for path in _folders(project)]
    return sorted(spec["params"]["index"] for spec in specs)


def _wait_for_workload(project: Path, number: int = 1) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if len(running := _still_running(project, at_once=True)) >= number:
            return running[0]
        time.sleep(0.02)
    pytest.fail("the workload never started")


def _still_running(project: Path, *, at_once: bool = False) -> list[int]:
    """Return the pids of workloads of `project`, once those that are ending have ended."""
    deadline = time.monotonic() + (0 if at_once else 5)
    while (running := _workloads(project)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return running


def _workloads(project: Path) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            place = str((process / "cwd").readlink())
        except OSError:
            continue  # it has ended, or is not ours to see
        if place.startswith(str(project)):
            found.append(int(process.name))
    return found
