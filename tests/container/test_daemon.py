"""An engine that is killed while a model's commands run in its containers fails no command."""

from __future__ import annotations

import gc
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import docker
import pytest

from harness.records import ImageRef
from harness.sandbox.base import SandboxUnavailable
from harness.sandbox.container_pool import ContainerPool
from harness.workloads.envs.base import StopReason
from harness.workloads.envs.files.environment import FileEnvironment
from harness.workloads.envs.files.personas import slots
from harness.workloads.envs.files.protocol import STOP_WORD, command_block
from harness.workloads.envs.files.task import Task
from harness.workloads.envs.files.template_author import TemplateAuthor
from harness.workloads.rl.runner import ScriptedPolicy, run_episode
from tests.container.own_engine import Daemon, own_engine, until

pytestmark = [
    pytest.mark.docker,
    # Docker's client leaves the socket open that an engine does not answer
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def daemon(sandbox_image: ImageRef, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A second engine with the image of sandboxes, and clients of this process ask it."""
    with closing(docker.from_env(timeout=600)) as client:
        image = b"".join(client.images.get(sandbox_image.digest).save())
    with own_engine() as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.host)
        with closing(docker.from_env(timeout=600)) as own:
            own.images.load(image)
        yield daemon
    gc.collect()  # those sockets, while the mark above holds


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
