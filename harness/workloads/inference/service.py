"""A server that a workload starts, waits for, watches, and ends with all its children.

It stays in the workload's process group and inherits its environment, and with that the mark of
the run. So whatever ends the run ends the server too; no runtime knows of it.
"""

from __future__ import annotations

import http.client
import os
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Self

from harness.errors import HostError
from harness.records import record
from harness.variables import KEY_VARIABLE
from harness.workloads.inference.engine import EngineError

PORT = "{port}"  # placeholder for the port in a service's arguments
_HOST = "127.0.0.1"
_POLL_S = 0.1
_LOOK_S = 5.0  # between two looks for a sign of life, at least
_KILL_POLL_S = 0.02
_ANSWER_S = 2.0
_KILL_S = 10.0  # a killed process ends at once, unless the kernel holds it (a dead network disk)
_TAIL_BYTES = 64 * 2**10
_TAIL_LINES = 90  # a run keeps the last 100 of its own, and these must be among them
_MARK_VARIABLE = "HARNESS_SERVICE"  # inherited by all that a server starts, so it finds them
# the harness's own modules, and a key for another server
_NOT_INHERITED = ("PYTHONPATH", KEY_VARIABLE)


@record
class Service:
    """A server, before it is started.

    Attributes:
        name: how messages call it.
        argv: its command line; ``{port}`` in it is replaced by the port to listen on.
        health_path: answers 200 once the server can work.
        stall_s: how long it may do nothing before that: write no line and use no processor. How
            long a start takes is the machine's: the articles' vLLM took 190 to 220 s.
        stop_grace_s: time between SIGTERM and SIGKILL, seconds.
        env: variables beside those of this process.
    """

    name: str
    argv: tuple[str, ...]
    health_path: str = "/health"
    stall_s: float = 600.0
    stop_grace_s: float = 10.0
    env: Mapping[str, str] = field(default_factory=dict)


class ServiceDied(EngineError):  # noqa: N818 - it says what happened
    """A service ended, or never became healthy.

    Args:
        cause: one line. It also ends the message, where the runtime looks for a run's cause.
        log_tail: the last lines of its log.
    """

    def __init__(self, cause: str, log_tail: tuple[str, ...]) -> None:
        self.cause = cause
        self.log_tail = log_tail
        super().__init__("\n".join([*log_tail, cause]))


class RunningService:
    """A service while its ``with`` block runs.

    Args:
        service: what to start.
        log_file: takes its standard output and error.
        is_awaited: whether the block is entered once the service is healthy; else at once, and
            whoever asks it calls `wait_until_healthy` before.

    Attributes:
        log_file: as given.
        port: where it listens, on loopback.
    """

    def __init__(self, service: Service, log_file: Path, *, is_awaited: bool = True) -> None:
        self._service = service
        self._is_awaited = is_awaited
        self._waiting = threading.Lock()
        self.log_file = log_file
        self._start_s: float | None = None

    def __enter__(self) -> Self:
        """Start the service.

        Raises:
            ServiceDied: as `wait_until_healthy`, where that is awaited; no process is left.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((_HOST, 0))  # to a port without a listener now
            self.port: int = probe.getsockname()[1]
        self._mark = secrets.token_hex(8)
        self._began = time.monotonic()
        given = {name: text for name, text in os.environ.items() if name not in _NOT_INHERITED}
        with self.log_file.open("wb") as log:
            # no new session: what ends the workload's process group ends the server
            self._process = subprocess.Popen(
                [argument.replace(PORT, str(self.port)) for argument in self._service.argv],
                env={**given, _MARK_VARIABLE: self._mark, **self._service.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if self._is_awaited:
            try:
                self.wait_until_healthy()
            except BaseException:
                self._stop()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        return f"http://{_HOST}:{self.port}"

    @property
    def start_s(self) -> float:
        """Time until it was found healthy, seconds."""
        assert self._start_s is not None, "a service has started once it was found healthy"
        return self._start_s

    def wait_until_healthy(self) -> None:
        """Return once the service can work; called by any number of threads.

        Raises:
            ServiceDied: it ended, or came to a standstill before.
        """
        if self._start_s is not None:
            return
        with self._waiting:
            if self._start_s is None:
                self._wait_until_healthy()
                self._start_s = time.monotonic() - self._began

    def check(self, within_s: float = 0.0) -> None:
        """Make sure that it still runs.

        Args:
            within_s: how long an end is waited for that shows already.

        Raises:
            ServiceDied: it has ended; holds the last lines of its log.
        """
        try:
            code = self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return
        how = f"ended with exit code {code}"
        raise self._died(how)

    def processes(self) -> tuple[int, ...]:
        """Return the pids of the server and of all that it started, orphans included."""
        with os.scandir("/proc") as entries:
            pids = [int(entry.name) for entry in entries if entry.name.isdigit()]
        return tuple(pid for pid in pids if self._is_ours(pid))

    def _is_ours(self, pid: int) -> bool:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:  # another user's, or it has just ended
            return False
        return f"{_MARK_VARIABLE}={self._mark}".encode() in environment.split(b"\0")

    def _wait_until_healthy(self) -> None:
        signs, seen = self._signs(), time.monotonic()
        while not self._is_healthy():
            self.check()
            idle_s = time.monotonic() - seen
            if idle_s > min(_LOOK_S, self._service.stall_s):
                if (now := self._signs()) != signs:
                    signs, seen = now, time.monotonic()
                elif idle_s > self._service.stall_s:
                    how = f"did nothing for {self._service.stall_s:g} s, and is not healthy"
                    raise self._died(how)
            time.sleep(_POLL_S)
        self.check()  # that it was another server on this port which answered is not health

    def _signs(self) -> tuple[int, int]:
        """Return what grows while it does anything: its log, and its processes' time, ticks."""
        ticks = 0
        for pid in self.processes():
            with suppress(OSError):  # it has just ended
                # behind the name, which may hold spaces: utime and stime are fields 14 and 15
                behind = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(behind[11]) + int(behind[12])
        return self.log_file.stat().st_size, ticks

    def _is_healthy(self) -> bool:
        connection = http.client.HTTPConnection(_HOST, self.port, timeout=_ANSWER_S)
        try:
            connection.request("GET", self._service.health_path)
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _died(self, how: str) -> ServiceDied:
        with self.log_file.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            tail = log.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
        return ServiceDied(f"service {self._service.name} {how}", tuple(tail))

    def _stop(self) -> None:
        """End the server, politely first, and then whatever it started and left behind."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(self._service.stop_grace_s)
        deadline = time.monotonic() + _KILL_S
        while left := self.processes():
            if time.monotonic() > deadline:
                message = f"process {left[0]} of {self._service.name} does not end on SIGKILL"
                raise HostError(message, f"cat /proc/{left[0]}/stack")
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_KILL_POLL_S)
        self._process.wait()
