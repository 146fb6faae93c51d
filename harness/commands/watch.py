"""``harness watch``: follow a run from another terminal, or in a browser; it changes nothing."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from harness.errors import ExitCode, HostError
from harness.follow.curves import CurveWriter, TensorBoard, Trackio
from harness.follow.data import document
from harness.follow.find import Followed, RunState, at_work, ended, is_held, newest, stored
from harness.follow.notify import Happening, Notice, Notifier, notifier
from harness.follow.server import PageServer
from harness.follow.text import LABEL_WIDTH, RunView, block, one_line, rough
from harness.follow.watching import Watched, quiet_limit_s
from harness.results.store import RunStore
from harness.scenario.folders import find
from harness.session.console import Console, terminal_width
from harness.session.options import WatchOptions
from harness.session.output import print_answer
from harness.session.project import open_project

_LOOK_S = 1.0
_PLAIN_S = 30.0  # between two lines where no terminal is
_NEXT_S = 20.0  # how long the next run of a plan may take to begin
_LOG_LINES = 5
_BESIDE = 16  # lines of other runs


def main(options: WatchOptions) -> ExitCode:
    """Follow runs until the plan that they belong to has ended."""
    project = open_project(options)
    store = RunStore(project.store)
    scenario = find(project.scenarios, options.scenario).name if options.scenario else None
    if options.json:
        return _as_json(store, scenario, options)
    run = _first(store, scenario)
    told = notifier(options.notify) if options.notify else None
    follower = _Follower(store, options.console, told, options)
    if options.web:
        with PageServer(follower.document_of, options.port or 0) as server:
            follower.select = run
            options.console.say(f"{run.name}: {server.url} (Ctrl-C ends this; the run goes on)")
            print(server.url, flush=True)
            return follower.follow(run, silent=True)
    if options.once:
        seen = Watched(run, store)
        print("\n".join(follower.lines(seen, seen.look(_said(run)))))
        return ExitCode.OK
    return follower.follow(run)


def _first(store: RunStore, scenario: str | None) -> Followed:
    """Return the run to follow: one that is at work, else what was begun or ended last."""
    begun = at_work(store, scenario)
    if begun:
        return begun[0]
    last = newest(store, scenario)
    if last is None:
        what = f"no run of {scenario}" if scenario else "no run"
        message = f"{what} is at work, or was, in {store.root}"
        raise HostError(message, f"harness run {scenario or 'a34'}, in another terminal")
    return last


def _said(run: Followed) -> str:
    """Return the state of a run that is not at work, in words."""
    if run.state is RunState.RUNNING:
        return ""
    return f"{run.state}: {run.cause}" if run.cause else run.state.value


def _as_json(store: RunStore, scenario: str | None, options: WatchOptions) -> ExitCode:
    run = _first(store, scenario)
    watched = Watched(run, store)
    others = [each for each in at_work(store) if each.folder != run.folder]
    print_answer(options, document(watched, watched.look(_said(run)), store, others))
    return ExitCode.OK


class _Follower:
    """Follows the runs of a plan, one after the other.

    Args:
        store: where they are.
        console: says what happens.
        told: is told when a run ends, stalls or fails; None for nobody.
        options: where curves go.
    """

    def __init__(
        self, store: RunStore, console: Console, told: Notifier | None, options: WatchOptions
    ) -> None:
        self._store, self._console, self._told, self._options = store, console, told, options
        self.select: Followed | None = None
        self._pages: dict[str, Watched] = {}
        self._drawn = 0
        stream = sys.stdout
        self._is_live = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def follow(self, run: Followed, *, silent: bool = False) -> ExitCode:
        """Follow a run and those that begin after it; return how the last one ended."""
        code = ExitCode.OK
        current: Followed | None = run
        while current is not None:
            self.select = current
            last = self._one(current, silent=silent)
            if last.state is RunState.FAILED:
                code = ExitCode.INFRASTRUCTURE
            current = self._next(last) if last.state is not RunState.LEFT else None
        if silent:
            self._console.say("no run is at work any more; the page stays until Ctrl-C")
            while True:
                time.sleep(_LOOK_S)
        return code

    def _one(self, run: Followed, *, silent: bool) -> Followed:
        """Follow one run to its end; return it as it ended."""
        watched, said, quiet_told = Watched(run, self._store), 0.0, False
        with self._curves(run) as curves:
            written = 0
            while True:
                now = self._state(run)
                if now.state is RunState.RUNNING:
                    watched.run = now  # its node is known once it has begun there
                seen = watched.look(_said(now))
                for curve in curves:
                    for told in watched.progress.lines[written:]:
                        curve.add(told)
                written = len(watched.progress.lines)
                is_quiet = now.state is RunState.RUNNING and seen.quiet_s > quiet_limit_s(run.spec)
                if is_quiet and not quiet_told:
                    quiet = f"{run.name}: no sign of life for {rough(seen.quiet_s)}"
                    self._tell(Happening.STALLED, quiet, run)
                quiet_told = is_quiet
                if not silent:
                    said = self._show(watched, seen, said, over=now.state is not RunState.RUNNING)
                if now.state is not RunState.RUNNING:
                    self._ended(run, now, watched)
                    return now
                time.sleep(_LOOK_S)

    def _state(self, run: Followed) -> Followed:
        """Return a run as it is now."""
        if run.state in (RunState.FINISHED, RunState.FAILED):
            return run
        if run.folder.is_dir():
            same = [each for each in at_work(self._store) if each.folder == run.folder]
            if same:
                return same[0]
        with suppress(ValueError):
            if (last := ended(self._store, run.spec)) is not None:
                return last
        return Followed(spec=run.spec, folder=run.folder, state=RunState.LEFT)

    def _next(self, last: Followed) -> Followed | None:
        """Wait a little for the next run of the same plan; None if there is none."""
        until = time.monotonic() + _NEXT_S
        scenario, profile = last.spec.scenario, last.spec.profile
        while time.monotonic() < until:
            runs = [
                each
                for each in at_work(self._store, scenario)
                if each.state is RunState.RUNNING and each.spec.profile is profile
            ]
            if runs:
                return runs[0]
            if not _is_planned(self._store, last):
                return None
            time.sleep(_LOOK_S)
        return None

    def _show(self, watched: Watched, seen: RunView, said: float, *, over: bool) -> float:
        """Show the run where it is time to; return when it was shown last."""
        if self._is_live:
            self._redraw(self.lines(watched, seen))
            return said
        now = time.monotonic()
        if over or not said or now - said >= _PLAIN_S:
            beside = self._beside(watched.run, terminal_width())
            print("\n".join([one_line(seen, terminal_width()), *beside]), flush=True)
            return now
        return said

    def lines(self, watched: Watched, seen: RunView) -> list[str]:
        """Return the block of a run, with a line for each other one that is at work."""
        spec, width = watched.spec, min(terminal_width(), 110)
        return block(
            seen,
            width,
            stored=[*stored(self._store, spec.scenario, spec.profile)],
            beside=self._beside(watched.run, width - LABEL_WIDTH),
            log=watched.log(_LOG_LINES),
        )

    def _beside(self, run: Followed, width: int) -> list[str]:
        """Return a line for each other run at work, on this machine or on nodes of a cluster."""
        others = [each for each in at_work(self._store) if each.folder != run.folder]
        running = [each for each in others if each.state is RunState.RUNNING]
        lines = [one_line(self._watched(each).look(), width) for each in running[:_BESIDE]]
        more = len(running) - _BESIDE
        return [*lines, f"and {more} more"] if more > 0 else lines

    def _watched(self, run: Followed) -> Watched:
        """Return what is known of a run; it is kept, so that its files are read once."""
        watched = self._pages.get(str(run.folder))
        if watched is None:
            watched = self._pages[str(run.folder)] = Watched(run, self._store)
        watched.run = run  # its node is known once it has begun there
        return watched

    def _redraw(self, lines: list[str]) -> None:
        """Draw the block over the one before it."""
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        text = "".join(f"\x1b[2K{line}\n" for line in lines)
        rest = self._drawn - len(lines)
        clear = "\x1b[0J" if rest > 0 else ""
        sys.stdout.write(f"{up}{text}{clear}")
        sys.stdout.flush()
        self._drawn = len(lines)

    def _ended(self, run: Followed, now: Followed, watched: Watched) -> None:
        self._drawn = 0
        took = rough(watched.progress.last.at_s) if watched.progress.last else ""
        match now.state:
            case RunState.FINISHED if run.state is RunState.RUNNING:
                self._tell(
                    Happening.ENDED, f"{run.name}: finished" + (f" after {took}" * bool(took)), run
                )
            case RunState.FAILED if run.state is RunState.RUNNING:
                self._tell(Happening.FAILED, f"{run.name}: {now.cause}", run)
            case RunState.LEFT if run.state is RunState.RUNNING:
                self._tell(Happening.FAILED, f"{run.name}: the harness that ran it has gone", run)
            case _:
                return

    def _tell(self, happening: Happening, title: str, run: Followed) -> None:
        if self._told is None:
            return
        facts = {
            "scenario": run.spec.scenario,
            "profile": run.spec.profile.value,
            "run": run.spec.run_id,
        }
        message = Notice(happening=happening, title=title, body="", facts=facts)
        if why := self._told.send(message):
            self._console.say(f"nobody was told: {why}")

    @contextmanager
    def _curves(self, run: Followed) -> Iterator[list[CurveWriter]]:
        """Open where curves go; each is closed with the block."""
        with ExitStack() as stack:
            opened: list[CurveWriter] = []
            if self._options.tensorboard is not None:
                opened.append(TensorBoard(run.spec, self._options.tensorboard))
            if self._options.trackio:
                opened.append(Trackio(run.spec))
            for each in opened:
                stack.callback(each.close)
            yield opened

    def document_of(self, wanted: str) -> Any:
        """Return what the page shows: of the run of that id, else of the one that is followed."""
        runs = at_work(self._store)
        chosen = next((each for each in runs if each.spec.run_id == wanted), None)
        chosen = chosen or (self._state(self.select) if self.select else None) or runs[0]
        watched = self._watched(chosen)
        others = [each for each in runs if each.folder != chosen.folder]
        return document(watched, watched.look(_said(chosen)), self._store, others)


def _is_planned(store: RunStore, last: Followed) -> bool:
    """Return whether the harness that ran a run is still there."""
    lock = store.root / ".staging" / f"{last.spec.scenario}.{last.spec.profile}.lock"
    return is_held(lock) is not False
