"""Telling how a plan is getting on: a live line on a terminal, plain lines elsewhere.

Everything goes to standard error; standard output is for results.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from harness.records import Status
from harness.run import Progress as RunProgress
from harness.run import Step


class Narrator:
    """Listens to `harness.run.run_plan`; use it as a context manager.

    Args:
        what: the scenario and profile, in words.
        total: how many runs are planned.
    """

    def __init__(self, what: str, total: int) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task(what, total=total)
        self._what = what
        self._reused = 0
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
        if self._reused:
            runs = "run was" if self._reused == 1 else "runs were"
            self._say(f"{self._what}: {self._reused} {runs} finished before")

    def __call__(self, progress: RunProgress) -> None:
        """Show one step of one run."""
        match progress.step:
            case Step.STARTED:
                self._bar.update(self._task, description=f"{self._what}: {progress.spec.label}")
            case Step.REUSED:
                self._reused += 1
                self._bar.advance(self._task)
            case Step.ENDED:
                self._ended(progress)

    def _ended(self, progress: RunProgress) -> None:
        self._bar.advance(self._task)
        assert progress.finished is not None
        outcome = progress.finished.outcome
        line = f"[{progress.number}/{progress.total}] {progress.spec.label}: {outcome.status}"
        line += f" in {outcome.usage.wall_s:.1f} s"
        if outcome.status is not Status.FINISHED:
            line += f": {outcome.cause}"
        self._say(line)

    def _say(self, line: str) -> None:
        if self._console.is_terminal:
            self._console.print(line, markup=False, soft_wrap=True)
        else:
            say(line)


def say(line: str) -> None:
    """Tell a line of progress."""
    print(line, file=sys.stderr, flush=True)
