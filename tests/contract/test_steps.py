"""A run of several steps, ended in every way there is: it goes on, and ends with the same figures.

The workload is a random walk of quick steps, each of which depends on the one before. So a step
that was lost, made of something else, or taken from the wrong run changes every figure behind it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from harness.artefacts import ArtefactStore, DamagedError

STEPS = 6
SCENARIO = """\
scenario: {name}
title: A walk
question: Does a run of several steps survive whatever ends it?
article: {{number: {number}, title: Nothing}}
workload: noop
params: {{steps: {steps}, step_s: {step_s}}}
profiles: {{cpu: {{summary: a walk}}}}
"""
LEDGER = """\
scenario: {name}
sections:
- title: Figures
  entries:
  - id: value
    metric: noop.value
    unit: "1"
    class: arithmetic
    kind: law
    expect: {{law: all_cells, params: {{low: 0, high: 0}}}}
    reason: every cell reports what it was given
    source: this test
"""

ANOTHER_BOOT = "00000000-1111-4222-8333-444444444444"


class Walk:
    """A project with a scenario of steps, and a store."""

    def __init__(self, root: Path, code: Path, number: int = 99, step_s: float = 0.1) -> None:
        self.root, self.code, self.name = root, code, f"a{number}-walk"
        self.store = root / "store"
        folder = root / "scenarios" / self.name
        folder.mkdir(parents=True)
        facts = {"name": self.name, "number": number, "steps": STEPS, "step_s": step_s}
        (folder / "scenario.yaml").write_text(SCENARIO.format(**facts), encoding="utf-8")
        (folder / "expectations.yaml").write_text(LEDGER.format(**facts), encoding="utf-8")

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "harness", "run", self.name, "--project", str(self.root)]
        return subprocess.Popen(
            [*command, "--all", "--store", str(self.store), "--runtime", "local", *words],
            cwd=self.code,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str) -> tuple[int, str]:
        """Run it to its end; return the exit code and all that is said."""
        with self.start(*words) as process:
            said, _ = process.communicate(timeout=600)
        return process.returncode, " ".join(said.split())

    def end(self, with_signal: int, steps: int, delay_s: float = 0.0) -> None:
        """Start it, and end the harness soon after so many steps are there."""
        with self.start() as process:
            self.wait_for(steps, process)
            time.sleep(delay_s)
            process.send_signal(with_signal)
            process.communicate(timeout=300)

    def wait_for(self, steps: int, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + 300
        while len(self.artefacts.keys()) < steps and process.poll() is None:
            assert time.monotonic() < deadline, "it makes no step"
            time.sleep(0.01)

    @property
    def artefacts(self) -> ArtefactStore:
        return ArtefactStore(self.store / ".artefacts")

    @property
    def staged(self) -> Path:
        (folder,) = (self.store / ".staging").glob(f"{self.name}.*/")
        return folder

    @property
    def outcome(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.finished / "outcome.json").read_text("utf-8"))
        return found

    @property
    def finished(self) -> Path:
        """The folder of the run that finished, not of attempts that failed."""
        (folder,) = (
            path for path in (self.store / self.name / "cpu").iterdir() if "." not in path.name
        )
        return folder

    @property
    def told(self) -> int:
        """How many steps the run that is not finished has told of: a kill may come before it."""
        events = (self.staged / "events.jsonl").read_text(encoding="utf-8")
        return events.count('"kind": "stored"')

    @property
    def figures(self) -> dict[str, Any]:
        """Every figure that depends on no clock."""
        return {
            f"{each['metric']} {each['where']}": each["value"]
            for each in json.loads((self.finished / "measurements.json").read_text("utf-8"))
            if each["metric"].startswith("noop.")
        }

    @property
    def orphans(self) -> list[int]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                place = str((process / "cwd").readlink())
            except OSError:
                continue
            if place.startswith(str(self.root)):
                found.append(int(process.name))
        return found


@pytest.fixture
def walk(tmp_path: Path, project_root: Path) -> Walk:
    return Walk(tmp_path, project_root)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> dict[str, Any]:
    """The figures of the walk, uninterrupted."""
    walk = Walk(tmp_path_factory.mktemp("whole"), project_root)
    code, said = walk.run()
    assert code == 0, said
    assert f"Steps: {STEPS} made in these runs; taken: none." in said
    assert len(walk.outcome["segments"]) == 1
    return walk.figures


@pytest.mark.parametrize(
    "num_kills", [6, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_killed_at_random_moments_it_loses_and_doubles_nothing(
    tmp_path: Path, project_root: Path, whole: dict[str, Any], num_kills: int
) -> None:
    chance = random.Random(num_kills)  # noqa: S311 - moments, not secrets
    walk = Walk(tmp_path, project_root, step_s=0.05)
    made: dict[str, float] = {}
    for _ in range(num_kills):
        with walk.start() as process:  # killed while it starts, or soon after a further step
            walk.wait_for(len(made) + chance.choice((0, 1)), process)
            time.sleep(chance.uniform(0.0, 0.8))
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=300)
        now = {
            key: (walk.artefacts.root / key / "artefact.json").stat().st_mtime
            for key in walk.artefacts.keys()  # noqa: SIM118 - no mapping
        }
        assert made.items() <= now.items(), "a finished step was lost, or made twice"
        made = now
    code, said = walk.run()
    assert code == 0, said
    assert walk.figures == whole
    assert len(walk.artefacts.keys()) == STEPS
    assert walk.orphans == []
    assert [path.name for path in (walk.store / ".staging").iterdir()] == [f"{walk.name}.cpu.lock"]


def test_a_killed_harness_goes_on_behind_the_last_step_and_says_so(
    walk: Walk, whole: dict[str, Any]
) -> None:
    walk.end(signal.SIGKILL, steps=3)
    left = walk.told
    code, said = walk.run()
    assert code == 0, said
    assert "ended: killed" in said
    assert f"goes on behind walk-{left} ({left} steps done)" in said
    assert "in 2 segments, whose times and energies are added" in said
    assert walk.figures == whole
    first, second = walk.outcome["segments"]
    assert (first["steps"], second["steps"]) == (left, STEPS - left)
    assert first["cause"].startswith("killed")
    assert not second["cause"]
    assert first["boot_id"] == second["boot_id"] == boot_id()
    assert walk.outcome["usage"]["wall_s"] == pytest.approx(
        first["wall_s"] + second["wall_s"], abs=2e-3
    )
    assert {step["made_by"] for step in walk.outcome["steps"]} == {""}


@pytest.mark.parametrize(
    ("number", "cause"),
    [(signal.SIGINT, "interrupted by Ctrl-C"), (signal.SIGTERM, "ended by SIGTERM")],
)
def test_an_interrupted_run_goes_on(
    walk: Walk, whole: dict[str, Any], number: int, cause: str
) -> None:
    walk.end(number, steps=2)
    assert walk.orphans == []
    code, said = walk.run()
    assert code == 0, said
    assert f"ended: {cause}" in said
    assert walk.figures == whole
    assert walk.outcome["segments"][0]["cause"] == cause


def test_a_killed_workload_goes_on(walk: Walk, whole: dict[str, Any]) -> None:
    with walk.start() as process:
        walk.wait_for(2, process)
        for pid in walk.orphans:  # no orphan yet: the workload at work
            os.kill(pid, signal.SIGKILL)
        said, _ = process.communicate(timeout=300)
    assert process.returncode == 3, said
    assert "ended by SIGKILL" in said
    code, said = walk.run()
    assert code == 0, said
    assert walk.figures == whole
    assert "SIGKILL" in walk.outcome["segments"][0]["cause"]


def test_after_a_restart_of_the_machine_it_goes_on_and_says_so(
    walk: Walk, whole: dict[str, Any]
) -> None:
    walk.end(signal.SIGKILL, steps=2)
    path = walk.staged / "segment.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(boot_id(), ANOTHER_BOOT), encoding="utf-8")
    (walk.staged / "server.sock").touch()  # what a server leaves behind
    code, said = walk.run()
    assert code == 0, said
    assert "ended: the machine" in said
    assert walk.figures == whole
    first, second = walk.outcome["segments"]
    assert first["boot_id"] != second["boot_id"]


@pytest.mark.parametrize(
    "num_cuts", [6, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_no_cut_of_power_loses_a_step_or_makes_a_wrong_figure(
    walk: Walk, whole: dict[str, Any], num_cuts: int
) -> None:
    """Every file may end anywhere, or in zero bytes; finished steps too, though they are synced."""
    chance = random.Random(num_cuts)  # noqa: S311 - bytes, not secrets
    walk.end(signal.SIGKILL, steps=3)
    shutil.copytree(walk.store, walk.root / "kept")
    for number in range(num_cuts):
        shutil.rmtree(walk.store)
        shutil.copytree(walk.root / "kept", walk.store)
        files = [path for path in walk.store.rglob("*") if path.is_file() and path.stat().st_size]
        steps = set(walk.artefacts.keys())
        damaged = set()
        for path in files if number % 2 else [chance.choice(files)]:
            if ".artefacts" not in path.parts or not number % 2:
                tear(path, chance)
        for key in steps:
            try:
                walk.artefacts.find(key)
            except DamagedError:
                damaged.add(key)
        whole_ones = {
            key: (walk.artefacts.root / key / "artefact.json").stat().st_mtime_ns
            for key in steps - damaged
        }
        code, said = walk.run()
        assert code == 0, said
        assert walk.figures == whole
        assert {
            key: (walk.artefacts.root / key / "artefact.json").stat().st_mtime_ns
            for key in whole_ones
        } == whole_ones
        for key in walk.artefacts.keys():  # noqa: SIM118 - no mapping
            assert walk.artefacts.find(key) is not None


def tear(path: Path, chance: random.Random) -> None:
    size = path.stat().st_size
    os.truncate(path, chance.randrange(size))
    if chance.random() < 0.5:
        os.truncate(path, size)  # zero bytes in place of the rest


def test_a_damaged_step_is_made_again_and_said_so(walk: Walk, whole: dict[str, Any]) -> None:
    walk.end(signal.SIGKILL, steps=3)
    victim = next(
        key
        for key in walk.artefacts.keys()  # noqa: SIM118 - no mapping
        if (found := walk.artefacts.find(key)) is not None and found.name == "walk-2"
    )
    path = walk.artefacts.files(victim) / "here.json"
    path.write_text("1", encoding="utf-8")
    code, said = walk.run()
    assert code == 0, said
    assert walk.figures == whole
    notes = (walk.finished / "events.jsonl").read_text(encoding="utf-8")
    assert "step 'walk-2' is made again" in notes
    assert "sha256" in notes


def test_two_harnesses_after_one_step_make_it_once(tmp_path: Path, project_root: Path) -> None:
    one = Walk(tmp_path / "one", project_root, number=98, step_s=0.3)
    two = Walk(tmp_path / "two", project_root, number=99, step_s=0.3)
    two.store = one.store
    with one.start() as first, two.start() as second:
        said = [process.communicate(timeout=600)[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), said
    assert one.figures == two.figures
    assert len(one.artefacts.keys()) == STEPS
    steps = [*one.outcome["steps"], *two.outcome["steps"]]
    assert sum(step["made_now"] for step in steps) == STEPS
    assert one.artefacts.unfinished() == []


def test_another_scenario_takes_the_steps_and_names_the_run(
    tmp_path: Path, project_root: Path
) -> None:
    one, two = (Walk(tmp_path / str(number), project_root, number) for number in (98, 99))
    two.store = one.store
    assert one.run()[0] == 0
    code, said = two.run()
    assert code == 0, said
    assert "Steps: 0 made in these runs; taken: walk-1, walk-2, walk-3, walk-4, walk-5, " in said
    assert "from a98-walk cpu " in said
    assert one.figures == two.figures


def test_changed_code_is_refused_by_step_unless_it_is_asked_for(
    tmp_path: Path, project_root: Path, whole: dict[str, Any]
) -> None:
    code = tmp_path / "code"
    shutil.copytree(
        project_root / "harness", code / "harness", ignore=shutil.ignore_patterns("__pycache__")
    )
    walk = Walk(tmp_path / "project", code)
    walk.end(signal.SIGKILL, steps=3)
    left, kept = walk.told, len(walk.artefacts.keys())
    with (code / "harness/workloads/noop.py").open("a", encoding="utf-8") as file:
        file.write("# another\n")
    exit_code, said = walk.run()
    assert exit_code == 2
    assert "has changed since: walk-1" in said
    assert "--continue-across-changes" in said
    assert "--restart" in said
    assert len(walk.artefacts.keys()) == kept
    shutil.copytree(walk.store, tmp_path / "kept")

    exit_code, said = walk.run("--continue-across-changes")
    assert exit_code == 4, said
    assert "Not judged: walk-1" in said
    assert walk.figures == whole
    changed = [step["name"] for step in walk.outcome["steps"] if step["across_changes"]]
    assert changed == [f"walk-{number}" for number in range(1, left + 1)]

    walk.store = tmp_path / "kept"
    exit_code, said = walk.run("--restart")
    assert exit_code == 0, said
    assert len(walk.outcome["segments"]) == 1
    assert not any(step["across_changes"] for step in walk.outcome["steps"])


def test_changed_code_that_no_step_depends_on_is_no_obstacle(
    tmp_path: Path, project_root: Path, whole: dict[str, Any]
) -> None:
    code = tmp_path / "code"
    shutil.copytree(
        project_root / "harness", code / "harness", ignore=shutil.ignore_patterns("__pycache__")
    )
    walk = Walk(tmp_path / "project", code)
    walk.end(signal.SIGKILL, steps=3)
    left = walk.told
    with (code / "harness/workloads/__main__.py").open("a", encoding="utf-8") as file:
        file.write("# another\n")
    exit_code, said = walk.run()
    assert exit_code == 0, said
    assert f"goes on behind walk-{left}" in said
    assert walk.figures == whole
    assert {step["made_by"] for step in walk.outcome["steps"]} == {""}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a mebibyte, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield place
    subprocess.run(["/bin/umount", "--lazy", str(place)], check=True)


def test_a_disk_that_is_full_half_way_loses_nothing(
    walk: Walk, whole: dict[str, Any], small_disk: Path
) -> None:
    walk.store = small_disk / "store"
    with walk.start() as process:
        walk.wait_for(2, process)
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        said, _ = process.communicate(timeout=300)
    assert process.returncode == 3, said
    assert "Traceback" not in said
    steps = [
        walk.artefacts.find(key)
        for key in walk.artefacts.keys()  # noqa: SIM118 - no mapping
    ]
    assert len(steps) >= 2
    filler.unlink()
    code, said = walk.run()
    assert code == 0, said
    assert walk.figures == whole


def test_a_store_that_is_read_only_is_refused_before_anything_runs(
    walk: Walk, small_disk: Path
) -> None:
    walk.store = small_disk / "store"
    walk.store.mkdir()
    subprocess.run(["/bin/mount", "-o", "remount,ro", str(small_disk)], check=True)
    code, said = walk.run()
    assert code == 3, said
    assert "cannot write to" in said
    assert "Traceback" not in said


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
