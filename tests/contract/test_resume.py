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

from harness.workloads.__main__ import LIFELINE_VARIABLE

SCENARIO = """\
scenario: a99-resume
title: Many cells
question: Does a sweep survive being killed?
article: {number: 99, title: Nothing}
workload: noop
params: {sleep_s: 0.01}
sweep: {product: {index: [INDICES]}}
profiles: {cpu: {summary: many cells}}
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
def project(tmp_path: Path, num_cells: int) -> Path:
    folder = tmp_path / "scenarios" / "a99-resume"
    folder.mkdir(parents=True)
    indices = ", ".join(map(str, range(num_cells)))
    (folder / "scenario.yaml").write_text(SCENARIO.replace("INDICES", indices), encoding="utf-8")
    (folder / "expectations.yaml").write_text(LEDGER, encoding="utf-8")
    return tmp_path


@pytest.fixture
def num_cells() -> int:
    return 4


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize(
    ("num_kills", "num_cells"),
    [(5, 24), pytest.param(50, 200, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])],
    ids=["5", "50"],
)
def test_a_sweep_survives_being_killed_at_random_moments(
    project: Path, project_root: Path, num_kills: int, num_cells: int, jobs: str
) -> None:
    chance = random.Random(num_kills)  # noqa: S311 - moments, not secrets
    finished: list[int] = []
    for _ in range(num_kills):
        before = set(_indices(project))
        _run_and_kill(project, project_root, chance, jobs)
        finished = _indices(project)
        assert before <= set(finished), "a finished run was lost"
    assert len(finished) < num_cells, "no kill was left something to end"
    log = project / "last.log"
    ended = _harness(project, project_root, "--jobs", jobs, log=log).wait()
    assert ended == 0, log.read_text(encoding="utf-8")
    assert _indices(project) == list(range(num_cells))
    staging = project / "results/local/.staging"
    assert sorted(str(path.relative_to(staging)) for path in staging.rglob("*")) == [
        "a99-resume.cpu.lock"
    ]
    assert _still_running(project) == {}


def test_a_killed_workload_is_a_failed_run_and_owed_again(
    project: Path, project_root: Path
) -> None:
    harness = _harness(project, project_root, "--set", "sleep_s=600", "--only", "index=3")
    victim, *_ = _wait_for_workloads(harness, project)
    os.kill(victim, signal.SIGKILL)
    assert harness.wait() == 3
    (attempt,) = (project / "results/local/a99-resume/cpu").iterdir()
    assert attempt.name.endswith(".failed-1")
    outcome = json.loads((attempt / "outcome.json").read_text(encoding="utf-8"))
    assert outcome["status"] == "failed"
    assert "SIGKILL" in outcome["cause"]
    again = _harness(project, project_root, "--only", "index=3")
    assert again.wait() == 4  # it ran; a part of the experiment is not judged
    assert _still_running(project) == {}


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_run_leaves_nothing_and_says_so(
    project: Path, project_root: Path, jobs: int
) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        harness = _harness(project, project_root, "--set", "sleep_s=600", "--jobs", str(jobs))
        _wait_for_workloads(harness, project, jobs)
        harness.send_signal(number)
        assert harness.wait() == 130
        assert _indices(project) == []
        assert _still_running(project) == {}


def test_what_a_killed_harness_left_of_its_look_at_the_store_is_removed(
    project: Path, project_root: Path
) -> None:
    places = (project / "results/local/.staging", project / "results/local/a99-resume/cpu")
    left = [place / ".probe.a99-resume.cpu" for place in places]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text("{}", encoding="utf-8")
    assert _harness(project, project_root).wait() == 0
    assert not any(folder.exists() for folder in left)


def test_a_workload_whose_harness_is_dead_writes_nothing(
    project: Path, project_root: Path, tmp_path: Path
) -> None:
    """It was being started when its harness was killed, so that the next one cannot know of it."""
    assert _harness(project, project_root, "--only", "index=0").wait() == 4
    (run,) = _runs(project)
    ended = subprocess.run(
        [sys.executable, "-m", "harness.workloads", "noop", str(run / "spec.json"), str(tmp_path)],
        env={**os.environ, LIFELINE_VARIABLE: "1", "PYTHONPATH": str(project_root)},
        stdin=subprocess.DEVNULL,  # at its end, as the pipe of a dead process
        start_new_session=True,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert not (tmp_path / "events.jsonl").exists()


def _harness(
    project: Path, project_root: Path, *arguments: str, log: Path | None = None
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "harness", "run", "a99", "--project", str(project)]
    with (log or Path(os.devnull)).open("wb") as output:
        return subprocess.Popen(
            [*command, "--runtime", "local", *arguments],
            cwd=project_root,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _run_and_kill(project: Path, project_root: Path, chance: random.Random, jobs: str) -> None:
    """Kill a harness soon after it has finished a few runs, or none."""
    wanted = len(_runs(project)) + chance.choice([0, 0, 1, 2, 3])
    with _harness(project, project_root, "--jobs", jobs) as harness:
        while harness.poll() is None and not (
            _holds_a_lock(harness.pid) and len(_runs(project)) >= wanted
        ):
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.3))  # nothing depends on where it is by then
        harness.send_signal(signal.SIGKILL)


def _holds_a_lock(pid: int) -> bool:
    """Return whether a process holds a file by flock, as a harness does while it is at work."""
    locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    return any(" FLOCK " in line and f" {pid} " in line for line in locks)


def _runs(project: Path) -> list[Path]:
    """Return the folders of finished runs."""
    place = project / "results/local/a99-resume/cpu"
    return [path for path in place.glob("*") if "." not in path.name]


def _indices(project: Path) -> list[int]:
    specs = []
    for folder in _runs(project):  # whole, or it would not be here
        assert (folder / "outcome.json").is_file()
        json.loads((folder / "measurements.json").read_text(encoding="utf-8"))
        specs.append(json.loads((folder / "spec.json").read_text(encoding="utf-8")))
    return sorted(spec["params"]["index"] for spec in specs)


def _wait_for_workloads(
    harness: subprocess.Popen[bytes], project: Path, number: int = 1
) -> list[int]:
    """Return the pids of workloads once there are so many."""
    while harness.poll() is None:
        if len(running := _workloads(project)) >= number:
            return [*running]
        time.sleep(0.02)
    pytest.fail(f"the harness ended with {harness.returncode} before its workload had started")


def _still_running(project: Path) -> dict[int, str]:
    """Return what is left of `project`, once what is ending has ended."""
    deadline = time.monotonic() + 120
    while (running := _workloads(project)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return running


def _workloads(project: Path) -> dict[int, str]:
    """Return the processes whose folder is below `project`, with their command lines."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            place = str((process / "cwd").readlink())
            command = (process / "cmdline").read_text(errors="replace").replace("\0", " ")
        except OSError:
            continue  # it has ended, or is not ours to see
        if place.startswith(str(project)):
            found[int(process.name)] = command
    return found
