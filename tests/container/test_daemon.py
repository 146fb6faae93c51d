"""An engine that is killed while a model's commands run in its containers fails no command."""

from __future__ import annotations

import gc
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import docker
import pytest

from harness.records import ImageRef, record
from harness.sandbox.base import SandboxUnavailable
from harness.sandbox.container_pool import ContainerPool
from harness.workloads.envs.base import StopReason
from harness.workloads.envs.files.environment import FileEnvironment
from harness.workloads.envs.files.personas import slots
from harness.workloads.envs.files.protocol import STOP_WORD, command_block
from harness.workloads.envs.files.task import Task
from harness.workloads.envs.files.template_author import TemplateAuthor
from harness.workloads.rl.runner import ScriptedPolicy, run_episode

pytestmark = [
    pytest.mark.docker,
    # Docker's client leaves the socket open that an engine does not answer
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

START_S = 60.0


@record
class Daemon:
    """An engine of this test's own, which it may kill."""

    folder: Path
    log: Path

    @property
    def host(self) -> str:
        """What clients call it by."""
        return f"unix://{self.folder}/socket"

    def answers(self) -> bool:
        """Whether it has started."""
        with socket.socket(socket.AF_UNIX) as asking:
            return asking.connect_ex(f"{self.folder}/socket") == 0

    def kill(self) -> None:
        """End it so that it can clean nothing up."""
        os.kill(int((self.folder / "pid").read_text(encoding="ascii")), signal.SIGKILL)


def until(holds: Callable[[], bool], timeout_s: float = START_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "did not come to hold"
        time.sleep(0.05)


@pytest.fixture
def daemon(sandbox_image: ImageRef, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A second engine with the image of sandboxes, and clients of this process ask it."""
    program = shutil.which("dockerd")
    if program is None or os.geteuid() != 0:
        pytest.skip("a second engine needs dockerd, and root: use .ci/engine")
    with closing(docker.from_env(timeout=600)) as client:
        image = b"".join(client.images.get(sandbox_image.digest).save())
    with tempfile.TemporaryDirectory(prefix="engine-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        daemon = Daemon(folder=folder, log=folder / "log")
        arguments = [f"--host={daemon.host}", f"--pidfile={folder}/pid", "--bridge=none"]
        arguments += [f"--{each}={folder}/{each}" for each in ("data-root", "exec-root")]
        arguments += [f"--{each}=false" for each in ("iptables", "ip6tables", "ip-forward")]
        with daemon.log.open("wb") as log:
            process = subprocess.Popen(
                [program, *arguments], stdout=log, stderr=log, start_new_session=True
            )
        try:
            monkeypatch.setenv("DOCKER_HOST", daemon.host)
            until(daemon.answers)
            with closing(docker.from_env(timeout=600)) as own:
                own.images.load(image)
            yield daemon
        finally:
            process.kill()
            process.wait()
            _end_rest(folder)
            gc.collect()  # those sockets, while the mark above holds


def _end_rest(folder: Path) -> None:
    """End what a killed engine leaves: it names the engine's folder in its arguments."""
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(folder).encode() in (each / "cmdline").read_bytes():
                os.kill(int(each.name), signal.SIGKILL)
    with Path("/proc/self/mounts").open(encoding="utf-8") as mounts:
        for place in [line.split()[1] for line in mounts if str(folder) in line][::-1]:
            subprocess.run([shutil.which("umount") or "umount", "--lazy", place], check=False)


@pytest.fixture
def word() -> Iterator[str]:
    """A word in the arguments of a command that stays; nothing carries it afterwards."""
    word = f"3600.{secrets.randbelow(10**12):012}"
    yield word
    until(lambda: not carries(word))


def carries(word: str) -> bool:
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if word.encode() in each.read_bytes():
                return True
    return False


def test_an_engine_that_is_killed_at_work_is_an_error_and_leaves_no_command(
    daemon: Daemon, sandbox_image: ImageRef, word: str
) -> None:
    with ContainerPool(sandbox_image) as pool, pool.make() as sandbox:
        sandbox.materialise({"a": b"1"})
        assert sandbox.run("cat a").stdout == "1"
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(sandbox.run, f"setsid sleep {word} & sleep {word}")
            until(lambda: carries(word))
            daemon.kill()
            with pytest.raises(SandboxUnavailable):
                running.result(timeout=60)
        with pytest.raises(SandboxUnavailable):
            sandbox.snapshot()
        with pytest.raises(SandboxUnavailable, match="Docker"):
            pool.open()


def test_a_rollout_of_an_engine_that_is_killed_has_no_grade(
    daemon: Daemon, sandbox_image: ImageRef
) -> None:
    task = TemplateAuthor().write(next(iter(slots())))

    def script(_: Task) -> Iterator[str]:
        yield command_block("ls")
        daemon.kill()
        yield command_block("ls")
        yield STOP_WORD

    with (
        ContainerPool(sandbox_image) as pool,
        FileEnvironment(pool.make) as environment,
    ):
        rollout = run_episode(ScriptedPolicy[Task](name="x", script=script), environment, task)
    assert (rollout.stop_reason, rollout.reward) == (StopReason.ERROR, None)
    assert "Docker" in rollout.error
