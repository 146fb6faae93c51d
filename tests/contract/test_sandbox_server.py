"""Sandboxes asked for over a socket: who may have which, and what ends them.

What a command may do in one is tested with every other factory's (`test_sandbox`).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from harness.records import SandboxKind, SandboxSpec, from_json
from harness.runtime.owner import this_process
from harness.runtime.sandbox_server import SOCKET, SandboxServer, sandbox_problem, serve_sandboxes
from harness.sandbox import bubblewrap as bubblewrap_module
from harness.sandbox.base import SandboxUnavailable
from harness.sandbox.choice import open_sandboxes
from harness.sandbox.config import SupervisorConfig
from harness.sandbox.limits import MAX_SANDBOX, CommandLimits, SandboxLimits
from harness.sandbox.protocol import (
    SandboxOp,
    SandboxRequest,
    SandboxResponse,
    encode,
    read_message,
)
from harness.sandbox.remote import OpenResponse, RemoteSandboxFactory, read_exactly

from .conftest import BUBBLEWRAP, SANDBOX_LIMITS, Marker, bubblewrap, noop

A_RUN = replace(noop(), sandbox=BUBBLEWRAP)


@pytest.fixture
def place() -> Iterator[Path]:
    """The socket of a server that makes two sandboxes at once, and no more."""
    bubblewrap()  # or skip
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / SOCKET
        with SandboxServer(place, BUBBLEWRAP, max_sandboxes=2):
            yield place


def connected(place: Path) -> socket.socket:
    """A bare connection to a sandbox, as code in the container could have that is not ours."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.settimeout(120.0)  # seven megabytes of brackets take long on a busy machine
    line.connect(str(place))
    line.sendall(b"".join(encode(SANDBOX_LIMITS)))
    assert from_json(
        OpenResponse, read_message(lambda size: read_exactly(line, size), 0)[0]
    ) == OpenResponse(kind="bubblewrap")
    return line


def answer(line: socket.socket) -> SandboxResponse:
    return from_json(SandboxResponse, read_message(lambda size: read_exactly(line, size), 0)[0])


def until_none(marker: Marker, timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while marker.pids():
        assert time.monotonic() < deadline, "a command outlived its sandbox"
        time.sleep(0.02)


def until_some(marker: Marker, timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not marker.pids():
        assert time.monotonic() < deadline, "the command does not start"
        time.sleep(0.02)


# --- asking ---------------------------------------------------------------------------------------


def test_sandboxes_of_a_run_are_asked_for_where_it_is_told_so(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_SANDBOX", str(place))
    for kind in (SandboxKind.BUBBLEWRAP, SandboxKind.AUTO):
        with open_sandboxes(SandboxSpec(kind=kind)) as sandboxes, sandboxes.make() as sandbox:
            assert sandboxes.kind is SandboxKind.BUBBLEWRAP
            assert sandboxes.note.endswith(
                "in bubblewrap sandboxes, outside of the run's container"
            )
            assert sandbox.run("echo ran").stdout == "ran\n"


def test_a_machine_that_can_make_none_says_so_with_the_next_command(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bubblewrap_module, "_PATH", "/nowhere")
    with pytest.raises(SandboxUnavailable) as refused:
        RemoteSandboxFactory(place).open()
    assert str(refused.value).startswith("there is no bwrap here")
    assert refused.value.remedy == "sudo apt-get install bubblewrap"
    problem = sandbox_problem(BUBBLEWRAP)
    assert problem is not None
    assert problem.remedy == "sudo apt-get install bubblewrap"
    monkeypatch.undo()
    assert sandbox_problem(BUBBLEWRAP) is None


def test_a_socket_that_nobody_answers_says_so(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailable, match="no server makes sandboxes"):
        RemoteSandboxFactory(tmp_path / SOCKET).open()


def test_more_sandboxes_than_a_run_may_have_are_refused_and_one_given_back_is_free(
    place: Path,
) -> None:
    sandboxes = RemoteSandboxFactory(place, SANDBOX_LIMITS)
    with sandboxes.make() as one:
        with sandboxes.make() as other:
            with pytest.raises(SandboxUnavailable, match="the run has 2 sandboxes"):
                sandboxes.open()
            assert one.run("echo 1").stdout + other.run("echo 2").stdout == "1\n2\n"
        with sandboxes.make() as other:
            assert other.run("echo 3").stdout == "3\n"


@pytest.mark.parametrize(
    "limits",
    [
        f'{{"memory_mib": {MAX_SANDBOX.memory_mib + 1}}}',
        '{"processes": 0}',
        '{"cpus": Infinity}',
        '{"cpus": NaN}',
        '{"workspace_bytes": -1}',
        '{"workspace_bytes": 0, "workspace_paths": 0}',  # a disk of no bytes would have no bound
        '{"user": 0}',
        "[]",
        "nothing",
    ],
)
def test_a_sandbox_of_other_limits_is_refused(place: Path, limits: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect(str(place))
        line.sendall(struct.pack(">II", len(limits), 0) + limits.encode())
        made = from_json(OpenResponse, read_message(lambda size: read_exactly(line, size), 0)[0])
    assert made.problem.startswith("no such sandbox can be had")


# --- what may be asked of a sandbox ---------------------------------------------------------------

A_CONFIG = SupervisorConfig(
    scratch=(), files={}, resource_limits={}, seccomp="", environment={}, prefix=("bash", "-c")
)


@pytest.mark.parametrize(
    "asked",
    [
        A_CONFIG,
        SandboxLimits(),
        SandboxRequest(op=SandboxOp.RUN, command=":", limits=CommandLimits(timeout_s=1e9)),
        SandboxRequest(op=SandboxOp.RUN, command=":", limits=CommandLimits(output_bytes=1 << 40)),
        SandboxRequest(op=SandboxOp.SNAPSHOT, max_bytes=1 << 40),
    ],
)
def test_what_is_no_request_ends_the_sandbox_and_does_not_reach_its_supervisor(
    place: Path, asked: object
) -> None:
    with connected(place) as line:
        line.sendall(b"".join(encode(asked)))
        assert answer(line).error
        assert line.recv(1) == b""


@pytest.mark.parametrize(
    "asked",
    [
        struct.pack(">II", 1 << 30, 0),
        struct.pack(">II", 2, 1 << 30),
        struct.pack(">II", 2, 0) + b"[]",
        struct.pack(">II", 1 << 20, 0) + b"[" * (1 << 20),
    ],
)
def test_what_is_no_message_ends_the_sandbox_and_harms_no_other(place: Path, asked: bytes) -> None:
    with RemoteSandboxFactory(place, SANDBOX_LIMITS).make() as other, connected(place) as line:
        line.sendall(asked)
        assert answer(line).error
        assert other.run("echo unharmed").stdout == "unharmed\n"


def test_many_large_headers_at_once_stay_within_a_bound() -> None:
    """JSON takes up to thirty times its size: eight of 16 MiB once took 4 GiB."""
    bubblewrap()
    largest = 7 << 20
    hostile = [
        b"[" + b"{}," * (largest // 3 - 2) + b"{}]",
        b"[" + b"[]," * (largest // 3 - 2) + b"[]]",
        b'{"op":"materialise","sizes":{'
        + b",".join(b'"%06x":0' % n for n in range(largest // 11))
        + b"}}",
    ]
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        place = Path(server.stdout.readline().strip()) / SOCKET
        with ExitStack() as stack, ThreadPoolExecutor(8) as threads:
            lines = [stack.enter_context(connected(place)) for _ in range(8)]

            def send(number: int) -> bool:
                header = hostile[number % len(hostile)]
                lines[number].sendall(struct.pack(">II", len(header), 0) + header)
                return bool(answer(lines[number]).error)

            assert all(threads.map(send, range(8)))
        status = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
        peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
        server.kill()
    assert int(peak) < 700 << 10  # KiB


def test_a_file_outside_of_the_workspace_is_not_written(place: Path) -> None:
    with connected(place) as line:
        sizes = {"../proc/1/cwd/tmp/outside": 1}
        line.sendall(b"".join(encode(SandboxRequest(op=SandboxOp.MATERIALISE, sizes=sizes), b"x")))
        assert "leaves the workspace" in answer(line).error
    assert not Path("/tmp/outside").exists()


# --- what ends it ---------------------------------------------------------------------------------

CLIENT = """
import sys
from pathlib import Path
from harness.sandbox.remote import RemoteSandboxFactory
with RemoteSandboxFactory(Path(sys.argv[1])).make() as sandbox:
    sandbox.run(sys.argv[2])
"""
SERVER = """
import sys, time
from harness.records import Profile, RunSpec, SandboxKind, SandboxSpec
from harness.runtime.sandbox_server import serve_sandboxes
spec = SandboxSpec(kind=SandboxKind.BUBBLEWRAP)
run = RunSpec(scenario="a99", profile=Profile.CPU, workload="noop", params={}, sandbox=spec)
with serve_sandboxes(run) as folder:
    print(folder, flush=True)
    time.sleep(60)
"""


def test_a_sandbox_ends_with_who_asked_for_it_in_the_middle_of_a_command(
    place: Path, marker: Marker
) -> None:
    command = f"setsid {marker.sleep} & {marker.sleep}"
    with subprocess.Popen([sys.executable, "-c", CLIENT, str(place), command]) as client:
        until_some(marker)
        client.kill()
    until_none(marker)
    with (
        RemoteSandboxFactory(place, SANDBOX_LIMITS).make() as one,
        RemoteSandboxFactory(place, SANDBOX_LIMITS).make(),
    ):
        assert one.run("echo both free").stdout == "both free\n"


def test_every_sandbox_ends_with_the_run(marker: Marker) -> None:
    bubblewrap()
    with ThreadPoolExecutor(1) as thread:
        with serve_sandboxes(A_RUN) as folder:
            assert folder is not None
            sandbox = RemoteSandboxFactory(folder / SOCKET, SANDBOX_LIMITS).make().__enter__()
            running = thread.submit(sandbox.run, marker.sleep)
            until_some(marker)
        assert marker.pids() == []
        assert not folder.parent.exists()
        with pytest.raises(SandboxUnavailable):
            running.result(timeout=120)
    sandbox.destroy()


def test_every_sandbox_ends_with_the_harness_and_the_next_one_removes_its_folder(
    marker: Marker,
) -> None:
    bubblewrap()
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    with server, ThreadPoolExecutor(1) as thread:
        assert server.stdout is not None
        folder = Path(server.stdout.readline().strip())
        with RemoteSandboxFactory(folder / SOCKET, SANDBOX_LIMITS).make() as sandbox:
            running = thread.submit(sandbox.run, marker.sleep)
            until_some(marker)
            os.kill(server.pid, signal.SIGKILL)
            with pytest.raises(SandboxUnavailable):
                running.result(timeout=120)
        until_none(marker)
    assert folder.exists()
    with serve_sandboxes(A_RUN):
        assert not folder.parent.exists()


# --- the folder -----------------------------------------------------------------------------------


def test_a_run_that_asks_for_no_sandboxes_is_lent_none() -> None:
    with serve_sandboxes(noop()) as folder:
        assert folder is None


def test_nobody_else_of_this_machine_gets_to_the_socket() -> None:
    with serve_sandboxes(A_RUN) as folder:
        assert folder is not None
        assert this_process().token in folder.parent.name
        modes = [stat.S_IMODE(each.stat().st_mode) for each in (folder.parent, folder)]
        assert modes == [0o700, 0o755]
        if os.geteuid() == 0 and (setpriv := shutil.which("setpriv")):
            asking = f"import socket; socket.socket(1).connect({str(folder / SOCKET)!r})"
            as_nobody = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups"]
            python = [*as_nobody, "/usr/bin/python3", "-c", asking]
            said = subprocess.run(python, check=False, capture_output=True, text=True).stderr
            assert "PermissionError" in said
