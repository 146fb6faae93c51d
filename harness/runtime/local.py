"""Runs on this machine, without a container: a process group, a lifeline and a watchdog.

Not held here, and held in a container: the network, a read-only view of everything but the run's
folder, and memory between two looks of the watchdog.

Linux wakes us when the process ends (pidfd). macOS has no such call and no /proc: there the end is
looked for twenty times a second, and memory is not watched.
"""

from __future__ import annotations

import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import IO, Self

import harness
from harness.errors import HostError
from harness.records import RunOutcome, RunSpec, Status, Usage
from harness.runtime import processes
from harness.runtime.base import (
    BY_SIGNAL,
    STDERR_FILE,
    STDOUT_FILE,
    Ending,
    Launch,
    Leftover,
    RunStopReason,
    judge,
)
from harness.runtime.environ import compile_caches, host_environment, run_environment
from harness.runtime.host import probe_host
from harness.runtime.logs import BoundedLog
from harness.runtime.memory import Breach, MemoryWatchdog, floor_gib
from harness.runtime.owner import this_process
from harness.runtime.postmortem import killed_for_memory, signs_now
from harness.runtime.processes import Mark
from harness.runtime.sandbox_server import sandbox_problem
from harness.runtime.watch import RunWatch, host_problems
from harness.variables import (
    ARTEFACTS_VARIABLE,
    EVIDENCE_VARIABLE,
    MODELS_VARIABLE,
    RUN_VARIABLE,
)
from harness.workloads.api.registry import workload

_CHUNK_BYTES = 64 * 2**10
_PIPE_CHUNKS = 16  # more than a pipe can hold by default
_HAS_PIDFD = hasattr(os, "pidfd_open")
_LOOK_S = 0.05  # where there is no pidfd
# getrusage's unit of memory: bytes on macOS, KiB elsewhere
_RSS_PER_GIB = 2**30 if sys.platform == "darwin" else 2**20
_SOURCE = Path(harness.__file__).resolve().parent.parent


class LocalRuntime:
    """Runs a workload as a process of this machine, with this Python."""

    name = "local"
    is_here = True

    def __enter__(self) -> Self:
        self._floor_gib = floor_gib(probe_host())
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def problems(self, spec: RunSpec) -> Iterator[HostError]:
        """Yield everything that keeps this machine from executing `spec`; starts nothing."""
        yield from host_problems(spec.limits, probe_host())
        if problem := sandbox_problem(spec.sandbox):
            yield problem
        for name in workload(spec.workload).requires:
            if not any(metadata.distributions(name=name)):
                yield HostError(
                    f"{spec.workload} needs {name}, which this Python does not have",
                    f"nox -s reproduce-{spec.scenario.partition('-')[0]}  # makes an environment",
                )

    def run(self, launch: Launch) -> RunOutcome:
        """Execute one run to its end or until a limit stops it."""
        mark = Mark(run_id=launch.spec.run_id, owner=this_process())
        began, started_at = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
        with (
            BoundedLog(launch.run_dir / STDOUT_FILE) as stdout,
            BoundedLog(launch.run_dir / STDERR_FILE) as stderr,
            _Process(launch, mark) as process,
        ):
            with MemoryWatchdog(self._floor_gib, process.kill) as watchdog:
                stop = process.follow(stdout, stderr)
            ending = process.end(stop, watchdog.breach)
            process.drain(stdout, stderr)
        wall_s = time.monotonic() - began
        status, cause = judge(ending, launch.spec, stderr.tail())
        return RunOutcome(
            status=status,
            runtime=self.name,
            device="",
            usage=process.usage(wall_s),
            exit_code=ending.exit_code,
            cause=cause,
            log_tail=() if status is Status.FINISHED else stderr.tail(),
            started_at=started_at,
        )

    def reap(self) -> tuple[Leftover, ...]:
        """End the processes that runs of dead owners left behind."""
        orphaned = {(pid, mark) for pid, mark in processes.marked() if mark.owner.is_dead}
        for mark in {mark for _, mark in orphaned}:
            processes.end_marked(mark)
        return tuple(
            Leftover(what=f"process {pid}", run_id=mark.run_id) for pid, mark in sorted(orphaned)
        )


class _Process:
    """The process of one run; leaving the context ends everything that it started."""

    def __init__(self, launch: Launch, mark: Mark) -> None:
        self._launch = launch
        self._mark = mark
        self._own_peak = _own_peak()
        self._before = signs_now()
        self._rusage: resource.struct_rusage | None = None

    def __enter__(self) -> Self:
        given = {
            **host_environment(),
            **run_environment(str(_SOURCE)),
            RUN_VARIABLE: self._mark.text,
        }
        if self._launch.evidence_dir is not None:
            given[EVIDENCE_VARIABLE] = str(self._launch.evidence_dir.resolve())
        if self._launch.models_dir is not None:
            given[MODELS_VARIABLE] = str(self._launch.models_dir.resolve())
        if self._launch.artefacts_dir is not None:
            given[ARTEFACTS_VARIABLE] = str(self._launch.artefacts_dir.resolve())
        if self._launch.compiled_dir is not None:
            given |= compile_caches(str(self._launch.compiled_dir.resolve()))
        # no preexec_fn: with it Python forks the whole harness instead of using vfork
        self._popen = subprocess.Popen(
            [sys.executable, *self._launch.arguments],
            cwd=self._launch.run_dir,
            env={**given, **self._launch.env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        self._handle = os.pidfd_open(self._popen.pid) if _HAS_PIDFD else None
        for stream in self._streams():
            os.set_blocking(stream.fileno(), False)
        return self

    def __exit__(self, *_: object) -> None:
        if self._popen.returncode is None:
            self.end()
        if self._handle is not None:
            os.close(self._handle)
        assert self._popen.stdin is not None
        for stream in (*self._streams(), self._popen.stdin):
            stream.close()

    def follow(self, stdout: BoundedLog, stderr: BoundedLog) -> RunStopReason | None:
        """Keep the logs until the program ends; return why it must be stopped, if it must."""
        limits = self._launch.spec.limits
        enough_gib = limits.memory_gib or 0.0
        watch = RunWatch(
            limits,
            self._launch.run_dir,
            artefacts_dir=self._launch.artefacts_dir,
            memory_gib=lambda: processes.memory_gib(self._mark, enough_gib),
            stop=self._launch.stop,
        )
        with selectors.DefaultSelector() as selector:
            if self._handle is not None:
                selector.register(self._handle, selectors.EVENT_READ, None)
            for stream, log in zip(self._streams(), (stdout, stderr), strict=True):
                selector.register(stream, selectors.EVENT_READ, log)
            while True:
                wait_s = (
                    watch.wait_s() if self._handle is not None else min(watch.wait_s(), _LOOK_S)
                )
                for key, _ in selector.select(wait_s):
                    if key.data is None:
                        return None
                    if _take(key.fd, key.data):
                        watch.alive()
                    else:
                        selector.unregister(key.fileobj)
                if self._handle is None and self._reap(os.WNOHANG):
                    return None
                if stop := watch.reason():
                    return stop

    def kill(self, _: Breach) -> None:
        """End the group; called from the watchdog's thread while `follow` waits."""
        processes.end_group(self._popen.pid)

    def end(self, stop: RunStopReason | None = None, breach: Breach | None = None) -> Ending:
        """End the group and whatever left it, and say how the program itself ended."""
        # with a pidfd the leader is not reaped yet, so its number cannot be another group's
        processes.end_group(self._popen.pid)
        self._reap(0)
        processes.end_marked(self._mark)
        code = self._popen.returncode
        return Ending(
            exit_code=code if code >= 0 else BY_SIGNAL - code,
            stop=stop,
            breach=breach,
            killed_for_memory=code == -signal.SIGKILL
            and killed_for_memory(self._popen.pid, self._before),
        )

    def _reap(self, options: int) -> bool:
        """Take the program's status and usage once it has ended; False while it runs."""
        if self._rusage is None:
            pid, status, rusage = os.wait4(self._popen.pid, options)
            if pid == 0:
                return False
            self._rusage, self._popen.returncode = rusage, os.waitstatus_to_exitcode(status)
        return True

    def drain(self, stdout: BoundedLog, stderr: BoundedLog) -> None:
        """Read the rest of the pipes; a program that escaped may hold them open."""
        for stream, log in zip(self._streams(), (stdout, stderr), strict=True):
            for _ in range(_PIPE_CHUNKS):
                if not _take(stream.fileno(), log):
                    break

    def usage(self, wall_s: float) -> Usage:
        """Return what the kernel accounted to the program and the children it waited for."""
        assert self._rusage is not None
        # Linux starts a child's peak at its parent's: below our own it says nothing about the child
        peak = self._rusage.ru_maxrss
        known = peak > self._own_peak
        return Usage(
            wall_s=wall_s,
            cpu_s=self._rusage.ru_utime + self._rusage.ru_stime,
            max_rss_gib=peak / _RSS_PER_GIB if known else None,
        )

    def _streams(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._popen.stdout is not None
        assert self._popen.stderr is not None
        return self._popen.stdout, self._popen.stderr


def _take(descriptor: int, log: BoundedLog) -> bool:
    """Move what a pipe holds into the log; False when it is empty or closed."""
    try:
        chunk = os.read(descriptor, _CHUNK_BYTES)
    except BlockingIOError:
        return False
    log.write(chunk)
    return bool(chunk)


def _own_peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
