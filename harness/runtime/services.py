"""A server beside a run: started on loopback, waited for, watched, and ended with its children."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import harness
from harness.errors import HarnessError
from harness.records import RunOutcome, Status, record
from harness.runtime import processes
from harness.runtime.environ import host_environment
from harness.runtime.logs import TAIL_LINES
from harness.runtime.owner import this_process
from harness.runtime.processes import Mark
from harness.workloads.context import RUN_VARIABLE

PORT = "{port}"  # stands for the port in a service's arguments
_HOST = "127.0.0.1"
_POLL_S = 0.1
_ANSWER_S = 2.0
_TAIL_BYTES = 64 * 2**10
_SOURCE = Path(harness.__file__).resolve().parent.parent


@record
class Service:
    """A server, before it is started.

    Attributes:
        name: how messages call it.
        argv: its command line; ``{port}`` in it stands for the port it must listen on.
        health_path: answers 200 once the server can work.
        start_timeout_s: how long that may take; the articles' vLLM took 190 to 220 s.
        stop_grace_s: what it gets between SIGTERM and SIGKILL.
        env: variables that it is given by name.
    """

    name: str
    argv: tuple[str, ...]
    health_path: str = "/health"
    start_timeout_s: float = 600.0
    stop_grace_s: float = 10.0
    env: Mapping[str, str] = field(default_factory=dict)


class ServiceDied(HarnessError):  # noqa: N818 - it says what happened
    """A service ended, or never became healthy.

    Args:
        cause: one line.
        log_tail: the last lines of its log.
    """

    def __init__(self, cause: str, log_tail: tuple[str, ...]) -> None:
        self.cause = cause
        self.log_tail = log_tail
        super().__init__("\n  ".join([cause, *log_tail]))


def blame(outcome: RunOutcome, error: ServiceDied) -> RunOutcome:
    """Return the outcome of a run whose service died under it: that is why it broke."""
    return replace(outcome, status=Status.SERVICE_DIED, cause=error.cause, log_tail=error.log_tail)


class RunningService:
    """A service while its ``with`` block runs; entered once it is healthy.

    Args:
        service: what to start.
        log_file: takes its standard output and error.

    Attributes:
        port: where it listens, on loopback.
    """

    def __init__(self, service: Service, log_file: Path) -> None:
        self._service = service
        self._log_file = log_file

    def __enter__(self) -> Self:
        """Start the service and wait until it is healthy.

        Raises:
            ServiceDied: it ended, or was not healthy in time; nothing is left of it.
        """
        self.port = _free_port()
        self._mark = Mark(run_id=f"service-{self._service.name}", owner=this_process())
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "harness.runtime.lifeline", *self._argv()],
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_healthy()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        return f"http://{_HOST}:{self.port}"

    @property
    def ended(self) -> bool:
        """Whether it has ended, which a service never does by itself."""
        return self._process.poll() is not None

    def check(self) -> None:
        """Make sure that it still runs.

        Raises:
            ServiceDied: it has ended; holds the last lines of its log.
        """
        if self.ended:
            how = f"ended with exit code {self._process.returncode}"
            raise self._died(how)

    def _argv(self) -> list[str]:
        return [argument.replace(PORT, str(self.port)) for argument in self._service.argv]

    def _environment(self) -> dict[str, str]:
        given = {**host_environment(), "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(_SOURCE)}
        return {**given, RUN_VARIABLE: self._mark.text, **self._service.env}

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + self._service.start_timeout_s
        while not self._is_healthy():
            self.check()
            if time.monotonic() > deadline:
                how = f"was not healthy within {self._service.start_timeout_s:g} s"
                raise self._died(how)
            time.sleep(_POLL_S)
        self.check()  # that it was another server on this port which answered is not health

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
        return ServiceDied(f"service {self._service.name} {how}", _tail(self._log_file))

    def _stop(self) -> None:
        """End the service's group, politely first, and whatever left the group."""
        group = self._process.pid
        if self._process.poll() is None:
            processes.end_group(group, signal.SIGTERM)
            try:
                self._process.wait(self._service.stop_grace_s)
            except subprocess.TimeoutExpired:
                processes.end_group(group)
                self._process.wait()
        processes.end_marked(self._mark)
        assert self._process.stdin is not None
        self._process.stdin.close()


def _free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _tail(log_file: Path) -> tuple[str, ...]:
    with log_file.open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
        return tuple(log.read().decode(errors="replace").splitlines()[-TAIL_LINES:])
