"""The thread that samples while a run is under way."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Self

from harness.probes.channels import Probe, TelemetrySample, open_probes
from harness.telemetry.log import SampleLog

PERIOD_S = 1.0
_STOP_WITHIN_S = 5.0  # a driver that hangs must not hang the harness


class TelemetrySampler:
    """Samples every channel into a file while its ``with`` block runs.

    The first sample is taken at the start and the last at the end, so that even a short run is
    spanned by two. Everything that could hang is opened, read and closed in the thread.

    What is written is handed to the disk every period, by a thread of its own, so that a disk which
    takes its time delays no sample: a cut of power loses two periods at most.

    Args:
        path: the file; it is created, and must not exist.
        probes: opens the probes; by default all of this machine's, without a process tree.
        period_s: seconds between samples.
    """

    def __init__(
        self,
        path: Path,
        probes: Callable[[], AbstractContextManager[Probe]] = open_probes,
        *,
        period_s: float = PERIOD_S,
    ) -> None:
        self._path = path
        self._probes = probes
        self._period_s = period_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._syncer = threading.Thread(target=self._sync, name="telemetry-sync", daemon=True)

    def __enter__(self) -> Self:
        self._file = self._path.open("x", encoding="utf-8")
        self._descriptor = os.dup(self._file.fileno())  # the file is closed by the other thread
        self._thread.start()
        self._syncer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_STOP_WITHIN_S)
        self._syncer.join(_STOP_WITHIN_S)

    def _sync(self) -> None:
        try:
            while not self._stop.wait(self._period_s):
                with suppress(OSError):  # a file system that cannot keeps what it can
                    os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)

    def _run(self) -> None:
        began = time.monotonic()
        with self._file as file, self._probes() as probe:
            log = SampleLog(file)
            last = False
            while True:
                log.add(TelemetrySample(at_s=time.monotonic() - began, readings=probe()))
                if last:
                    return
                # on the period's grid, so that the probes' own time does not add up
                last = self._stop.wait(self._period_s - (time.monotonic() - began) % self._period_s)
