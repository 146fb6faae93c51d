"""How vLLM ends. These starts come before the shared one, so that one server runs at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from harness.runtime.processes import marked
from harness.workloads.inference.engine import EngineError, SamplingParams
from harness.workloads.inference.service import RunningService, ServiceDied
from harness.workloads.inference.vllm import vllm_service
from harness.workloads.inference.vllm_engine import serve
from tests.serving.known import END_TOKEN, Tiny

from .conftest import is_vllm, until_ended

pytestmark = pytest.mark.serving

# a harness, whose workload has a server; it has no chance to clean up
OWNER = """
import json, pathlib, sys
from harness.records import Profile, RunSpec
from harness.runtime.base import Launch
from harness.runtime.local import LocalRuntime
spec = RunSpec(scenario="a99-serving", profile=Profile.CPU, workload="noop", params={})
launch = Launch(spec=spec, run_dir=pathlib.Path(sys.argv[1]), program=("-c", sys.argv[2]))
with LocalRuntime() as runtime:
    runtime.run(launch)
"""
WORKLOAD = """
import pathlib, time
from harness.workloads.__main__ import hold_lifeline
from harness.workloads.inference.vllm_engine import serve
from harness.workloads.inference.vllm import VllmDtype, OnCpu, Serving
hold_lifeline()
serving = Serving(model_dir=pathlib.Path("model").resolve(), name="owned", dtype=VllmDtype.FLOAT32,
                  max_model_len=512, max_num_seqs=4, seed=0, place=OnCpu(kv_cache_gib=1))
with serve(serving, 0, pathlib.Path("owned.log")) as engine:
    engine.service.wait_until_healthy()
    pathlib.Path("pids").write_text(" ".join(map(str, engine.service.processes())))
    pathlib.Path("begun").touch()
    time.sleep(60)
"""


def until(holds: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "did not come to hold"
        time.sleep(0.05)


def test_a_model_that_cannot_be_read_is_blamed_at_once(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no-such-thing"}', encoding="utf-8")
    broken = vllm_service(replace(tiny.serving(), model_dir=tmp_path, name="broken"))
    began = time.monotonic()
    with pytest.raises(ServiceDied) as died, RunningService(broken, tmp_path / "vllm.log"):
        pass
    assert died.value.cause == "service vllm-broken ended with exit code 1"
    assert "no-such-thing" in "\n".join(died.value.log_tail)
    assert time.monotonic() - began < 120  # of its own 600 s; importing vLLM takes most


def test_nothing_is_left_of_a_server_whose_harness_is_killed(tiny: Tiny) -> None:
    """All of it is in the workload's process group, which ends with the harness."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tiny.folder), WORKLOAD])
    try:
        until((tiny.folder / "begun").exists, timeout_s=180.0)
        pids = set(map(int, (tiny.folder / "pids").read_text(encoding="ascii").split()))
        assert is_vllm(pids)
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        until_ended(pids)
    finally:
        owner.kill()
        owner.wait()
    assert not pids & {pid for pid, _ in marked()}


@pytest.mark.parametrize("title", ["VLLM::EngineCore", "python"])
def test_a_server_that_is_killed_at_work_is_an_error_with_its_cause(
    tiny: Tiny, tmp_path: Path, title: str
) -> None:
    """No request hangs, whichever of its processes dies; and nothing is left of the others."""
    endless = SamplingParams(temperature=1.0, max_new_tokens=500, seed=0)
    with (
        serve(tiny.serving(), END_TOKEN, tmp_path / "vllm.log") as engine,
        ThreadPoolExecutor(4) as threads,
    ):
        engine.service.wait_until_healthy()
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                engine.reply(tiny.expected.prompt[:4], endless)

        asking = [threads.submit(ask) for _ in range(4)]
        time.sleep(1.0)
        pids = engine.service.processes()
        assert is_vllm(pids)
        os.kill(next(pid for pid in pids if title in psutil.Process(pid).cmdline()[0]), 9)
        began = time.monotonic()
        errors = [each.exception(timeout=60.0) for each in asking]
        stop.set()
    assert time.monotonic() - began < 30
    assert all(isinstance(error, EngineError) for error in errors)
    assert any(str(error).rpartition("\n")[2].startswith("service vllm-tiny ") for error in errors)
    until_ended(pids)
