"""Which run is at work: what the store holds of runs that have begun and not ended."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from harness.follow.remaining import Timeline, timeline_of
from harness.reading import read_json, read_regular_file
from harness.records import Profile, RunSpec, Status, from_json, record
from harness.results.store import ENVIRONMENT_FILE, SEGMENT_FILE, SPEC_FILE, RunStore

_EARLIER = 3  # runs that the time left is learned from
_LOCKS = Path("/proc/locks")


class RunState(StrEnum):
    """How a run is doing."""

    RUNNING = "running"
    QUIET = "no sign of life"
    LEFT = "left: the harness that ran it has gone"
    FINISHED = "finished"
    FAILED = "failed"


@record
class Followed:
    """A run that can be followed.

    Attributes:
        spec: the run.
        folder: where it writes, or where it was put when it ended.
        state: how it is doing.
        cause: why it failed.
        node: of a cluster, that it is at work on; empty for this machine.
    """

    spec: RunSpec
    folder: Path
    state: RunState
    cause: str = ""
    node: str = ""

    @property
    def name(self) -> str:
        """Scenario, profile, cell and node, in words."""
        spec = self.spec
        cell = spec.label if spec.axes or spec.replicate else f"seed {spec.seed}"
        where = f" on {self.node}" if self.node else ""
        return f"{spec.scenario.partition('-')[0]} {spec.profile}, {cell}{where}"


def at_work(store: RunStore, scenario: str | None = None) -> list[Followed]:
    """Return the runs that have begun and not ended, those that are at work first, newest first."""
    staging = store.root / ".staging"
    found = []
    for path in staging.glob("*/"):
        spec = _spec(path)
        if spec is None or (scenario is not None and spec.scenario != scenario):
            continue
        held = is_held(staging / f"{spec.scenario}.{spec.profile}.lock")
        state = RunState.RUNNING if held is not False else RunState.LEFT
        found.append((state is not RunState.RUNNING, -changed_at(path), spec, path, state))
    ordered = sorted(found, key=lambda each: each[:2])
    return [
        Followed(spec=spec, folder=path, state=state, node=_node(path))
        for *_, spec, path, state in ordered
    ]


def ended(store: RunStore, spec: RunSpec) -> Followed | None:
    """Return how a run ended; None where the store holds no attempt at it."""
    if store.has(spec):
        return Followed(spec=spec, folder=store.folder(spec), state=RunState.FINISHED)
    if failures := store.failures(spec):
        last = failures[-1].outcome
        place = store.folder(spec)
        folder = place.with_name(f"{place.name}.failed-{len(failures)}")
        cause = f"{last.status}: {last.cause}"
        return Followed(spec=spec, folder=folder, state=RunState.FAILED, cause=cause)
    return None


def newest(store: RunStore, scenario: str | None = None) -> Followed | None:
    """Return the run that ended last; None where there is none."""
    places = [
        path.parent
        for path in store.root.glob(f"{scenario or '[!.]*'}/*/*/{ENVIRONMENT_FILE}")
        if _spec(path.parent) is not None
    ]
    if not places:
        return None
    last = max(places, key=lambda path: (path / ENVIRONMENT_FILE).stat().st_mtime)
    spec = _spec(last)
    assert spec is not None
    failed = ".failed-" in last.name
    return Followed(spec=spec, folder=last, state=RunState.FAILED if failed else RunState.FINISHED)


def earlier(store: RunStore, spec: RunSpec) -> list[Timeline]:
    """Return the timelines of finished runs like this one: of its cell, else of its profile."""
    try:
        runs = store.runs(spec.scenario, spec.profile)
    except ValueError:
        return []
    runs = [run for run in runs if run.outcome.status is Status.FINISHED]
    alike = [run for run in runs if run.spec.point_id == spec.point_id] or runs
    chosen = sorted(alike, key=lambda run: run.outcome.started_at)[-_EARLIER:]
    return [
        timeline_of(folder, run.outcome.usage.wall_s, began_at(folder))
        for run in chosen
        for folder in [store.folder(run.spec)]
    ]


def is_held(lock: Path) -> bool | None:
    """Return whether a process holds a lock file; None where this machine does not say.

    It is read, not tried: to try it would get into the way of whoever takes it.
    """
    try:
        state, text = lock.stat(), _LOCKS.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None if lock.exists() else False
    device = state.st_dev
    place = f"{os.major(device):02x}:{os.minor(device):02x}:{state.st_ino}"
    inode = f":{state.st_ino} "
    return any(place in line or inode in f"{line} " for line in text.splitlines())


def changed_at(folder: Path) -> float:
    """Return when anything in a run's folder changed, but for its telemetry; epoch seconds."""
    newest_s = 0.0
    for each, _, names in os.walk(folder):
        for name in names:
            if name != "telemetry.csv":
                newest_s = max(newest_s, _changed(Path(each, name)))
    return newest_s


def began_at(folder: Path) -> float:
    """Return when a run began, epoch seconds: its spec is written first."""
    return _changed(folder / SPEC_FILE) or time.time()


def stored(store: RunStore, scenario: str, profile: Profile) -> Iterator[str]:
    """Yield what the store holds of a profile, in words."""
    folder = store.root / scenario / profile
    names = sorted(path.name for path in folder.glob("*/")) if folder.is_dir() else []
    finished = [name for name in names if "." not in name]
    failed = [name for name in names if ".failed-" in name]
    yield f"{len(finished)} finished" + (f", {len(failed)} failed" if failed else "")


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _node(folder: Path) -> str:
    """Return the node that an attempt is at work on, as its segment says."""
    try:
        document = read_json(read_regular_file(folder / SEGMENT_FILE))
        return str(document.get("node", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _spec(folder: Path) -> RunSpec | None:
    try:
        document = read_json(read_regular_file(folder / SPEC_FILE))
        return from_json(RunSpec, document)
    except (OSError, ValueError):
        return None
