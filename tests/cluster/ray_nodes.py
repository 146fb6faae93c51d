"""Nodes of Ray on loopback, each with one CPU, that end with whoever started them.

``ray start --block`` lets the kernel end every process of a node with itself, so a node is ended by
the pid of that one command, and by whatever ends this process. 127.0.0.2 and so on are addresses
of loopback that Ray does not replace by the machine's own.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Self

_SET_PDEATHSIG = 1
_PREFIX = "harness-ray-"
_STARTED = "Ray runtime started"
_START_S = 900  # seconds on a quiet machine, minutes on one that is at work
ROOT = Path(__file__).parents[2]


class Nodes:
    """A head that does no run, or does, and the nodes that join it."""

    def __init__(self, *, cpus_of_head: int = 1, memory_gib: float = 6.0) -> None:
        self._cpus_of_head, self._memory = cpus_of_head, int(memory_gib * 2**30)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._joined = 0
        # a process started here ends with the thread that started it: one that stays
        self._starter = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        # the paths of its sockets must be short
        _reap()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))
        (self.folder / "token").write_text(secrets.token_hex(32), encoding="ascii")
        self._port = _free_port("127.0.0.2")
        self.address = f"127.0.0.2:{self._port}"
        try:
            self._start(
                "a",
                *("--head", f"--port={self._port}", "--node-ip-address=127.0.0.2"),
                *("--include-dashboard=false", f"--temp-dir={self.folder}"),
                *("--disable-usage-stats", f"--num-cpus={self._cpus_of_head}"),
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    @property
    def environment(self) -> dict[str, str]:
        """The variables of every process that talks to these nodes."""
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "XDG_CACHE_HOME": str(self.folder / "cache"),  # no step of an earlier test is taken
            "RAY_USAGE_STATS_ENABLED": "0",
            "SPT_NOENV": "1",  # else a title is written over the variables that we find it by
            "RAY_AUTH_MODE": "token",  # else whoever reaches a node may run anything there
            "RAY_AUTH_TOKEN_PATH": str(self.folder / "token"),
        }

    def join(self, name: str, source: Path = ROOT, **variables: str) -> None:
        """Start another node, whose harness is the one in a folder, with variables of its own."""
        self._joined += 1
        place = f"--node-ip-address=127.0.0.{2 + self._joined}"
        options = (f"--address={self.address}", place, "--num-cpus=1")
        self._start(name, *options, source=source, variables=variables)

    def kill(self, name: str) -> None:
        """End a node as a cut of its power would."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def __exit__(self, *_: object) -> None:
        for name in [*self._processes][::-1]:
            self.kill(name)
        deadline = time.monotonic() + 30
        while pids := self.processes():  # a raylet that is killed leaves its two agents
            assert time.monotonic() < deadline, "processes of Ray are left"
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        self._starter.shutdown()
        shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self, titled: str = "") -> list[int]:
        """Return the processes of these nodes, whose token they all are given; or those titled so.

        What talks to the nodes is not among them, nor is a run: it is not given the token.
        """
        token, found = f"RAY_AUTH_TOKEN_PATH={self.folder}/".encode(), []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command = (process / "cmdline").read_bytes()
                is_ours = token in (process / "environ").read_bytes() and b"harness" not in command
                if is_ours and titled.encode() in command and _is_at_work(process):
                    found.append(int(process.name))
        return found

    def _start(
        self,
        name: str,
        *options: str,
        source: Path = ROOT,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        log = self.folder / f"{name}.log"
        environment = {
            **self.environment,
            "PYTHONPATH": str(source),
            # a node that is gone is noticed within seconds; three times three by default
            "RAY_health_check_initial_delay_ms": "1000",
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_failure_threshold": "4",
            "RAY_memory_monitor_refresh_ms": "0",
            "RAY_worker_niceness": "0",  # Ray's 15 leaves runs behind whatever else is at work
            "RAY_raylet_start_wait_time_s": f"{_START_S}",
            **variables,
        }
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
        fixed = [f"--node-name={name}", f"--memory={self._memory}"]
        fixed += ["--object-store-memory=80000000"]
        with log.open("wb") as file:
            self._processes[name] = self._starter.submit(
                subprocess.Popen[bytes],
                [*command, *fixed, *options],
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            ).result()
        deadline = time.monotonic() + _START_S
        while _STARTED not in log.read_text(errors="replace"):
            assert self._processes[name].poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, f"node {name} does not start"
            time.sleep(0.1)


def _reap() -> None:
    """End what nodes of tests that were killed have left: agents, whose raylet has gone."""
    token = f"RAY_AUTH_TOKEN_PATH=/tmp/{_PREFIX}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            if parent == "1" and token in (process / "environ").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_SET_PDEATHSIG, signal.SIGKILL)


def _is_at_work(process: Path) -> bool:
    return (process / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"


def _free_port(host: str) -> int:
    """Return a port that is free now, below those that Ray's workers take."""
    for port in range(6379, 9000):
        with socket.socket() as found, suppress(OSError):
            found.bind((host, port))
            return port
    message = "no port is free"
    raise OSError(message)
