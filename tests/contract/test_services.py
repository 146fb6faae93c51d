"""Services, on real servers: started, watched, blamed, and ended even if their owner is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.records import RunOutcome, Status, Usage
from harness.runtime.processes import marked
from harness.runtime.services import RunningService, Service, ServiceDied, blame

# a server with a child of its own that has left the process group, as inference servers have
SERVER = """
import http.server, os, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
        self.wfile.write(os.environ.get("GREETING", "").encode())
        if self.path == "/die":
            print("CUDA out of memory", flush=True)
            os._exit(7)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
NAME = f"server-{os.getpid()}"  # of this session only
OWNER = """
import pathlib, sys, time
from harness.runtime.services import RunningService, Service
service = Service(name=sys.argv[3], argv=(sys.executable, "-c", sys.argv[2], "{port}"))
with RunningService(service, pathlib.Path(sys.argv[1]) / "service.log"):
    (pathlib.Path(sys.argv[1]) / "begun").touch()
    time.sleep(60)
"""


def service(program: str = SERVER, **fields: float) -> Service:
    argv = (sys.executable, "-c", program, "{port}")
    return replace(Service(name=NAME, argv=argv, env={"GREETING": "größer"}), **fields)  # type: ignore[arg-type]


def left_running() -> list[int]:
    return [pid for pid, mark in marked() if mark.run_id == f"service-{NAME}"]


def until(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "did not come to hold"
        time.sleep(0.02)


def test_a_service_is_healthy_when_entered_and_gone_when_left(tmp_path: Path) -> None:
    with RunningService(service(), tmp_path / "service.log") as running:
        running.check()
        with urllib.request.urlopen(f"{running.url}/health") as answer:  # noqa: S310 - our own
            assert answer.read().decode() == "größer"
        assert len(left_running()) == 3  # its lifeline, itself and its child
    assert left_running() == []


def test_a_service_that_ends_at_once_is_not_waited_for(tmp_path: Path) -> None:
    program = "print('no module named vllm'); raise SystemExit(4)"
    began = time.monotonic()
    with (
        pytest.raises(ServiceDied) as died,
        RunningService(service(program), tmp_path / "service.log"),
    ):
        pass
    assert died.value.cause == f"service {NAME} ended with exit code 4"
    assert died.value.log_tail == ("no module named vllm",)
    assert time.monotonic() - began < 10


def test_a_service_that_never_gets_healthy_is_ended(tmp_path: Path) -> None:
    waits = service(
        "print('loading', flush=True); import time; time.sleep(60)", start_timeout_s=1.0
    )
    with pytest.raises(ServiceDied) as died, RunningService(waits, tmp_path / "service.log"):
        pass
    assert died.value.cause == f"service {NAME} was not healthy within 1 s"
    assert died.value.log_tail == ("loading",)
    assert left_running() == []


def test_a_service_that_dies_under_a_run_takes_the_blame(tmp_path: Path) -> None:
    with RunningService(service(), tmp_path / "service.log") as running:
        with pytest.raises(OSError, match=r"404|reset|closed"):
            urllib.request.urlopen(f"{running.url}/die").read()  # noqa: S310 - our own
        until(lambda: running.ended)
        with pytest.raises(ServiceDied) as died:
            running.check()
    failed = RunOutcome(
        status=Status.FAILED, runtime="local", device="", usage=Usage(wall_s=1.0), exit_code=1
    )
    blamed = blame(failed, died.value)
    assert (blamed.status, blamed.exit_code) == (Status.SERVICE_DIED, 1)
    assert blamed.cause == f"service {NAME} ended with exit code 7"
    assert blamed.log_tail[-1] == "CUDA out of memory"
    assert left_running() == []


def test_a_service_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(15, signal.SIG_IGN)\n" + SERVER
    began = time.monotonic()
    with RunningService(service(deaf, stop_grace_s=0.5), tmp_path / "service.log"):
        pass
    assert time.monotonic() - began < 10
    assert left_running() == []


def test_a_long_log_is_kept_and_its_end_reported(tmp_path: Path) -> None:
    program = "for n in range(5000): print('line', n)\nraise SystemExit(1)"
    with (
        pytest.raises(ServiceDied) as died,
        RunningService(service(program), tmp_path / "service.log"),
    ):
        pass
    assert died.value.log_tail[0] == "line 4900"
    assert died.value.log_tail[-1] == "line 4999"


def test_secrets_stay_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NGC_API_KEY", "from the shell")
    program = "import os; print(sorted(os.environ)); raise SystemExit(1)"
    with (
        pytest.raises(ServiceDied) as died,
        RunningService(service(program), tmp_path / "service.log"),
    ):
        pass
    assert "NGC_API_KEY" not in died.value.log_tail[0]
    assert "GREETING" in died.value.log_tail[0]


def test_nothing_is_left_of_a_service_whose_owner_is_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path), SERVER, NAME])
    try:
        until((tmp_path / "begun").exists)
        assert len(left_running()) == 3
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        until(lambda: left_running() == [], timeout_s=5.0)
    finally:
        owner.kill()
        owner.wait()
