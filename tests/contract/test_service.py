"""A server that a workload starts: waited for, watched, blamed, and ended whatever ends first."""

from __future__ import annotations

import os
import signal
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from harness.records import Status
from harness.runtime.base import Launch
from harness.runtime.processes import marked
from harness.workloads.inference.service import RunningService, Service, ServiceDied

from .conftest import Bench
from .test_owner_killed import is_running, owner_of, until

# a server with two children, one of which has left the process group
SERVER = """
import http.server, os, subprocess, sys
for leaves in (False, True):
    sleeps = [sys.executable, "-c", "import time; time.sleep(60)"]
    subprocess.Popen(sleeps, start_new_session=leaves)
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
# a workload that has a server
WORKLOAD = f"""
import pathlib, sys, time
from harness.workloads.__main__ import hold_lifeline
from harness.workloads.inference.service import RunningService, Service
hold_lifeline()
service = Service(name="owned", argv=(sys.executable, "-c", {SERVER!r}, "{{port}}"))
with RunningService(service, pathlib.Path("service.log")) as running:
    print(len(running.processes()))
    pathlib.Path("begun").touch()
    END
"""
NUM_PROCESSES = 3  # the server and its children


def service(program: str = SERVER, **fields: float) -> Service:
    argv = (sys.executable, "-c", program, "{port}")
    return replace(Service(name="test", argv=argv, env={"GREETING": "größer"}), **fields)  # type: ignore[arg-type]


def left_of(launch: Launch) -> set[int]:
    """The processes of a run on this machine; those in a container are not seen."""
    return {pid for pid, mark in marked() if mark.run_id == launch.spec.run_id}


def test_a_service_is_healthy_when_entered_and_gone_when_left(tmp_path: Path) -> None:
    with RunningService(service(), tmp_path / "service.log") as running:
        running.check()
        with urllib.request.urlopen(f"{running.url}/health") as answer:  # noqa: S310 - our own
            assert answer.read().decode() == "größer"
        assert len(running.processes()) == NUM_PROCESSES
        assert 0 < running.start_s < 300
    assert running.processes() == ()


def test_a_service_starts_while_others_work_and_is_waited_for_once(tmp_path: Path) -> None:
    slow = f"import pathlib, time\nwhile not pathlib.Path({str(tmp_path / 'go')!r}).exists(): "
    slow += f"time.sleep(0.01)\n{SERVER}"
    running = RunningService(service(slow), tmp_path / "service.log", is_awaited=False)
    with running, ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(running.wait_until_healthy) for _ in range(4)]
        assert not any(each.done() for each in waiting)
        (tmp_path / "go").touch()
        for each in waiting:
            each.result(timeout=60.0)
        assert running.start_s > 0
        with urllib.request.urlopen(f"{running.url}/health") as answer:  # noqa: S310 - our own
            assert answer.status == 200
    assert running.processes() == ()


def test_whoever_waits_for_a_service_that_ends_is_told_why(tmp_path: Path) -> None:
    program = "print('no module named vllm'); raise SystemExit(4)"
    running = RunningService(service(program), tmp_path / "service.log", is_awaited=False)
    with running:
        for _ in range(2):  # each who asks, not the first alone
            with pytest.raises(ServiceDied) as died:
                running.wait_until_healthy()
            assert died.value.cause == "service test ended with exit code 4"


def test_a_service_that_ends_at_once_is_not_waited_for(tmp_path: Path) -> None:
    program = "print('no module named vllm'); raise SystemExit(4)"
    began = time.monotonic()
    with (
        pytest.raises(ServiceDied) as died,
        RunningService(service(program), tmp_path / "service.log"),
    ):
        pass
    assert died.value.cause == "service test ended with exit code 4"
    assert died.value.log_tail == ("no module named vllm",)
    assert time.monotonic() - began < 120  # it is given longer to get healthy


def test_a_service_that_comes_to_a_standstill_is_ended(tmp_path: Path) -> None:
    program = "print('loading', flush=True); import time; time.sleep(60)"
    waits = RunningService(service(program, stall_s=1.0), tmp_path / "service.log")
    with pytest.raises(ServiceDied) as died, waits:
        pass
    assert died.value.cause == "service test did nothing for 1 s, and is not healthy"
    assert died.value.log_tail == ("loading",)
    assert waits.processes() == ()


@pytest.mark.parametrize("works", ["print('.', flush=True); time.sleep(0.2)", "sum(range(10**5))"])
def test_a_service_that_starts_slowly_is_waited_for(tmp_path: Path, works: str) -> None:
    """On a busy machine a start takes as long as it takes; it writes, or it computes."""
    began = "import time\nbegan = time.monotonic()\n"
    slow = f"{began}while time.monotonic() < began + 4.5: {works}\n{SERVER}"
    with RunningService(service(slow, stall_s=2.0), tmp_path / "service.log") as running:
        assert running.start_s > 4.0


def test_nothing_is_left_of_a_service_that_died(tmp_path: Path) -> None:
    with RunningService(service(), tmp_path / "service.log") as running:
        assert len(running.processes()) == NUM_PROCESSES
        with pytest.raises(OSError, match=r"404|reset|closed"):
            urllib.request.urlopen(f"{running.url}/die").read()  # noqa: S310 - our own
        with pytest.raises(ServiceDied) as died:
            running.check(within_s=120.0)
    assert died.value.cause == "service test ended with exit code 7"
    assert died.value.log_tail[-1] == "CUDA out of memory"
    assert running.processes() == ()  # the children were orphans by then


def test_a_service_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(15, signal.SIG_IGN)\n" + SERVER
    began = time.monotonic()
    with RunningService(service(deaf, stop_grace_s=0.5), tmp_path / "service.log") as running:
        pass
    assert time.monotonic() - began < 120
    assert running.processes() == ()


def test_a_long_log_is_kept_and_its_end_reported(tmp_path: Path) -> None:
    program = "for n in range(5000): print('line', n)\nraise SystemExit(1)"
    with (
        pytest.raises(ServiceDied) as died,
        RunningService(service(program), tmp_path / "service.log"),
    ):
        pass
    assert died.value.log_tail[0] == "line 4910"
    assert died.value.log_tail[-1] == "line 4999"


def test_it_gets_what_the_run_has_but_the_harness_and_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "of the harness")
    monkeypatch.setenv("HARNESS_CHAT_API_KEY", "for another server")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    program = "import os; print(sorted(os.environ)); raise SystemExit(1)"
    with (
        pytest.raises(ServiceDied) as died,
        RunningService(service(program), tmp_path / "service.log"),
    ):
        pass
    (names,) = died.value.log_tail
    assert "'GREETING'" in names
    assert "'OMP_NUM_THREADS'" in names
    assert "PYTHONPATH" not in names
    assert "API_KEY" not in names


def test_a_run_whose_server_died_says_so(bench: Bench) -> None:
    """The workload is not to blame, and the server's last words are kept."""
    program = """
import pathlib, sys
from harness.errors import HarnessError
from harness.workloads.inference.service import RunningService, Service
words = "print('no space left on device'); raise SystemExit(4)"
try:
    with RunningService(Service(name="owned", argv=(sys.executable, "-c", words)),
                        pathlib.Path("service.log")):
        pass
except HarnessError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""
    outcome, run_dir = bench.run(program)
    assert outcome.status is Status.HOST_FAILED
    assert outcome.cause == "exit code 3: service owned ended with exit code 4"
    assert "no space left on device" in outcome.log_tail
    assert (run_dir / "service.log").read_text(encoding="utf-8") == "no space left on device\n"


def test_a_service_ends_with_a_workload_that_is_killed(bench: Bench) -> None:
    """What the workload cannot clean up is ended by the runtime, before it returns."""
    program = WORKLOAD.replace("END", "sys.stdout.flush(); import os; os.kill(os.getpid(), 9)")
    launch = bench.launch(program)
    assert bench.runtime.run(launch).status is Status.FAILED
    printed = (launch.run_dir / "stdout.log").read_text(encoding="ascii")
    assert printed == f"{NUM_PROCESSES}\n"
    assert left_of(launch) == set()


@pytest.mark.alone
def test_a_service_ends_with_a_harness_that_is_killed(bench: Bench) -> None:
    launch = bench.launch(WORKLOAD.replace("END", "time.sleep(60)"))
    with owner_of(launch, bench.runtime.name, "begun") as owner:
        if not bench.isolates:
            assert len(left_of(launch)) == 1 + NUM_PROCESSES  # the workload
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        if bench.isolates:
            until(lambda: not is_running(bench, launch))
        else:
            until(lambda: len(left_of(launch)) == 1)  # the child that left the group
        assert bench.reaped(launch) == 1
        assert left_of(launch) == set()
