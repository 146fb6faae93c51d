"""Ending processes so that none is left: by group, and by a mark in their environment.

A process can leave its group, not its environment: everything a run starts inherits
``HARNESS_RUN=<run id>:<owner>``. That finds what a run left behind, and what runs of dead owners
left behind. A program that wipes its environment *and* leaves its group is not found; containers
have no such gap. Where /proc is absent (macOS) no process tells its environment, and whatever left
its group is not found.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from harness.errors import HostError
from harness.records import record
from harness.runtime.owner import Owner, parse
from harness.variables import RUN_VARIABLE

_ENTRY = f"{RUN_VARIABLE}=".encode()
_KIB_PER_GIB = 2**20
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
_END_S = 10.0  # a killed process ends at once, unless the kernel holds it (a dead network disk)


@record
class Mark:
    """The value of `RUN_VARIABLE`: the run, and the process that started it."""

    run_id: str
    owner: Owner

    @property
    def text(self) -> str:
        """The variable's value."""
        return f"{self.run_id}:{self.owner.token}"


def marked() -> Iterator[tuple[int, Mark]]:
    """Yield (pid, mark) of every marked process that this user may inspect, but this one."""
    try:
        with os.scandir("/proc") as entries:
            pids = [int(entry.name) for entry in entries if entry.name.isdigit()]
    except FileNotFoundError:  # macOS: what no process tells cannot be listed
        return
    for pid in pids:
        if pid != os.getpid() and (mark := mark_of(pid)):
            yield pid, mark


def mark_of(pid: int) -> Mark | None:
    """Return the mark of process `pid`; None if it has none, has ended or is another user's."""
    try:
        # not by pathlib, which takes half of the time: a machine has hundreds of processes
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:  # noqa: PTH123
            environment = file.read()
    except OSError:
        return None
    if _ENTRY not in environment:  # nearly always
        return None
    for entry in environment.split(b"\0"):
        if entry.startswith(_ENTRY):
            run_id, _, token = entry[len(_ENTRY) :].decode(errors="replace").rpartition(":")
            owner = parse(token)
            return Mark(run_id=run_id, owner=owner) if owner else None
    return None


def end_group(group: int, with_signal: int = signal.SIGKILL) -> None:
    """Send a signal to a process group; an empty group is not an error."""
    with suppress(ProcessLookupError):
        os.killpg(group, with_signal)


def end_marked(mark: Mark) -> int:
    """Kill every process that carries `mark`, and return how many there were.

    Raises:
        HostError: one does not end.
    """
    ended = 0
    deadline = time.monotonic() + _END_S
    while pids := [pid for pid, found in marked() if found == mark]:  # one may fork while we look
        if time.monotonic() > deadline:
            message = f"process {pids[0]} of run {mark.run_id} does not end on SIGKILL"
            raise HostError(message, f"cat /proc/{pids[0]}/stack")
        ended += sum(_kill(pid, mark) for pid in pids)
    return ended


def memory_gib(mark: Mark, enough_gib: float) -> float:
    """Return the memory of all processes that carry `mark`, GiB.

    Pages that several of them share are counted once where the sum would otherwise be more than
    `enough_gib`. The kernel takes milliseconds to count so, and twice a second.
    """
    pids = [pid for pid, found in marked() if found == mark]
    resident = sum(map(_resident_kib, pids)) / _KIB_PER_GIB
    if resident <= enough_gib:
        return resident
    return sum(map(_proportional_kib, pids)) / _KIB_PER_GIB


def _resident_kib(pid: int) -> int:
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except OSError:  # it has just ended
        return 0
    return int(pages) * _PAGE_KIB


def _proportional_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:  # it has just ended
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _kill(pid: int, mark: Mark) -> bool:
    """Kill `pid` if it still carries `mark`, and wait until it is gone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if mark_of(pid) != mark:  # the pid was used again
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        select.select([handle], [], [], 1.0)
    finally:
        os.close(handle)
    return True
