"""One run, followed: everything that is known of it at the moment."""

from __future__ import annotations

import time
from pathlib import Path

from harness.follow.find import Followed, began_at, changed_at, earlier
from harness.follow.machine import latest
from harness.follow.remaining import Timeline, left
from harness.follow.tail import last_lines
from harness.follow.text import RunView, look
from harness.follow.told import Progress
from harness.records import RunSpec
from harness.results.store import RunStore

_LOGS = ("stderr.log", "stdout.log")
_LOOK_AT_FILES_S = 15.0  # between two looks at all files of a run


class Watched:
    """A run that is at work, or was.

    Args:
        run: which.
        store: holds earlier runs like it.
        timelines: of these; None to look for them.
    """

    def __init__(
        self, run: Followed, store: RunStore, timelines: list[Timeline] | None = None
    ) -> None:
        self.run = run
        self._began = began_at(run.folder)
        self.progress = Progress(run.folder, self._began)
        self.timelines = earlier(store, run.spec) if timelines is None else timelines
        self._signed, self._looked = time.time(), 0.0  # the last sign of life, and look for one

    @property
    def spec(self) -> RunSpec:
        """The run."""
        return self.run.spec

    @property
    def elapsed_s(self) -> float:
        """Since it began; a clock that was set back makes that 0."""
        return max(0.0, time.time() - self._began)

    def look(self, state: str = "") -> RunView:
        """Read what is new, and return what is seen now."""
        if self.progress.update():
            self._signed = time.time()
        return look(
            self.run.name,
            self.progress,
            latest(self.run.folder),
            elapsed_s=self.elapsed_s,
            left=None if state else left(self.progress, self.elapsed_s, self.timelines),
            quiet_s=self.quiet_s(),
            state=state,
        )

    def quiet_s(self) -> float:
        """Return how long there has been no sign of life: no line told, no file written."""
        now = time.time()
        if now - max(self._signed, self._looked) > _LOOK_AT_FILES_S:
            self._looked = now
            self._signed = max(self._signed, changed_at(self.run.folder))
        return max(0.0, now - self._signed)

    def log(self, count: int) -> list[str]:
        """Return the last lines of the run's error log, else of its output."""
        for name in _LOGS:
            if lines := last_lines(self.run.folder / name, count):
                return lines
        return []


def quiet_limit_s(spec: RunSpec) -> float:
    """Return after how long without a sign of life somebody is told: well before it is ended."""
    return max(60.0, spec.limits.stall_s / 3)


def staged(store: RunStore, spec: RunSpec) -> Path | None:
    """Return the folder that a run writes into; None where it has not begun."""
    return next(iter((store.root / ".staging").glob(f"*.{spec.run_id}")), None)
