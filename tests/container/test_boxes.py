"""A run in a container has its commands run in boxes, which are made outside of the container."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.records import ImageRef, Limits, Profile, RunSpec, Status, to_json
from harness.runtime.base import Launch
from harness.runtime.docker import DockerRuntime
from harness.runtime.sandbox_server import box_problem

pytestmark = pytest.mark.docker

PLAYS = """
import json, os, shutil, socket, sys
from harness.sandbox.choice import BoxKind, open_boxes
with open_boxes(BoxKind.BUBBLEWRAP) as boxes, boxes.make() as one, boxes.make() as other:
    one.materialise({"notes/a.txt": b"one\\n"})
    other.materialise({"b": b"2"})
    result = one.run("sed -i s/one/two/ notes/a.txt; cat notes/a.txt; ls -d /harness /run; id -u")
    print(json.dumps({
        "note": boxes.note,
        "result": [result.exit_code, result.stdout],
        "snapshots": [str(one.snapshot()), str(other.snapshot())],
        "interfaces": [name for _, name in socket.if_nameindex()],
        "own bwrap": shutil.which("bwrap"),
        "shown": [sorted(os.listdir("/harness/boxes")), os.access("/harness/boxes", os.W_OK)],
    }))
"""
STAYS = """
import sys
from harness.sandbox.choice import BoxKind, open_boxes
with open_boxes(BoxKind.BUBBLEWRAP) as boxes, boxes.make() as box:
    open("begun", "w")
    box.run({command!r})
"""
# stands for a harness that is killed
OWNER = """
import json, pathlib, sys
from harness.records import RunSpec, from_json
from harness.runtime.base import Launch
from harness.runtime.docker import DockerRuntime
run_dir = pathlib.Path(sys.argv[1])
spec = from_json(RunSpec, json.loads((run_dir / "spec.json").read_text()))
with DockerRuntime() as runtime:
    runtime.run(Launch(spec=spec, run_dir=run_dir, program=("-c", sys.argv[2])))
"""


@pytest.fixture(autouse=True)
def _makes_boxes() -> None:
    if problem := box_problem():
        pytest.skip(str(problem))


@pytest.fixture
def word() -> Iterator[str]:
    """A word in the arguments of a command that stays; nothing carries it afterwards."""
    word = f"3600.{secrets.randbelow(10**12):012}"
    yield word
    assert not carries(word)


def carries(word: str) -> bool:
    """Whether a process of this machine has `word` in its arguments, in whatever namespace."""
    files = Path("/proc").glob("[0-9]*/cmdline")
    return any(word.encode() in text for file in files if (text := content(file)))


def content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # it has just ended
        return b""


def until(holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "did not come to hold"
        time.sleep(0.05)


def launch(image: ImageRef, folder: Path, program: str, timeout_s: float = 600.0) -> Launch:
    run_dir = folder / "run"
    run_dir.mkdir()
    spec = RunSpec(
        scenario=f"a99-boxes-{folder.name}-{os.getpid()}",
        profile=Profile.CPU,
        workload="noop",
        params={"value": 1.5, "sleep_s": 0.0, "exit_code": 0, "index": 0},
        image=image,
        limits=Limits(boxes=True, timeout_s=timeout_s),
    )
    (run_dir / "spec.json").write_text(json.dumps(to_json(spec)), encoding="utf-8")
    return Launch(spec=spec, run_dir=run_dir, program=("-c", program))


def test_commands_run_in_boxes_outside_of_a_shut_container(
    cpu_image: ImageRef, tmp_path: Path
) -> None:
    task = launch(cpu_image, tmp_path, PLAYS)
    with DockerRuntime() as runtime:
        assert list(runtime.problems(task.spec)) == []
        outcome = runtime.run(task)
    assert outcome.status is Status.FINISHED, outcome.log_tail
    found = json.loads((task.run_dir / "stdout.log").read_text(encoding="utf-8"))
    assert found["note"] == "commands run in boxes of bubblewrap, outside of the run's container"
    assert found["result"] == [0, "two\n65534\n"]  # neither folder is there
    assert found["snapshots"] == ["{'notes/a.txt': b'two\\n'}", "{'b': b'2'}"]
    assert (found["interfaces"], found["own bwrap"]) == (["lo"], None)
    assert found["shown"] == [["socket"], False]
    left = {path.name for path in task.run_dir.iterdir()}
    assert left == {"spec.json", "stdout.log", "stderr.log"}


def test_a_command_ends_with_the_run_that_is_out_of_time(
    cpu_image: ImageRef, tmp_path: Path, word: str
) -> None:
    stays = STAYS.format(command=f"setsid sleep {word} & sleep {word}")
    task = launch(cpu_image, tmp_path, stays, timeout_s=8.0)
    with DockerRuntime() as runtime:
        outcome = runtime.run(task)
        assert not carries(word)
    assert outcome.status is Status.TIMED_OUT
    assert (task.run_dir / "begun").exists()


def test_a_command_ends_with_the_harness_that_is_killed(
    cpu_image: ImageRef, tmp_path: Path, word: str
) -> None:
    # no processes carry the word but those of the box: the program reads it from a file
    task = launch(cpu_image, tmp_path, "")
    (task.run_dir / "command").write_text(f"sleep {word}", encoding="utf-8")
    stays = STAYS.replace("{command!r}", "open('command').read()")
    with subprocess.Popen([sys.executable, "-c", OWNER, str(task.run_dir), stays]) as owner:
        until(lambda: carries(word))
        os.kill(owner.pid, signal.SIGKILL)
        until(lambda: not carries(word))
    with DockerRuntime() as runtime:
        assert [each.run_id for each in runtime.reap()].count(task.spec.run_id) == 1
