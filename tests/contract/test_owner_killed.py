"""kill -9 of the harness at work: nothing keeps running, and what can be left is found."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from harness.runtime.base import Launch
from harness.runtime.processes import marked

from .conftest import Bench

# stands for a harness: executes one launch with one runtime, and has no chance to clean up
OWNER = """
import json, pathlib, sys
from harness.records import RunSpec, from_json
from harness.runtime.base import Launch
from harness.runtime.docker import DockerRuntime
from harness.runtime.local import LocalRuntime
folder, name, *program = sys.argv[1:]
run_dir = pathlib.Path(folder)
spec = from_json(RunSpec, json.loads((run_dir / "spec.json").read_text()))
launch = Launch(spec=spec, run_dir=run_dir, program=("-c", *program) if program else None)
with {"local": LocalRuntime, "docker": DockerRuntime}[name]() as runtime:
    print(runtime.run(launch).status)
"""


@contextmanager
def owner_of(launch: Launch, runtime: str, begun: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a harness of its own, and wait until its run has made the file `begun`."""
    arguments = [str(launch.run_dir), runtime, *(launch.program or ())[1:]]
    process = subprocess.Popen([sys.executable, "-c", OWNER, *arguments], stdout=subprocess.PIPE)
    try:
        until((launch.run_dir / begun).exists)
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def until(holds: Callable[[], bool], timeout_s: float = 300.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "did not come to hold"
        time.sleep(0.02)


def is_running(bench: Bench, launch: Launch) -> bool:
    run_id = launch.spec.run_id
    if not bench.isolates:
        return any(mark.run_id == run_id for _, mark in marked())
    listed = ["docker", "ps", "--quiet", "--filter", f"label=harness.run={run_id}"]
    return bool(subprocess.check_output(listed))


def test_a_workload_ends_with_its_owner(bench: Bench) -> None:
    launch = bench.launch(sleep_s=600.0)
    with owner_of(launch, bench.runtime.name, "events.jsonl") as owner:
        assert is_running(bench, launch)
        os.kill(owner.pid, signal.SIGKILL)
        until(lambda: not is_running(bench, launch))
    assert bench.reaped(launch) == (1 if bench.isolates else 0)  # the ended container
    assert bench.reaped(launch) == 0


@pytest.mark.alone
def test_what_does_not_hold_the_lifeline_is_reaped(bench: Bench) -> None:
    launch = bench.launch("import time; open('begun', 'w'); time.sleep(600)")
    with owner_of(launch, bench.runtime.name, "begun") as owner:
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        assert is_running(bench, launch)
        assert bench.reaped(launch) == 1
        assert not is_running(bench, launch)


def test_a_living_owner_is_left_alone(bench: Bench) -> None:
    launch = bench.launch("import time; open('begun', 'w'); time.sleep(1)")
    with owner_of(launch, bench.runtime.name, "begun") as owner:
        assert bench.reaped(launch) == 0
        out, _ = owner.communicate()
    assert out == b"finished\n"


def test_an_interrupted_owner_cleans_up(bench: Bench) -> None:
    launch = bench.launch("import time; open('begun', 'w'); time.sleep(600)")
    with owner_of(launch, bench.runtime.name, "begun") as owner:
        os.kill(owner.pid, signal.SIGINT)
        owner.wait(300)
    assert not is_running(bench, launch)
    assert bench.reaped(launch) == 0
