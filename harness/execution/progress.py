"""How a plan gets on: a live line on a terminal, plain lines elsewhere, all on standard error."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console as Terminal
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from harness.execution.run import RunProgress, RunStage
from harness.execution.segments import Attempts
from harness.records import RunSpec, Status
from harness.results.store import RunStore
from harness.session.console import Console, Verbosity
from harness.units import counted, duration


class Narrator:
    """Listens to `harness.execution.run.run_plan`; use it as a context manager.

    Args:
        what: the scenario and profile, in words.
        total: how many runs are planned.
        console: prints the progress; with ``--quiet`` it prints nothing.
        store: where the runs go, to name their folders.
    """

    def __init__(self, what: str, total: int, console: Console, store: RunStore) -> None:
        self._terminal = Terminal(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._terminal,
            disable=not self._terminal.is_terminal or console.verbosity is Verbosity.QUIET,
            transient=True,
        )
        self._task = self._bar.add_task(what, total=total)
        self._what, self._console, self._store = what, console, store
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
            were = "was" if self._reused == 1 else "were"
            self._console.say(
                f"{self._what}: {counted(self._reused, 'run')} {were} finished before"
            )
        took = duration(time.monotonic() - self._began)
        self._console.explain(f"{self._what}: all runs took {took}")

    def __call__(self, progress: RunProgress) -> None:
        """Show one step of one run."""
        match progress.step:
            case RunStage.STARTED:
                label = described(progress.spec)
                self._bar.update(self._task, description=f"{self._what}: {label}")
                if progress.earlier is not None and progress.earlier.last is not None:
                    self._goes_on(label, progress.earlier)
            case RunStage.REUSED:
                self._reused += 1
                self._bar.advance(self._task)
            case RunStage.ENDED:
                self._ended(progress)

    def _goes_on(self, label: str, earlier: Attempts) -> None:
        """Say why the attempt before ended, and where this one goes on."""
        assert earlier.last is not None
        line = f"{label}: an attempt of {earlier.last.began} ended: {earlier.last.cause}"
        self._console.say(line)
        if earlier.steps:
            count = counted(len(earlier.steps), "step")
            self._console.say(f"{label}: goes on behind {earlier.steps[-1].name} ({count} done)")

    def _ended(self, progress: RunProgress) -> None:
        self._bar.advance(self._task)
        assert progress.finished is not None
        outcome = progress.finished.outcome
        line = f"[{progress.number}/{progress.total}] {described(progress.spec)}: {outcome.status}"
        line += f" {'in' if outcome.status is Status.FINISHED else 'after'} "
        line += duration(outcome.usage.wall_s)
        if outcome.status is not Status.FINISHED:
            line += f": {outcome.cause}"
        # above the live line: rich takes over standard error while it is drawn
        self._console.say(line)
        if outcome.status is Status.FINISHED:
            self._console.explain(f"  stored in {self._store.folder(progress.spec)}")


def described(spec: RunSpec) -> str:
    """Return a run's swept values and replicate for people; its seed where there is neither."""
    return spec.label if spec.axes or spec.replicate else f"seed {spec.seed}"
