"""How a plan gets on: a live line on a terminal, plain lines elsewhere, all on standard error."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from statistics import median
from typing import Self

from rich.console import Console as Terminal
from rich.live import Live
from rich.text import Text

from harness.execution.run import RunProgress, RunStage
from harness.execution.segments import Attempts
from harness.follow.find import Followed, RunState, earlier
from harness.follow.notify import Happening, Notice, Notifier
from harness.follow.remaining import Left, Timeline
from harness.follow.text import RunView, one_line, rough
from harness.follow.watching import Watched, quiet_limit_s, staged
from harness.records import RunSpec, Status
from harness.results.store import RunStore
from harness.session.console import Console, Verbosity
from harness.units import counted, duration

_LIVE_S = 1.0  # between two looks where a terminal shows a live line
_PLAIN_S = 30.0  # between two lines where none does
_SILENCE_S = 5.0  # between two looks then: only whether a run is silent matters in between


class Narrator:
    """Listens to `harness.execution.run.run_plan`; use it as a context manager.

    A thread follows the runs that are at work, and shows the one that began last. What it shows
    never ends a run: it stops by itself where nothing can be shown any more.

    Args:
        what: the scenario and profile, in words.
        total: how many runs are planned.
        console: prints the progress; with ``--quiet`` it prints nothing.
        store: where the runs go, to name their folders and to learn from earlier ones.
        notifier: is told of a run that fails or shows no sign of life; None for nobody.
    """

    def __init__(
        self,
        what: str,
        total: int,
        console: Console,
        store: RunStore,
        notifier: Notifier | None = None,
    ) -> None:
        self._what, self._console, self._store = what, console, store
        self._total, self._notifier = total, notifier
        self._terminal = Terminal(stderr=True, highlight=False)
        is_quiet = console.verbosity is Verbosity.QUIET
        self._is_live = self._terminal.is_terminal and not is_quiet
        self._live = Live(
            console=self._terminal,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
        )
        self._line = ""
        # in the order they began; replaced, never changed: the thread reads it at any moment
        self._at_work: tuple[RunSpec, ...] = ()
        self._watched: dict[str, Watched] = {}  # by run id; the thread's own
        self._told_quiet: set[str] = set()  # run ids; the thread's own
        self._number = 0  # how many runs of the plan have begun
        self._timelines: list[Timeline] | None = None
        self._walls_s: list[float] = []
        self._reused = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="narrator", daemon=True)
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        if self._is_live:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_SILENCE_S)
        with suppress(OSError, ValueError):  # the terminal may have gone
            self._live.stop()
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
                self._started(progress.spec, progress.number)
                if progress.earlier is not None and progress.earlier.last is not None:
                    self._goes_on(described(progress.spec), progress.earlier)
            case RunStage.REUSED:
                self._reused += 1
            case RunStage.ENDED:
                self._at_work = tuple(each for each in self._at_work if each is not progress.spec)
                self._ended(progress)

    def _started(self, spec: RunSpec, number: int) -> None:
        if self._timelines is None:
            self._timelines = earlier(self._store, spec)
        self._number = max(self._number, number)
        self._at_work = (*self._at_work, spec)

    def _goes_on(self, label: str, attempts: Attempts) -> None:
        """Say why the attempt before ended, and where this one goes on."""
        assert attempts.last is not None
        line = f"{label}: an attempt of {attempts.last.began} ended: {attempts.last.cause}"
        self._console.say(line)
        if attempts.steps:
            count = counted(len(attempts.steps), "step")
            self._console.say(f"{label}: goes on behind {attempts.steps[-1].name} ({count} done)")

    def _ended(self, progress: RunProgress) -> None:
        assert progress.finished is not None
        outcome = progress.finished.outcome
        line = f"[{progress.number}/{progress.total}] {described(progress.spec)}: {outcome.status}"
        line += f" {'in' if outcome.status is Status.FINISHED else 'after'} "
        line += duration(outcome.usage.wall_s)
        if outcome.status is not Status.FINISHED:
            line += f": {outcome.cause}"
            self._tell(Happening.FAILED, f"{self._what}: {line}", progress.spec)
        else:
            self._walls_s.append(outcome.usage.wall_s)
        # above the live line: rich takes over standard error while it is drawn
        self._console.say(line)
        if outcome.status is Status.FINISHED:
            self._console.explain(f"  stored in {self._store.folder(progress.spec)}")

    # --- the thread that follows ------------------------------------------------------------------

    def _follow(self) -> None:
        """Look at the runs again and again, until the plan is done."""
        said = time.monotonic()
        while not self._stop.wait(_LIVE_S if self._is_live else _SILENCE_S):
            seen = self._look()
            try:
                if seen is None:
                    self._show("")
                elif self._is_live:
                    self._show(one_line(seen, self._terminal.width))
                elif time.monotonic() - said >= _PLAIN_S:
                    said = time.monotonic()
                    self._console.say(one_line(seen, self._terminal.width))
            except (OSError, ValueError):  # nobody can read us
                continue

    def _look(self) -> RunView | None:
        """Look at every run that is at work; return what is seen of the one that began last.

        None where there is none to be seen: between two runs, or before one has its folder.
        """
        at_work, last = self._at_work, None
        for spec in at_work:
            try:
                if (watched := self._followed(spec)) is not None:
                    seen = watched.look()
                    self._watch_for_silence(watched, seen)
                    last = self._with_plan(spec, seen, others=len(at_work) - 1)
            except (OSError, ValueError):  # its folder has just been moved
                continue
        names = {spec.run_id for spec in at_work}
        self._watched = {name: each for name, each in self._watched.items() if name in names}
        self._told_quiet &= names
        return last

    def _followed(self, spec: RunSpec) -> Watched | None:
        if spec.run_id not in self._watched:
            folder = staged(self._store, spec)
            if folder is None:
                return None
            run = Followed(spec=spec, folder=folder, state=RunState.RUNNING)
            self._watched[spec.run_id] = Watched(run, self._store, self._timelines)
        return self._watched[spec.run_id]

    def _with_plan(self, spec: RunSpec, seen: RunView, *, others: int) -> RunView:
        """Return what is seen of a run, with the plan's progress and the time left for all of it.

        Args:
            spec: the run.
            seen: of it.
            others: how many are at work besides.
        """
        name = f"{spec.scenario.partition('-')[0]} {spec.profile} {self._number}/{self._total}"
        if others:
            name += f" +{others} at work"
        known = [*self._walls_s, *(each.total_s for each in self._timelines or ())]
        ahead = self._total - self._number
        left = seen.left
        if ahead and left is not None and left.whole and known:
            after_it = ahead * median(known) / (1 + others)
            left = Left(seconds=left.seconds + after_it, whole=True)
        elif ahead and left is not None:
            left = Left(seconds=left.seconds, whole=False)
        return RunView(
            name=name,
            elapsed_s=seen.elapsed_s,
            left=left,
            phase=seen.phase,
            detail=seen.detail,
            values=seen.values,
            pace_s=seen.pace_s,
            quiet_s=seen.quiet_s,
            machine=seen.machine,
        )

    def _show(self, line: str) -> None:
        if self._is_live and line != self._line:
            self._line = line
            with suppress(OSError, ValueError):
                self._live.update(Text(line, no_wrap=True, overflow="crop"), refresh=True)

    def _watch_for_silence(self, watched: Watched, seen: RunView) -> None:
        limit_s = quiet_limit_s(watched.spec)
        if seen.quiet_s < limit_s:
            self._told_quiet.discard(watched.spec.run_id)
        elif watched.spec.run_id not in self._told_quiet:
            self._told_quiet.add(watched.spec.run_id)
            quiet = f"{described(watched.spec)}: no sign of life for {rough(seen.quiet_s)}"
            ends = rough(watched.spec.limits.stall_s)
            self._console.say(f"{quiet}; it is ended after {ends} of that")
            self._tell(Happening.STALLED, f"{self._what}: {quiet}", watched.spec)

    def _tell(self, happening: Happening, title: str, spec: RunSpec) -> None:
        if self._notifier is None:
            return
        facts = {"scenario": spec.scenario, "profile": spec.profile.value, "run": spec.run_id}
        message = Notice(happening=happening, title=title, body="", facts=facts)
        if why := self._notifier.send(message):
            self._console.say(f"nobody was told: {why}")


def described(spec: RunSpec) -> str:
    """Return a run's swept values and replicate for people; its seed where there is neither."""
    return spec.label if spec.axes or spec.replicate else f"seed {spec.seed}"
