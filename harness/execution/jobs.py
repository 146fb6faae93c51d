"""Runs side by side: how many this machine has room for, and the threads that wait for them.

Each run is a process or container of its own; a thread here starts it, keeps its logs and waits. So
whatever ends this process, ``kill -9`` too, ends all of them as it ends one (docs/design/003), and
a run meets the same program, files and seeds as alone. Only the clock is another: what depends on
it is marked (`RunOutcome.shared_with`) and never compared.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from harness.records import RunSpec, record
from harness.runtime.host import Host
from harness.runtime.memory import free_gib

_HEAR_S = 0.1  # how often the thread that hears signals looks up while others are at work

Item = TypeVar("Item")


@record
class Room:
    """How many runs go side by side, and what keeps it from being more."""

    jobs: int
    reason: str


def room(asked: int | None, owed: Sequence[RunSpec], host: Host) -> Room:
    """Return how many of `owed` may be under way at once on this machine.

    Args:
        asked: the most that the user wants; None for as many as there is declared room for, which
            is one where the profile does not say what a run needs.
        owed: the runs.
        host: the machine.
    """
    bounds = [Room(jobs=max(1, len(owed)), reason="there are no more")]
    if asked is not None:
        bounds.append(Room(jobs=asked, reason="asked for"))
    if any(spec.limits.gpus for spec in owed):
        bounds.append(Room(jobs=1, reason="runs on a GPU go one at a time"))
    for need, key, has in (
        (max((s.limits.cores or 0 for s in owed), default=0), "cores", host.cores),
        (max((s.limits.memory_gib or 0 for s in owed), default=0), "memory_gib", free_gib(host)),
    ):
        declared = all(getattr(spec.limits, key) for spec in owed)
        if declared and owed and has is not None:
            jobs = max(1, int(has // need))
            reason = f"a run needs limits.{key} {need:g} of {has:.4g}"
            bounds.append(Room(jobs=jobs, reason=reason))
        elif asked is None:
            what = "this machine does not tell its" if declared else "the profile declares no"
            bounds.append(Room(jobs=1, reason=f"{what} limits.{key}"))
        elif key == "cores" and has is not None:
            bounds.append(Room(jobs=max(1, int(has)), reason=f"the machine has {has} cores"))
    return min(bounds, key=lambda bound: bound.jobs)


def crew_for(side_by_side: Room, nodes: int | None, runs: Sequence[RunSpec]) -> Crew:
    """Return the crew for a plan; on a cluster it hands each node one run more than fits there.

    The extra run waits on its node, which starts it as soon as another one ends.

    Args:
        side_by_side: how many runs fit on one machine.
        nodes: how many nodes the cluster has; None without a cluster.
        runs: of the plan.
    """
    if nodes is None:
        return Crew(side_by_side.jobs)
    jobs = min(len(node_blocks(runs)), nodes * (side_by_side.jobs + 1))
    return Crew(max(1, jobs), beside=side_by_side.jobs - 1)


def node_blocks(runs: Sequence[RunSpec]) -> list[list[tuple[int, RunSpec]]]:
    """Return the runs, numbered from 1, in groups; one node executes a group in this order.

    With several replicates, a group is one replicate: its cells are compared with each other, and
    so run on the same node, under the same drift. Otherwise each run is a group of its own, goes to
    any node, and figures that depend on the clock are not compared across nodes.
    """
    numbered = list(enumerate(runs, 1))
    several = len({spec.replicate for spec in runs}) > 1 and len({s.point_id for s in runs}) > 1
    if not several:
        return [[each] for each in numbered]
    groups: dict[int, list[tuple[int, RunSpec]]] = {}
    for each in numbered:
        groups.setdefault(each[1].replicate, []).append(each)
    return list(groups.values())


class Crew:
    """Does the runs of a plan, several at a time.

    Args:
        jobs: how many; with one there is no thread.
        beside: how many other runs may share a run's machine; None for all that are under way.

    Attributes:
        jobs: how many.
        stop: set where the runs that are under way must end: the others' work is in vain.
        ended_by: the exception that set it; None where none has, and with one job.
    """

    def __init__(self, jobs: int = 1, beside: int | None = None) -> None:
        self.jobs = jobs
        self._most_beside = beside
        self._lock = threading.Lock()
        self._working = 0
        self._most: dict[str, int] = {}  # by run under way: the most that were so at once
        self.stop = threading.Event()
        self.ended_by: BaseException | None = None

    @property
    def beside(self) -> int:
        """How many other runs may share a run's machine."""
        return self.jobs - 1 if self._most_beside is None else self._most_beside

    def each(self, work: Callable[[Item], None], items: Sequence[Item]) -> None:
        """Do `work` on every item; the first exception, Ctrl-C too, ends all that are under way."""
        if self.jobs == 1:
            for item in items:
                work(item)
            return

        def one(item: Item) -> None:
            with self._lock:
                if self.stop.is_set():
                    return
                self._working += 1
            try:
                work(item)
            except BaseException as error:  # noqa: BLE001 - raised below, by the thread that waits
                self._end_all(error)
            finally:
                with self._lock:
                    self._working -= 1

        pool = ThreadPoolExecutor(self.jobs, thread_name_prefix="run")
        try:  # Ctrl-C may come between two submits: the first runs are under way by then
            futures = [pool.submit(one, item) for item in items]
            # never one long wait: a signal that comes just before it is heard only after it
            while not all(future.done() for future in futures) and not self.stop.wait(_HEAR_S):
                pass
        except BaseException as error:  # noqa: BLE001 - raised below: Ctrl-C, for this thread only
            self._end_all(error)
        finally:
            pool.shutdown()  # knows no thread whose start Ctrl-C broke off, so it does not wait
            while self._working:
                time.sleep(_HEAR_S)
        if self.ended_by is not None:
            raise self.ended_by

    def _end_all(self, error: BaseException) -> None:
        """Stop what is under way; the first exception counts, as what others end with follows."""
        with self._lock:
            self.ended_by = self.ended_by or error
        self.stop.set()

    @contextmanager
    def joined(self, run_id: str) -> Iterator[Callable[[], int]]:
        """Count a run as under way; gives what says the most others that were so meanwhile."""
        with self._lock:
            self._most[run_id] = 0
            for each in self._most:
                self._most[each] = max(self._most[each], len(self._most))
        most = 0
        try:
            yield (
                lambda: most - 1 if self._most_beside is None else min(most - 1, self._most_beside)
            )
        finally:
            with self._lock:
                most = self._most.pop(run_id)
