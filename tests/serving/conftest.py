"""A tiny model, made in a process of its own, and one server of it that the tests share."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from harness.records import from_json, record
from harness.runtime.processes import marked
from harness.runtime.services import RunningService
from harness.runtime.vllm import Dtype, OnCpu, Serving, vllm_service
from harness.workloads.common.served import Adapter, Server

NAME = "tiny"


@record
class Reply:
    """Greedy tokens, the log-probability of each, and its lead on the second likeliest."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    leads: tuple[float, ...]


@record
class Expected:
    """What transformers computes."""

    prompt: tuple[int, ...]
    replies: Mapping[str, Reply]


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
            max_model_len=512,
            max_num_seqs=4,
            seed=0,
            place=OnCpu(kv_cache_gib=1),
            max_lora_rank=8,  # vLLM's smallest
        )

    def adapter(self, version: str) -> Adapter:
        return Adapter(name="policy", folder=str(self.folder / version))


def processes_of(parent: int) -> list[psutil.Process]:
    """Return a service's processes: its lifeline, the server, the engine, a worker and a tracker.

    They are found as descendants, not by the mark that they are ended by: programs that give
    themselves a title write it over their environment, and so over the mark.
    """
    found = psutil.Process(parent).children(recursive=True)
    titles = {title for process in found for title in process.cmdline()[:1]}
    assert {"VLLM::EngineCore", "VLLM::Worker"} <= titles
    assert {process.pid for process in found} <= {pid for pid, _ in marked()}
    return found


def until_ended(processes: list[psutil.Process], timeout_s: float) -> None:
    """Wait; an ended process that nobody has asked about yet is a zombie."""
    deadline = time.monotonic() + timeout_s
    while still := [each for each in processes if is_alive(each)]:
        assert time.monotonic() < deadline, f"still running: {still}"
        time.sleep(0.05)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def complete(server: Server, model: str, prompt: tuple[int, ...], **sampling: float) -> Reply:
    """Return a completion by vLLM; its tokens are numbers, so that nothing is decoded."""
    asked = {
        "model": model,
        "prompt": list(prompt),
        "temperature": 0.0,
        "max_tokens": 8,
        "seed": 0,
        "logprobs": 1,
        "ignore_eos": True,
        "return_token_ids": True,
        **sampling,
    }
    choice = post(server, "/v1/completions", asked)["choices"][0]
    logprobs = tuple(choice["logprobs"]["token_logprobs"])
    return Reply(tokens=tuple(choice["token_ids"]), logprobs=logprobs, leads=())


def post(server: Server, path: str, body: Mapping[str, Any]) -> Any:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=120)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    assert answer.status == 200, content
    return json.loads(content)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    folder = tmp_path_factory.mktemp("tiny")
    script = Path(__file__).with_name("tiny.py")
    subprocess.run([sys.executable, str(script), str(folder)], check=True, timeout=120)
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    return Tiny(folder=folder, expected=from_json(Expected, expected))


@pytest.fixture(scope="session")
def running(tiny: Tiny) -> Iterator[RunningService]:
    """The shared server; that nothing is left of it when it stops is tested where it does."""
    log_file = tiny.folder / "vllm.log"
    with RunningService(vllm_service(tiny.serving()), log_file) as service:
        yield service
        processes = processes_of(os.getpid())
    until_ended(processes, timeout_s=1.0)  # a killed process needs a moment to give its memory back


@pytest.fixture
def server(running: RunningService) -> Server:
    running.check()
    return Server(url=running.url)
