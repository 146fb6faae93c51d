"""The limits of one run: whether the machine can give them, and holding the run to them.

The memory of the machine as a whole is watched by `harness.runtime.memory`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

from harness.artefacts import ArtefactStore
from harness.errors import HostError
from harness.reading import read_json
from harness.records import Event, Limits, from_json
from harness.runtime.base import RunStopReason
from harness.runtime.host import ON_CPU, Host
from harness.runtime.memory import memory_problem
from harness.telemetry.log import TELEMETRY_FILE
from harness.workloads.api.emit import EVENTS_FILE

_LOOK_S = 0.5
_MEMORY_S = 2.0  # while a run uses less than half of its memory, which takes a walk over /proc
_FILES_S = 5.0  # a run that has just written need not have its folder read


class RunWatch:
    """Looks at a run twice a second and says when it must be stopped.

    For its memory it is stopped when two looks in a row find too much; where it uses less than half
    of what it may, not every look reads it. It has stalled when no file of its folder has changed
    and no output has come for `Limits.stall_s` of watched time: a pause of the machine, or of the
    harness itself, does not count as a stall.

    Args:
        limits: what the run may use.
        run_dir: the run's folder; a file written there is a sign of life, but for the telemetry,
            which the harness writes.
        artefacts_dir: the store of finished steps; a file written to the one that this run is
            making is a sign of life too, one that a run beside it writes is none.
        memory_gib: reads how much memory it uses; None where the container holds that limit.
        each_look: called at every look.
        stop: once it is set, the run is to end.
    """

    def __init__(
        self,
        limits: Limits,
        run_dir: Path,
        *,
        artefacts_dir: Path | None = None,
        memory_gib: Callable[[], float] | None = None,
        each_look: Callable[[], None] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._limits = limits
        self._run_dir = run_dir
        self._artefacts = None if artefacts_dir is None else ArtefactStore(artefacts_dir)
        self._step = ""  # the key of the one that it has begun last
        self._heard = 0  # bytes of its events
        self._files = self._newest_files()
        self.alive()
        self._looked = time.monotonic()
        self._memory_gib = memory_gib
        self._each_look = each_look
        self._stop = stop
        self._deadline = time.monotonic() + limits.timeout_s
        self._next_look = time.monotonic() + _LOOK_S
        self._was_over = False
        self._next_memory = 0.0

    def alive(self) -> None:
        """Take note that the run has just written something."""
        self._idle_s = 0.0
        # the idle time at which the files are looked at next
        self._files_due_s = min(_FILES_S, self._limits.stall_s)

    def wait_s(self) -> float:
        """Return the seconds until the next check."""
        return max(0.0, min(self._deadline, self._next_look) - time.monotonic())

    def reason(self) -> RunStopReason | None:
        """Return why the run must be stopped now; None while it need not.

        Raises:
            KeyboardInterrupt: `stop` is set.
        """
        if self._stop is not None and self._stop.is_set():
            raise KeyboardInterrupt
        now = time.monotonic()
        if now >= self._deadline:
            return RunStopReason.TIME
        if now < self._next_look:
            return None
        self._next_look = now + _LOOK_S
        self._idle_s += min(now - self._looked, 2 * _LOOK_S)
        self._looked = now
        return self._look()

    def _look(self) -> RunStopReason | None:
        if self._idle_s >= self._files_due_s:
            files = self._newest_files()
            if files != self._files:
                self._files = files
                self.alive()
            elif self._idle_s >= self._limits.stall_s:
                return RunStopReason.STALL
            else:
                self._files_due_s = min(self._idle_s + _FILES_S, self._limits.stall_s)
        if self._each_look is not None:
            self._each_look()
        limit = self._limits.memory_gib
        if limit is None or self._memory_gib is None or self._looked < self._next_memory:
            return None
        used_gib = self._memory_gib()
        if used_gib < limit / 2:
            self._next_memory = self._looked + _MEMORY_S
        is_over = used_gib > limit
        # a program that is being started has its parent's memory for a moment, which counts twice
        stop = RunStopReason.MEMORY if is_over and self._was_over else None
        self._was_over = is_over
        return stop

    def _newest_files(self) -> tuple[int, int]:
        """Return how many bytes the files of a run have, and when the newest was written, ns."""
        size = newest = 0
        folders = [self._run_dir]
        if self._artefacts is not None and (key := self._begun()):
            folders.append(self._artefacts.unfinished_folder(key))
        for folder, _, names in chain.from_iterable(map(os.walk, folders)):
            for name in names:
                if name == TELEMETRY_FILE:
                    continue
                try:
                    seen = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - twice as fast as Path
                except FileNotFoundError:  # removed since it was listed
                    continue
                size += seen.st_size
                newest = max(newest, seen.st_mtime_ns)
        return size, newest

    def _begun(self) -> str:
        """Return the key of the step that the run has begun last; empty before the first."""
        with suppress(FileNotFoundError), (self._run_dir / EVENTS_FILE).open("rb") as events:
            events.seek(self._heard)
            for line in events:
                if not line.endswith(b"\n"):  # it is being written
                    break
                self._heard += len(line)
                if b'"begun"' not in line:
                    continue
                with suppress(ValueError):  # a damaged line ends the run later, with its place
                    event = from_json(Event, read_json(line))
                    if event.kind == "begun":
                        self._step = str(event.payload.get("key", ""))
        return self._step


def host_problems(limits: Limits, host: Host) -> Iterator[HostError]:
    """Yield the limits of a run that this machine cannot provide."""
    if problem := memory_problem(limits, host):
        yield problem
    if limits.nodes > 1:
        yield HostError(
            f"the run is spread over {limits.nodes} nodes by its engine (limits.nodes), which can "
            "be planned and has been run by nobody",
            "harness plan SCENARIO --runtime ray",
        )
    if limits.gpus > len(host.gpus):
        reason = host.absent.get("gpus", "the driver shows no more")
        yield HostError(
            f"the run needs {limits.gpus} NVIDIA GPU, {len(host.gpus)} seen: {reason}",
            "nvidia-smi" if host.driver else ON_CPU,
        )
