"""Memory admission before a run, and the watchdog that ends a run before the machine goes down.

On unified memory a GPU allocation takes from the same pool as everything else, and no control
group bounds it: owners of DGX Sparks report that the whole machine resets where another one would
see one process killed. So a budget is checked against MemAvailable before anything starts, and a
floor is watched while it runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from harness.errors import HostError
from harness.probes.reading import NotSupported, Reading, read_meminfo
from harness.records import Limits, Status, record
from harness.runtime.host import ON_CPU, Host

# The floor that owners of DGX Sparks settled on: a prompt of 128K tokens takes gigabytes within
# the time that it takes to stop a container.
UNIFIED_FLOOR_GIB = 8.0
# Elsewhere the kernel ends a process in time; this only keeps the harness itself alive.
FLOOR_GIB = 0.5
_LOOK_EVERY_S = 0.1  # reading /proc/meminfo takes some 0.1 ms
_STOP_WITHIN_S = 5.0

_SHOW_USERS = "ps -eo pid,rss,args --sort=-rss | head"
_ON_EVIDENCE = "harness run SCENARIO --profile evidence"
_DROP_CACHES = "sudo sh -c 'sync; echo 3 > /proc/sys/vm/drop_caches'"


@record
class Breach:
    """The machine's memory fell below its floor.

    Attributes:
        cause: one line with both figures.
        status: what becomes of the run.
    """

    cause: str
    status: Status = Status.OUT_OF_MEMORY


def floor_gib(host: Host) -> float:
    """Return how much memory must stay available on this machine while a run is under way, GiB."""
    return UNIFIED_FLOOR_GIB if host.unified_memory else FLOOR_GIB


def breach(available_gib: Reading, floor_gib: float) -> Breach | None:
    """Return the breach that a reading of MemAvailable is; None above the floor.

    A machine that does not say is never in breach: only Linux says, and only Linux needs it.
    """
    if isinstance(available_gib, NotSupported) or available_gib >= floor_gib:
        return None
    return Breach(
        cause=f"{available_gib:.2f} GiB of memory were available on the machine, "
        f"below the floor of {floor_gib:g} GiB"
    )


def memory_problem(limits: Limits, host: Host) -> HostError | None:
    """Return what keeps a run's memory budget from fitting; None where it fits or has no budget.

    Above the budget, the floor of this machine must stay available.
    """
    free = free_gib(host)
    if limits.memory_gib is None or free is None or limits.memory_gib <= free:
        return None
    available_gib = free + floor_gib(host)
    needed_gib = limits.memory_gib + floor_gib(host)
    need = (
        f"the run may use {limits.memory_gib:g} GiB and {floor_gib(host):g} GiB must stay "
        "available on the machine"
    )
    total_gib = _least(host.memory_total_gib, host.memory_limit_gib)
    if total_gib is not None and total_gib < needed_gib:
        message = f"memory is too small: {need}, which has {total_gib:.1f} GiB in all"
        return HostError(message, ON_CPU if limits.gpus else _ON_EVIDENCE)
    return HostError(
        f"memory is {needed_gib - available_gib:.1f} GiB short: {need}, "
        f"but {available_gib:.1f} GiB are available now",
        _DROP_CACHES if host.unified_memory else _SHOW_USERS,
    )


def free_gib(host: Host) -> float | None:
    """Return what runs may use of this machine's memory now, GiB; None where it does not say."""
    available_gib = _least(host.memory_available_gib, host.memory_limit_gib)
    return None if available_gib is None else available_gib - floor_gib(host)


def _least(*known: float | None) -> float | None:
    return min((each for each in known if each is not None), default=None)


class MemoryWatchdog:
    """Calls back once if the machine's memory falls below a floor while its ``with`` block runs.

    Args:
        floor_gib: how much must stay available, GiB; see `floor_gib`.
        on_breach: ends the run; called from the watchdog's thread.
        root: the file system's root.
        period_s: seconds between looks.

    Attributes:
        breach: the first breach; None while there was none.
    """

    def __init__(
        self,
        floor_gib: float,
        on_breach: Callable[[Breach], None],
        *,
        root: Path = Path("/"),
        period_s: float = _LOOK_EVERY_S,
    ) -> None:
        self.breach: Breach | None = None
        self._floor_gib = floor_gib
        self._on_breach = on_breach
        self._root = root
        self._period_s = period_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_STOP_WITHIN_S)

    def _run(self) -> None:
        while self.breach is None and not self._stop.wait(self._period_s):
            self.breach = breach(read_meminfo(self._root)["MemAvailable"], self._floor_gib)
        if self.breach is not None:
            self._on_breach(self.breach)
