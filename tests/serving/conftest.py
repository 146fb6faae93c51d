"""One server of a tiny model that the tests share, and how its processes are seen."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator

import psutil
import pytest

from harness.workloads.inference.http import Server
from harness.workloads.inference.vllm_engine import VllmEngine, serve
from tests.serving.known import END_TOKEN, Tiny, make_tiny


def is_vllm(pids: Iterable[int]) -> bool:
    """Whether these are a server's processes, its engine's among them.

    A program that gives itself a title writes it over its environment, and so over the marks that a
    service and a run are ended by: the engine does, unless it is told not to.
    """
    return "VLLM::EngineCore" in {
        title for pid in pids for title in psutil.Process(pid).cmdline()[:1]
    }


def until_ended(pids: Iterable[int], timeout_s: float = 30.0) -> None:
    """Wait; a killed process needs a moment to give its memory back, on a busy machine a while."""
    deadline = time.monotonic() + timeout_s
    while still := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline, f"still running: {still}"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether it runs; one that has ended and that nobody has asked about yet is a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def shared(tiny: Tiny) -> Iterator[VllmEngine]:
    """The one server, which ends with all that it started."""
    with serve(tiny.serving(), END_TOKEN, tiny.folder / "vllm.log") as engine:
        engine.service.wait_until_healthy()
        pids = engine.service.processes()
        assert is_vllm(pids)
        assert {os.getpgid(pid) for pid in pids} == {os.getpgid(0)}
        yield engine
    until_ended(pids)


@pytest.fixture
def engine(shared: VllmEngine) -> Iterator[VllmEngine]:
    """The shared engine, with the base model's weights."""
    shared.service.check()
    shared.refresh(None)
    yield shared
    shared.refresh(None)


@pytest.fixture
def server(engine: VllmEngine) -> Iterator[Server]:
    """Where the shared engine asks."""
    server = Server(engine.service.url)
    yield server
    server.close()
