"""How vLLM ends. These starts come before the shared one, so that one server runs at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.runtime.services import RunningService, ServiceDied
from harness.runtime.vllm import vllm_service

from .conftest import Tiny, processes_of, until_ended

pytestmark = pytest.mark.serving

# stands for a harness that has no chance to clean up
OWNER = """
import pathlib, sys, time
from harness.runtime.services import RunningService
from harness.runtime.vllm import Dtype, OnCpu, Serving, vllm_service
folder = pathlib.Path(sys.argv[1])
serving = Serving(model_dir=folder / "model", name="owned", dtype=Dtype.FLOAT32, max_model_len=512,
                  max_num_seqs=4, seed=0, place=OnCpu(kv_cache_gib=1))
with RunningService(vllm_service(serving), folder / "owned.log"):
    (folder / "begun").touch()
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


def test_nothing_is_left_of_a_server_whose_owner_is_killed(tiny: Tiny) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tiny.folder)])
    try:
        until((tiny.folder / "begun").exists, timeout_s=180.0)
        processes = processes_of(owner.pid)
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        until_ended(processes, timeout_s=5.0)
    finally:
        owner.kill()
        owner.wait()
