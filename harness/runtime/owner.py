"""The process that started a run: enough to tell later whether it is still alive.

A pid alone is not enough: pids are reused, machines restart, and containers have pid spaces of
their own. So an owner is a boot, a pid namespace, a pid and that process's start time.

A system without /proc (macOS) tells none of them but the pid. Its owners are of boot 00000000, and
nobody calls them dead.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

from harness.records import record

_PROC = Path("/proc")
_TOKEN = re.compile(r"([0-9a-f]{8})\.(\d+)\.(\d+)\.(\d+)\Z")
_UNKNOWN_BOOT = "0" * 8
_STARTED_FIELD = 19  # of /proc/PID/stat, counted from the state that follows the program's name


@record
class Owner:
    """The process that started a run.

    Attributes:
        boot: first 8 hex digits of the kernel's boot id.
        namespace: inode of its pid namespace.
        pid: its process id in that namespace.
        started: its start time, clock ticks since boot.
    """

    boot: str
    namespace: int
    pid: int
    started: int

    @property
    def token(self) -> str:
        """One word for an environment variable or a container label."""
        return f"{self.boot}.{self.namespace}.{self.pid}.{self.started}"

    @property
    def is_here(self) -> bool:
        """Whether this process can see the owner's pid at all; never where /proc is absent."""
        if self.boot == _UNKNOWN_BOOT:
            return False
        return self.boot == boot_id()[:8] and self.namespace == _namespace()

    @property
    def is_dead(self) -> bool:
        """Whether the owner belonged here and has ended; a zombie has ended."""
        return self.is_here and _start_time(self.pid) != self.started


def this_process() -> Owner:
    """Return the owner that this process is."""
    pid = os.getpid()
    started = _start_time(pid)
    if started is None:
        return Owner(boot=_UNKNOWN_BOOT, namespace=0, pid=pid, started=0)
    return Owner(boot=boot_id()[:8], namespace=_namespace(), pid=pid, started=started)


def parse(token: str) -> Owner | None:
    """Return the owner that `token` names, or None where it names none."""
    match = _TOKEN.match(token)
    if match is None:
        return None
    boot, *numbers = match.groups()
    namespace, pid, started = map(int, numbers)
    return Owner(boot=boot, namespace=namespace, pid=pid, started=started)


@cache
def boot_id() -> str:
    """Return the kernel's id of this boot, which a machine that restarted has another of.

    Where /proc is absent it is ``00000000``.
    """
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return _UNKNOWN_BOOT


@cache
def _namespace() -> int:
    return (_PROC / "self/ns/pid").stat().st_ino


def _start_time(pid: int) -> int | None:
    """Return when process `pid` started, in clock ticks since boot; None if it has ended."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    state, *rest = text.rpartition(")")[2].split()
    return None if state in "ZX" else int(rest[_STARTED_FIELD - 1])
