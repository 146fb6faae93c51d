"""The interface of a runtime: its input, its output, its protocol."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from harness.errors import ExitCode, HostError
from harness.records import RunOutcome, RunSpec, Status, record
from harness.runtime.memory import Breach

_DROP_CACHES = "sudo sh -c 'sync; echo 3 > /proc/sys/vm/drop_caches'"
SPEC_FILE = "spec.json"
STDOUT_FILE = "stdout.log"
STDERR_FILE = "stderr.log"
BY_SIGNAL = 128  # shells and containers report death by signal N as exit code 128 + N


@record
class Launch:
    """One run, ready to be started.

    Attributes:
        spec: the run.
        run_dir: its folder on this machine. ``spec.json`` is already there; the events, the
            artefacts, ``stdout.log`` and ``stderr.log`` are written into it. It is the working
            folder of the program, in every runtime.
        env: variables that the run is given by name; the only way for a secret to get in.
        evidence_dir: the published files; a container sees them read-only.
        models_dir: the published models; a container sees them read-only.
        artefacts_dir: the store of finished steps, which the run reads and writes.
        compiled_dir: what compilers keep from run to run; None leaves it to them, who lose it.
        program: arguments of Python; None for the workload that the spec names.
        label: how people name the run in messages.
        stop: once it is set, the run is ended; a run that this thread's own signals end needs none.
        node: the node of a cluster that it must run on; empty for any, and for this machine.
        placed: called with the node that it has begun on, and that node's boot id.
    """

    spec: RunSpec
    run_dir: Path
    env: Mapping[str, str] = field(default_factory=dict)
    evidence_dir: Path | None = None
    models_dir: Path | None = None
    artefacts_dir: Path | None = None
    compiled_dir: Path | None = None
    program: tuple[str, ...] | None = None
    label: str = ""
    stop: threading.Event | None = None
    node: str = ""
    placed: Callable[[str, str], None] | None = None

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments of Python; paths in them are relative to the run's folder."""
        if self.program is not None:
            return self.program
        return ("-m", "harness.workloads", self.spec.workload, SPEC_FILE, ".")


@record
class Leftover:
    """What a harness that was killed left running, and this one ended.

    Attributes:
        what: ``process 123`` or ``container harness-...``.
        run_id: the run it belonged to.
    """

    what: str
    run_id: str


class RunStopReason(StrEnum):
    """Why the runtime, and not the program, ended a run."""

    STALL = "stall"
    TIME = "time"
    MEMORY = "memory"


@record
class Ending:
    """How a program ended, before its cause is diagnosed.

    Attributes:
        exit_code: 128 + N for a program that signal N ended.
        stop: why the runtime stopped it; None where it ended by itself.
        breach: the machine itself was about to run out of memory, so the run was ended.
        killed_for_memory: the kernel ended it, or a child of it, for lack of memory.
    """

    exit_code: int
    stop: RunStopReason | None = None
    breach: Breach | None = None
    killed_for_memory: bool = False


class NodeLostError(HostError):
    """The node that a run was at work on has gone; the run goes on from its last step elsewhere."""


class Runtime(Protocol):
    """Executes runs. Use it as a context manager; nothing starts before it is entered.

    `run` gives back an outcome for whatever happens once the program has started, also when the
    daemon dies under it. Before that, a machine that cannot start it raises `HostError`. The
    outcome's `device` is empty: what the run computed on is in its ``started`` event. Any other
    exception, Ctrl-C included, leaves nothing running.

    Attributes:
        is_here: whether runs are at work on this machine; else the runtime keeps the telemetry of
            the machine that they are at work on, and `run` may raise `NodeLostError`.
    """

    name: str
    is_here: bool

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def problems(self, spec: RunSpec) -> Iterator[HostError]:
        """Yield everything that keeps this machine from executing `spec`.

        Starts nothing, and may be asked before the runtime is entered.
        """
        ...

    def run(self, launch: Launch) -> RunOutcome:
        """Execute one run to its end or until a limit stops it."""
        ...

    def reap(self) -> tuple[Leftover, ...]:
        """End what runs of dead owners left behind."""
        ...


def judge(ending: Ending, spec: RunSpec, log_tail: tuple[str, ...]) -> tuple[Status, str]:
    """Return the status of a run with this `ending`, and one line that says why."""
    if ending.breach is not None:
        return ending.breach.status, ending.breach.cause
    if ending.stop is not None:
        return _judge_stop(ending.stop, spec)
    if ending.killed_for_memory:
        return Status.OUT_OF_MEMORY, _memory_cause(spec)
    if ending.exit_code == 0:
        return Status.FINISHED, ""
    said = (line.strip() for line in reversed(log_tail))
    # the last line that states the error; after it a `HostError` says what to type next
    last = next((line for line in said if line and not line.startswith("next: ")), "")
    cause = _exit_text(ending.exit_code) + (f": {last}" if last else "")
    if any("cudaMemGetInfo" in line for line in log_tail):  # it counts the page cache as taken
        cause += f"; the page cache is in its way: {_DROP_CACHES}"
    # a workload exits so for an absent evidence file or device, see harness.workloads.__main__
    broke = ending.exit_code == ExitCode.INFRASTRUCTURE
    return (Status.HOST_FAILED if broke else Status.FAILED), cause


def _judge_stop(stop: RunStopReason, spec: RunSpec) -> tuple[Status, str]:
    match stop:
        case RunStopReason.STALL:
            limit = spec.limits.stall_s
            return Status.STALLED, f"wrote no event, line or file for {limit:g} s (limits.stall_s)"
        case RunStopReason.TIME:
            return Status.TIMED_OUT, f"did not end within {spec.limits.timeout_s:g} s"
        case RunStopReason.MEMORY:
            return Status.OUT_OF_MEMORY, _memory_cause(spec)


def _memory_cause(spec: RunSpec) -> str:
    limit = spec.limits.memory_gib
    return "the machine ran out of memory" if limit is None else f"used up its {limit:g} GiB"


def _exit_text(exit_code: int) -> str:
    by_signal = {BY_SIGNAL + each.value: each.name for each in signal.Signals}
    if exit_code in by_signal:
        return f"ended by {by_signal[exit_code]}"
    return f"exit code {exit_code}"
