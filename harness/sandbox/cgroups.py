"""Control groups: the kernel limits what all processes of a sandbox use together.

Version 1 has a tree for each controller, version 2 one for all. In version 2 a user has a part of
the tree as well where systemd delegates it, as it does to what ``systemd-run --user --scope``
starts. Where this user may write to none of them, there is no group, and the caller enforces what
it can without.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from harness.records import record

ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_PREFIX = "harness-sandbox-"
_PERIOD_US = 100_000
_OPTIONAL = frozenset(
    {"memory.memsw.limit_in_bytes", "memory.swap.max"}
)  # only where the kernel counts swap
_NEEDED = frozenset({"memory", "pids"})  # a group without one of them would bound too little
_CPU = "cpu"  # systemd does not delegate it everywhere
_numbers = itertools.count()

Settings = Mapping[str, int | str]  # file -> what is written to it


@record
class GroupLimits:
    """What the processes of a group may use together."""

    memory_bytes: int
    processes: int
    cpus: float


@record
class ControlGroup:
    """The group of one sandbox.

    Attributes:
        folders: one in each tree.
        has_cpu: whether it limits processor time too.
    """

    folders: tuple[Path, ...]
    has_cpu: bool = True

    def add(self, pid: int) -> None:
        """Put a process into the group; what it starts from now on is in it too."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def remove(self) -> None:
        """Remove the group; one that the kernel still holds is removed with the next one."""
        for folder in self.folders:
            with suppress(OSError):
                folder.rmdir()


def make_group(limits: GroupLimits, root: Path = ROOT, own: Path = _OWN) -> ControlGroup | None:
    """Make a group with these limits; None where this user may not."""
    if not own.exists():  # no Linux, or no /proc
        return None
    name = f"{_PREFIX}{os.getpid()}-{next(_numbers)}"
    for trees in _trees(limits, root, own):
        wanted = {parent / name: settings for parent, settings in trees.items()}
        has_cpu = any(file.startswith(f"{_CPU}.") for each in trees.values() for file in each)
        group = ControlGroup(folders=tuple(wanted), has_cpu=has_cpu)
        try:
            for folder, settings in wanted.items():
                _sweep(folder.parent)
                folder.mkdir()
                for file, value in settings.items():
                    if file not in _OPTIONAL or (folder / file).exists():
                        (folder / file).write_text(str(value), encoding="ascii")
        except OSError:
            group.remove()
        else:
            return group
    return None


def _trees(limits: GroupLimits, root: Path, own: Path) -> Iterator[Mapping[Path, Settings]]:
    """Yield what may be tried: parent folder -> what is written below it."""
    lines = [line.split(":", 2) for line in own.read_text(encoding="utf-8").splitlines()]
    paths = {name: path for _, names, path in lines for name in names.split(",")}
    if (root / "cgroup.controllers").exists():
        yield from _delegated(limits, root, root / paths.get("", "/").lstrip("/"))
        return
    settings: Mapping[str, Settings] = {
        "memory": {
            "memory.limit_in_bytes": limits.memory_bytes,
            "memory.memsw.limit_in_bytes": limits.memory_bytes,
        },
        "pids": {"pids.max": limits.processes},
        "cpu": {
            "cpu.cfs_period_us": _PERIOD_US,
            "cpu.cfs_quota_us": round(limits.cpus * _PERIOD_US),
        },
    }
    if settings.keys() <= paths.keys():
        yield {
            root / controller / paths[controller].lstrip("/"): files
            for controller, files in settings.items()
        }


def _delegated(limits: GroupLimits, root: Path, own: Path) -> Iterator[Mapping[Path, Settings]]:
    """Yield the groups of version 2 above this process's that this user may make groups in.

    Not that itself: a group that has processes cannot have groups in it. A process may be moved
    between two groups by whoever may write to the one above both.
    """
    for parent in (own, *own.parents):
        if not parent.is_relative_to(root):
            return
        control, processes = parent / "cgroup.subtree_control", parent / "cgroup.procs"
        given = set(control.read_text(encoding="ascii").split()) if control.exists() else set()
        if given >= _NEEDED and os.access(processes, os.W_OK):
            together: dict[str, int | str] = {
                "memory.max": limits.memory_bytes,
                "memory.swap.max": 0,
                "pids.max": limits.processes,
            }
            if _CPU in given:
                together["cpu.max"] = f"{round(limits.cpus * _PERIOD_US)} {_PERIOD_US}"
            yield {parent: together}


def _sweep(parent: Path) -> None:
    """Remove the groups of harnesses that were killed; the kernel keeps one that is in use."""
    for folder in parent.glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path(f"/proc/{pid}").exists():
            with suppress(OSError):
                folder.rmdir()


NO_GROUP = "memory is looked at 20 times a second, the kernel's own memory is not bounded"


def bounds(root: Path = ROOT, own: Path = _OWN) -> str:
    """Say what bounds a sandbox that this user makes without containers, by trying a group."""
    group = make_group(GroupLimits(memory_bytes=1 << 30, processes=64, cpus=1.0), root, own)
    if group is None:
        return NO_GROUP
    waits = [sys.executable, "-I", "-S", "-c", "input()"]
    with subprocess.Popen(waits, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            group.add(process.pid)
        except OSError:
            return NO_GROUP
        finally:
            process.communicate()
            group.remove()
    found = "memory is bounded by a control group"
    return found if group.has_cpu else f"{found}, processor time is not"
