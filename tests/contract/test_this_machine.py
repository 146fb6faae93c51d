"""The machine that the tests run on, git and a socket: types and ranges only."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.probes.channels import Channel, Probe, open_probes
from harness.probes.reading import NotSupported
from harness.records import Profile, from_json, to_json
from harness.results.code import Code, code_state
from harness.runtime.daemon import EngineState, ask_engine
from harness.runtime.host import Host, default_profile, probe_host
from harness.sandbox.cgroups import GroupLimits, make_group
from harness.telemetry.log import TELEMETRY_FILE, read_samples
from harness.telemetry.reduce import run_measurements
from harness.telemetry.sampler import TelemetrySampler

OK = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"


def test_this_host() -> None:
    host = probe_host()
    assert from_json(Host, to_json(host)) == host
    assert default_profile(host) in {Profile.SPARK, Profile.CUDA, Profile.CPU}
    assert socket.gethostname() not in {host.product, host.kernel, host.system}
    if host.memory_total_gib is not None and host.memory_available_gib is not None:
        assert 0.1 < host.memory_available_gib <= host.memory_total_gib < 10_000
    assert host.cores is None or 1 <= host.cores <= 4096


def test_this_machine_is_sampled_cheaply() -> None:
    with open_probes(pid=os.getpid()) as probe:
        readings = probe()
        began = time.thread_time()
        for _ in range(10):
            probe()
        cost_s = (time.thread_time() - began) / 10
    # one percent of a core at one sample a second is 10 ms; the rest is for a busy machine
    assert cost_s < 0.05
    assert set(readings) == set(Channel)
    used = readings[Channel.MEMORY_USED_GIB]
    assert isinstance(used, NotSupported) or used > 0
    weight = readings[Channel.PROCESSES_RSS_GIB]
    assert isinstance(weight, NotSupported) or 0.01 < weight < 100


def test_a_run_leaves_whole_lines_and_figures(tmp_path: Path) -> None:
    path = tmp_path / TELEMETRY_FILE
    with TelemetrySampler(path, period_s=0.05):
        until = time.monotonic() + 60
        while len(read_samples(path)) < 3 and time.monotonic() < until:
            time.sleep(0.01)
    samples = read_samples(path)
    assert len(samples) >= 3
    assert path.read_text().endswith("\n")
    measured = {each.metric: each for each in run_measurements(samples) if not each.where}
    peak = measured["memory.host_peak"]
    assert peak.value is not None or peak.absent


def test_a_driver_that_hangs_does_not_hang_the_harness(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.telemetry.sampler._STOP_WITHIN_S", 0.05)
    released = threading.Event()

    @contextmanager
    def hanging() -> Iterator[Probe]:
        released.wait(300.0)
        yield lambda: dict.fromkeys(Channel, 0.0)

    began = time.monotonic()
    with TelemetrySampler(tmp_path / TELEMETRY_FILE, hanging) as sampler:
        pass
    assert time.monotonic() - began < 60.0
    released.set()
    sampler._thread.join(60.0)
    assert not sampler._thread.is_alive()


@contextmanager
def _engine(path: Path, answer: bytes) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                assert b"GET /version" in connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(5.0)


@pytest.mark.parametrize(
    ("answer", "state", "version"),
    [
        (OK + b'{"Version": "28.3.3", "ApiVersion": "1.51"}', EngineState.REACHABLE, "28.3.3"),
        (OK + b"{", EngineState.NOT_ANSWERING, None),
        (OK + b"[]", EngineState.NOT_ANSWERING, None),
        (b"HTTP/1.0 500 Oops\r\n\r\n{}", EngineState.NOT_ANSWERING, None),
        (b"", EngineState.NOT_ANSWERING, None),
    ],
)
def test_an_engine_is_asked_for_its_version(
    tmp_path: Path, answer: bytes, state: EngineState, version: str | None
) -> None:
    path = tmp_path / "docker.sock"
    with _engine(path, answer):
        engine = ask_engine(path)
    assert (engine.state, engine.version) == (state, version)


def test_an_engine_that_cannot_be_reached_says_how(tmp_path: Path) -> None:
    left_behind = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(left_behind))
    assert ask_engine(tmp_path / "none.sock").state is EngineState.NO_SOCKET
    assert ask_engine(left_behind).state is EngineState.NOT_ANSWERING
    assert ask_engine(None).state is EngineState.REMOTE


def test_an_engine_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "silent.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert ask_engine(path, timeout_s=0.05).state is EngineState.NOT_ANSWERING


def _git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    subprocess.run([git, "-C", str(folder), *identity, *arguments], check=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    _git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("x = 1\n")
    _git(tmp_path, "add", "code.py")
    _git(tmp_path, "commit", "-qm", "one")
    return tmp_path


def _state(project: Path) -> Code:
    code_state.cache_clear()
    return code_state(project)


def test_a_clean_tree_is_its_commit(repository: Path) -> None:
    code = _state(repository)
    assert code.commit is not None
    assert len(code.commit) == 40
    assert code.dirty is False
    assert code.absent == {"difference": "the tree is as committed"}


def test_results_make_no_tree_dirty(repository: Path) -> None:
    (repository / "results").mkdir()
    (repository / "results/one.json").write_text("{}")
    assert _state(repository).dirty is False


def test_a_difference_has_a_hash_of_its_own(repository: Path) -> None:
    (repository / "code.py").write_text("x = 2\n")
    one = _state(repository)
    (repository / "code.py").write_text("x = 3\n")
    two = _state(repository)
    (repository / "new.py").write_text("")
    three = _state(repository)
    assert one.dirty
    assert len({one.difference, two.difference, three.difference, None}) == 4


def test_a_tree_without_a_commit_says_so(tmp_path: Path) -> None:
    _git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("x = 1\n")
    code = _state(tmp_path)
    assert code.commit is None
    assert code.absent["commit"] == "no commit yet"
    assert code.dirty is True


def test_no_repository_and_no_git_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not a git repository" in _state(tmp_path).absent["commit"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _state(tmp_path).absent["commit"] == "git is not installed"
    code_state.cache_clear()


HOLDS = """
import os
input()
held = os.memfd_create("held")
for _ in range(256):
    os.write(held, bytes(1 << 20))
print("held it")
"""


def test_a_control_group_bounds_memory_that_no_process_maps() -> None:
    """By the real kernel, in whichever version of groups it has and this user may use."""
    group = make_group(GroupLimits(memory_bytes=64 << 20, processes=16, cpus=1.0))
    if group is None:
        pytest.skip("this user may make no control group here")
    command = [sys.executable, "-I", "-S", "-c", HOLDS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        group.add(process.pid)
        said, _ = process.communicate(b"\n", timeout=120)
    group.remove()
    assert (process.returncode, said) == (-signal.SIGKILL, b"")
    assert not any(folder.exists() for folder in group.folders)
