"""Commands of a run's model are executed in sandboxes, outside of the run's container if any."""

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

from harness.records import (
    ImageRef,
    Limits,
    Profile,
    RunSpec,
    SandboxKind,
    SandboxSpec,
    Status,
    to_json,
)
from harness.runtime.base import Launch
from harness.runtime.docker import DockerRuntime
from harness.runtime.local import LocalRuntime
from harness.runtime.sandbox_server import sandbox_problem
from harness.sandbox import bubblewrap
from harness.sandbox.choice import open_sandboxes

pytestmark = pytest.mark.docker

PLAYS = """
import json, os, shutil, socket, sys
from harness.records import RunSpec, from_json
from harness.sandbox.choice import open_sandboxes
spec = from_json(RunSpec, json.load(open("spec.json"))).sandbox
with open_sandboxes(spec) as sandboxes, sandboxes.make() as one, sandboxes.make() as other:
    one.materialise({"notes/a.txt": b"one\\n"})
    other.materialise({"b": b"2"})
    result = one.run("sed -i s/one/two/ notes/a.txt; cat notes/a.txt; ls -d /harness /run; id -u")
    print(json.dumps({
        "note": sandboxes.note,
        "result": [result.exit_code, result.stdout],
        "snapshots": [str(one.snapshot()), str(other.snapshot())],
        "interfaces": [name for _, name in socket.if_nameindex()],
        "own bwrap": shutil.which("bwrap"),
        "shown": [sorted(os.listdir("/harness/sandbox")), os.access("/harness/sandbox", os.W_OK)],
    }))
"""
STAYS = """
import sys
import json
from harness.records import RunSpec, from_json
from harness.sandbox.choice import open_sandboxes
spec = from_json(RunSpec, json.load(open("spec.json"))).sandbox
with open_sandboxes(spec) as sandboxes, sandboxes.make() as sandbox:
    open("begun", "w")
    sandbox.run({command!r})
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


@pytest.fixture(params=[SandboxKind.BUBBLEWRAP, SandboxKind.CONTAINERS])
def asked(request: pytest.FixtureRequest, sandbox_image: ImageRef) -> SandboxSpec:
    """Each kind of sandbox with processes in turn."""
    spec = SandboxSpec(kind=request.param, image=sandbox_image)
    if problem := sandbox_problem(spec):
        pytest.skip(str(problem))
    return spec


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


def launch(
    image: ImageRef | None,
    sandbox: SandboxSpec,
    folder: Path,
    program: str,
    timeout_s: float = 600.0,
) -> Launch:
    run_dir = folder / "run"
    run_dir.mkdir()
    spec = RunSpec(
        scenario=f"a99-sandboxes-{folder.name}-{os.getpid()}",
        profile=Profile.CPU,
        workload="noop",
        params={"value": 1.5, "sleep_s": 0.0, "exit_code": 0, "index": 0},
        image=image,
        sandbox=sandbox,
        limits=Limits(timeout_s=timeout_s),
    )
    (run_dir / "spec.json").write_text(json.dumps(to_json(spec)), encoding="utf-8")
    return Launch(spec=spec, run_dir=run_dir, program=("-c", program))


def test_commands_run_in_sandboxes_outside_of_a_shut_container(
    cpu_image: ImageRef, asked: SandboxSpec, sandbox_image: ImageRef, tmp_path: Path
) -> None:
    task = launch(cpu_image, asked, tmp_path, PLAYS)
    with DockerRuntime() as runtime:
        assert list(runtime.problems(task.spec)) == []
        outcome = runtime.run(task)
    assert outcome.status is Status.FINISHED, outcome.log_tail
    found = json.loads((task.run_dir / "stdout.log").read_text(encoding="utf-8"))
    where, seen = {
        SandboxKind.BUBBLEWRAP: ("bubblewrap sandboxes", ""),
        SandboxKind.CONTAINERS: (f"containers of image sandbox ({sandbox_image.digest})", "/run\n"),
    }[asked.kind]
    assert found["note"] == f"commands run in {where}, outside of the run's container"
    assert found["result"][1] == f"two\n{seen}65534\n"  # nothing of the run's container is there
    assert found["snapshots"] == ["{'notes/a.txt': b'two\\n'}", "{'b': b'2'}"]
    assert (found["interfaces"], found["own bwrap"]) == (["lo"], None)
    assert found["shown"] == [["socket"], False]
    left = {path.name for path in task.run_dir.iterdir()}
    assert left == {"spec.json", "stdout.log", "stderr.log"}


def test_a_command_ends_with_the_run_that_is_out_of_time(
    cpu_image: ImageRef, asked: SandboxSpec, tmp_path: Path, word: str
) -> None:
    stays = STAYS.format(command=f"setsid sleep {word} & sleep {word}")
    task = launch(cpu_image, asked, tmp_path, stays, timeout_s=10.0)
    with DockerRuntime() as runtime:
        outcome = runtime.run(task)
        assert not carries(word)
    assert outcome.status is Status.TIMED_OUT
    assert (task.run_dir / "begun").exists()


def test_a_command_ends_with_the_harness_that_is_killed(
    cpu_image: ImageRef, asked: SandboxSpec, tmp_path: Path, word: str
) -> None:
    # no processes carry the word but those of the sandbox: the program reads it from a file
    task = launch(cpu_image, asked, tmp_path, "")
    (task.run_dir / "command").write_text(f"sleep {word}", encoding="utf-8")
    stays = STAYS.replace("{command!r}", "open('command').read()")
    with subprocess.Popen([sys.executable, "-c", OWNER, str(task.run_dir), stays]) as owner:
        until(lambda: carries(word))
        os.kill(owner.pid, signal.SIGKILL)
        until(lambda: not carries(word))
    with DockerRuntime() as runtime:
        assert task.spec.run_id in [each.run_id for each in runtime.reap()]


LOCAL = """
import json
from harness.records import RunSpec, from_json
from harness.sandbox.choice import open_sandboxes
spec = from_json(RunSpec, json.load(open("spec.json"))).sandbox
with open_sandboxes(spec) as sandboxes, sandboxes.make() as sandbox:
    found = sandbox.run(". /etc/os-release; echo $VERSION_CODENAME; hostname")
    print(json.dumps({"kind": sandboxes.kind, "note": sandboxes.note, "stdout": found.stdout}))
"""


def test_a_run_without_a_container_has_its_commands_run_in_containers(
    sandbox_image: ImageRef, tmp_path: Path
) -> None:
    asked = SandboxSpec(kind=SandboxKind.CONTAINERS, image=sandbox_image)
    task = launch(None, asked, tmp_path, LOCAL)
    with LocalRuntime() as runtime:
        assert list(runtime.problems(task.spec)) == []
        outcome = runtime.run(task)
    assert outcome.status is Status.FINISHED, outcome.log_tail
    found = json.loads((task.run_dir / "stdout.log").read_text(encoding="utf-8"))
    assert found["kind"] == "containers"
    assert sandbox_image.digest in found["note"]
    assert found["stdout"] == "bookworm\nsandbox\n"  # the image's files, not this machine's


def test_without_bubblewrap_auto_takes_containers(
    sandbox_image: ImageRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bubblewrap, "_PATH", "/nowhere")
    asked = SandboxSpec(kind=SandboxKind.AUTO, image=sandbox_image)
    assert sandbox_problem(asked) is None
    with open_sandboxes(asked) as sandboxes, sandboxes.make() as sandbox:
        assert sandboxes.kind is SandboxKind.CONTAINERS
        assert sandbox.run("echo ran").stdout == "ran\n"


def test_an_image_that_the_engine_lacks_is_refused_with_the_command_that_builds_it() -> None:
    lacking = ImageRef(name="sandbox", digest=f"sha256:{'0' * 64}")
    problem = sandbox_problem(SandboxSpec(kind=SandboxKind.CONTAINERS, image=lacking))
    assert problem is not None
    assert "image sandbox is not in the Docker engine" in problem.message
    assert problem.remedy == "harness build sandbox"
