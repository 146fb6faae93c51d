"""Why something ended that could not say so itself, as far as the machine's records tell.

A harness that is killed writes no outcome. What is known at its beginning (`signs_now`) and what
the kernel says afterwards tell most causes apart: another boot is a restart, and one without a
shutdown record is a loss of power, a reset or a freeze; in the same boot the kernel's log names the
processes that it killed for lack of memory, GPU faults and its watchdogs. What no record names is
said to be a kill.

Everything is read below a root, so that a test can lay records out.
"""

from __future__ import annotations

import os
import re
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from harness.probes.reading import NotSupported, read_text
from harness.records import record

_NO_BOOT = "0" * 8  # where there is no /proc
_OOM = re.compile(r"out of memory: Killed process (\d+) \(([^)]*)\)", re.IGNORECASE)
_GPU = re.compile(r"NVRM: Xid|NVRM: GPU .* has fallen off the bus", re.IGNORECASE)
_WATCHDOG = re.compile(r"soft lockup|hard LOCKUP|blocked for more than \d+ seconds", re.IGNORECASE)
_RESET_BY_WATCHDOG = 0x20  # WDIOF_CARDRESET of linux/watchdog.h
_UTMP = struct.Struct("hi32s4s32s256shhiii4i20s")  # of wtmp(5) on Linux
_RUN_LEVEL = 1
_FIRST_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO of linux/proc_ns.h
_MICROSECONDS = 1e6


@record
class Signs:
    """What a machine says of itself at a moment.

    Attributes:
        boot_id: of the kernel; ``00000000`` where it has none.
        monotonic_s: by the clock of its kernel's log.
        oom_kills: processes that it has killed for lack of memory; None where it keeps no count.
        cgroup_oom_kills: the same, in our own control group.
    """

    boot_id: str
    monotonic_s: float
    oom_kills: int | None = None
    cgroup_oom_kills: int | None = None


def signs_now(root: Path = Path("/")) -> Signs:
    """Return what the machine says of itself now."""
    boot = read_text(root / "proc/sys/kernel/random/boot_id")
    return Signs(
        boot_id=_NO_BOOT if isinstance(boot, NotSupported) else boot,
        monotonic_s=time.monotonic(),
        oom_kills=_counter(root / "proc/vmstat", "oom_kill"),
        cgroup_oom_kills=_counter(_own_cgroup(root) / "memory.events", "oom_kill"),
    )


def why_ended(before: Signs, began_s: float, root: Path = Path("/")) -> str:
    """Return one clause on why a process ended that can no longer say so.

    Args:
        before: taken when it began.
        began_s: when that was, seconds since the epoch.
        root: the file system's root.
    """
    now = signs_now(root)
    if _NO_BOOT in {before.boot_id, now.boot_id}:
        return "killed, or the machine restarted: this system keeps no record of it"
    if before.boot_id != now.boot_id:
        return _why_restarted(began_s, root)
    lines = list(_kernel_log(root, before.monotonic_s))
    for text in lines:
        if found := _OOM.search(text):
            return f"killed while the kernel was out of memory: it killed {found[2]} ({found[1]})"
    if text := next((text for text in lines if _GPU.search(text)), ""):
        return f"killed after a GPU fault in the kernel's log: {text.strip()}"
    if text := next((text for text in lines if _WATCHDOG.search(text)), ""):
        return f"killed after the kernel's watchdog spoke: {text.strip()}"
    for earlier, later in (
        (before.cgroup_oom_kills, now.cgroup_oom_kills),
        (before.oom_kills, now.oom_kills),
    ):
        if earlier is not None and later is not None and later > earlier:
            return f"killed, and the kernel has killed {later - earlier} for lack of memory since"
    return "killed by a user or a program; the kernel names no reason"


def killed_for_memory(pid: int, before: Signs, root: Path = Path("/")) -> bool:
    """Return whether the kernel killed a process for lack of memory, as far as its records tell.

    The count that it keeps is of every process, so one that something else killed is told from it
    by the log, where we may read that and it numbers processes as we do.

    Args:
        pid: of the process, which SIGKILL has ended.
        before: taken when it began.
        root: the file system's root.
    """
    now = signs_now(root)
    counts = [(before.cgroup_oom_kills, now.cgroup_oom_kills), (before.oom_kills, now.oom_kills)]
    earlier, later = next((pair for pair in counts if None not in pair), (0, 0))
    if (later or 0) <= (earlier or 0):
        return False
    named = {
        int(found[1])
        for text in _kernel_log(root, before.monotonic_s)
        if (found := _OOM.search(text))
    }
    return not named or pid in named or not _is_first_namespace(root)


def _is_first_namespace(root: Path) -> bool:
    """Return whether our process ids are those of the kernel's log."""
    try:
        return (root / "proc/self/ns/pid").readlink().name == f"pid:[{_FIRST_PID_NAMESPACE}]"
    except OSError:
        return False


def _why_restarted(began_s: float, root: Path) -> str:
    if any(at_s >= began_s for at_s in _shutdowns(root / "var/log/wtmp")):
        return "the machine was shut down"
    with suppress(OSError):
        if any((root / "sys/fs/pstore").iterdir()):
            return "the machine restarted after a crash of its kernel (see /sys/fs/pstore)"
    for status in sorted((root / "sys/class/watchdog").glob("*/bootstatus")):
        text = read_text(status)
        if not isinstance(text, NotSupported) and int(text or "0", 0) & _RESET_BY_WATCHDOG:
            return "the machine's hardware watchdog reset it"
    return "the machine restarted without a shutdown: loss of power, a reset or a freeze"


def _shutdowns(wtmp: Path) -> Iterator[float]:
    """Yield when the machine was shut down in order, seconds since the epoch."""
    try:
        content = wtmp.read_bytes()
    except OSError:
        return
    whole = len(content) // _UTMP.size * _UTMP.size
    for kind, _, _, _, user, *rest in _UTMP.iter_unpack(content[:whole]):
        if kind == _RUN_LEVEL and user.rstrip(b"\0") == b"shutdown":
            yield float(rest[4])


def _kernel_log(root: Path, since_s: float) -> Iterator[str]:
    """Yield the kernel's messages since a moment of its clock; none where we may not read them."""
    try:
        descriptor = os.open(root / "dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return
    try:
        for line in _records(descriptor):
            head, _, text = line.partition(";")
            # priority, number, microseconds since boot, flags
            at = head.split(",")[2:3]
            if at and at[0].isdecimal() and int(at[0]) / _MICROSECONDS >= since_s:
                yield text
    finally:
        os.close(descriptor)


def _records(descriptor: int) -> Iterator[str]:
    while True:
        try:
            chunk = os.read(descriptor, 1 << 16)  # one record; of a plain file many
        except BrokenPipeError:  # the record was overwritten while we read: the next one follows
            continue
        except OSError:  # no more for now, or not permitted
            return
        if not chunk:
            return
        yield from chunk.decode("utf-8", "replace").splitlines()


def _counter(path: Path, name: str) -> int | None:
    text = read_text(path)
    if isinstance(text, NotSupported):
        return None
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdecimal():
            return int(value)
    return None


def _own_cgroup(root: Path) -> Path:
    """Return the folder of our control group (version 2)."""
    text = read_text(root / "proc/self/cgroup")
    path = "" if isinstance(text, NotSupported) else text.rpartition("::")[2].partition("\n")[0]
    return root / "sys/fs/cgroup" / path.lstrip("/")
