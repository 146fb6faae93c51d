"""Memory admission before a run, and the watchdog that ends a run before the machine goes down.

On unified memory a GPU allocation takes from the same pool as everything else, and no control
group bounds it: owners of DGX Sparks report that the whole machine resets where another one would
see one process killed. So a budget is checked against MemAvailable before anything starts, and a
floor is watched while it runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from harness.errors import HostError
from harness.probes.reading import NotSupported, Reading, read_meminfo
from harness.records import Limits, Status, record
from harness.runtime.host import ON_CPU, Host
from harness.scenario.services import NeededService
from harness.workloads.api.declare import StepMemory

# The floor that owners of DGX Sparks settled on: a prompt of 128K tokens takes gigabytes within
# the time that it takes to stop a container.
UNIFIED_FLOOR_GIB = 8.0
# Elsewhere the kernel ends a process in time; this only keeps the harness itself alive.
FLOOR_GIB = 0.5
_NEAR_S, _FAR_S = 0.1, 1.0  # between two looks, near the floor and far above it
# The kernel clears each page that it hands out; this is more than all cores of a Spark clear.
_TAKEN_GIB_PER_S = 40.0
_STOP_WITHIN_S = 5.0

_SHOW_USERS = "ps -eo pid,rss,args --sort=-rss | head"
_ON_EVIDENCE = "harness run SCENARIO --profile evidence"
# What a DGX Spark's own system takes of MemTotal: owners report 121.7 GiB, and some 116 available.
_SYSTEM_GIB = 5.7
_ON_THIS_MACHINE = {"127.0.0.1", "localhost", "0.0.0.0"}  # noqa: S104 - as an address that is asked


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
        _SHOW_USERS,  # MemAvailable counts the page cache, so dropping that makes nothing free
    )


def steps_problem(
    steps: Sequence[StepMemory], beside: Sequence[NeededService], host: Host, *, served: bool
) -> HostError | None:
    """Return what keeps the worst step of a run from fitting; None where all fit.

    Args:
        steps: what each takes.
        beside: the model servers that the run asks and does not start.
        host: the machine.
        served: whether those answer, so that what they take is no longer available.
    """
    worst = max(steps, key=lambda step: step.total_gib, default=None)
    if worst is None or not host.gpus:  # without a GPU there is a plainer problem
        return None
    if not host.unified_memory:
        worst = max(steps, key=lambda step: step.gpu_gib)
        room_gib = host.gpus[0].memory_gib
        if room_gib is None or worst.gpu_gib <= room_gib:
            return None
        message = f"the GPU has {room_gib:.1f} GiB, and {worst.gpu_gib:.1f} are needed: {worst}"
        return HostError(message, ON_CPU)
    services = [each for each in beside if urlsplit(each.address).hostname in _ON_THIS_MACHINE]
    services_gib = sum(each.memory_gib or 0.0 for each in services)
    said = "; ".join(
        [
            str(worst),
            *(f"{each.role} {each.memory_gib:g} GiB" for each in services if each.memory_gib),
        ]
    )
    floor = floor_gib(host)
    if host.memory_total_gib is not None:
        room_gib = host.memory_total_gib - _SYSTEM_GIB - floor
        need_gib = worst.total_gib + services_gib
        if need_gib > room_gib:
            message = (
                f"{need_gib:.1f} GiB are needed at the worst moment, and {room_gib:.1f} is all "
                f"that system and floor leave: {said}"
            )
            return HostError(message, ON_CPU)
    # servers that the user starts are there already, and MemAvailable no longer counts them
    now_gib = worst.total_gib - worst.beside_gib + (0.0 if served else services_gib)
    free = free_gib(host)
    if free is None or now_gib <= free:
        return None
    message = f"{now_gib - free:.1f} GiB are short above the floor of {floor:g}: {said}"
    return HostError(message, _SHOW_USERS)


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

    Attributes:
        breach: the first breach; None while there was none.
    """

    def __init__(
        self,
        floor_gib: float,
        on_breach: Callable[[Breach], None],
        *,
        root: Path = Path("/"),
    ) -> None:
        self.breach: Breach | None = None
        self._floor_gib = floor_gib
        self._on_breach = on_breach
        self._root = root
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_STOP_WITHIN_S)

    def _run(self) -> None:
        wait_s = _NEAR_S
        while self.breach is None and not self._stop.wait(wait_s):
            available_gib = read_meminfo(self._root)["MemAvailable"]
            self.breach = breach(available_gib, self._floor_gib)
            wait_s = _FAR_S
            if not isinstance(available_gib, NotSupported):
                above_gib = available_gib - self._floor_gib
                wait_s = min(max(above_gib / _TAKEN_GIB_PER_S, _NEAR_S), _FAR_S)
        if self.breach is not None:
            self._on_breach(self.breach)
