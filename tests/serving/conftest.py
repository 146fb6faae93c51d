"""A tiny model, made in a process of its own, and one server of it that the tests share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from harness.records import from_json, record
from harness.workloads.serving.client import VllmEngine, serve
from harness.workloads.serving.engine import Reply, Sampling
from harness.workloads.serving.server import Server
from harness.workloads.serving.vllm import Dtype, OnCpu, Serving

NAME = "tiny"
END_TOKEN = 0
CONTEXT_TOKENS = 512
GREEDY = Sampling(temperature=0.0, max_tokens=8, seed=0)


@record
class Known:
    """Greedy tokens, the log-probability of each, and its lead on the second likeliest."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    leads: tuple[float, ...]


@record
class Expected:
    """What transformers computes."""

    prompt: tuple[int, ...]
    replies: Mapping[str, Known]


@record
class Tiny:
    """The model's folder, its adapters' beside it, and what must come out."""

    folder: Path
    expected: Expected

    def serving(self) -> Serving:
        return Serving(
            model_dir=self.folder / "model",
            name=NAME,
            dtype=Dtype.FLOAT32,
            max_model_len=CONTEXT_TOKENS,
            max_num_seqs=16,
            seed=0,
            place=OnCpu(kv_cache_gib=1),
            max_lora_rank=8,  # vLLM's smallest
        )


def is_vllm(pids: Iterable[int]) -> bool:
    """Whether these are a server's processes, its engine's and its worker's among them.

    Programs that give themselves a title write it over their environment, and so over the marks
    that a service and a run are ended by: these two do, unless they are told not to.
    """
    titles = {title for pid in pids for title in psutil.Process(pid).cmdline()[:1]}
    return {"VLLM::EngineCore", "VLLM::Worker"} <= titles


def until_ended(pids: Iterable[int], timeout_s: float) -> None:
    """Wait; a killed process needs a moment to give its memory back."""
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
    folder = tmp_path_factory.mktemp("tiny")
    script = Path(__file__).with_name("tiny.py")
    subprocess.run([sys.executable, str(script), str(folder)], check=True, timeout=120)
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    return Tiny(folder=folder, expected=from_json(Expected, expected))


@pytest.fixture(scope="session")
def shared(tiny: Tiny) -> Iterator[VllmEngine]:
    """The one server, which ends with all that it started."""
    with serve(tiny.serving(), END_TOKEN, tiny.folder / "vllm.log") as engine:
        pids = engine.service.processes()
        assert is_vllm(pids)
        assert {os.getpgid(pid) for pid in pids} == {os.getpgid(0)}
        yield engine
    until_ended(pids, timeout_s=1.0)


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


def check_close(reply: Reply, known: Known, bound: float) -> None:
    """Hold a greedy reply against what transformers computed."""
    assert min(known.leads) > 2 * bound  # so rounding cannot swap two tokens
    assert reply.tokens == known.tokens
    assert reply.logprobs == pytest.approx(known.logprobs, rel=0, abs=bound)
