"""Control groups: the kernel limits what all processes of a sandbox use together.

Version 1 has a tree for each controller, version 2 one for all. Where this user may write to
neither, as on a desktop, there is no group, and the caller enforces what it can without.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
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
    """

    folders: tuple[Path, ...]

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
    wanted = {parent / name: settings for parent, settings in _trees(limits, root, own).items()}
    group = ControlGroup(folders=tuple(wanted))
    try:
        for folder, settings in wanted.items():
            _sweep(folder.parent)
            folder.mkdir()
            for file, value in settings.items():
                if file not in _OPTIONAL or (folder / file).exists():
                    (folder / file).write_text(str(value), encoding="ascii")
    except OSError:
        group.remove()
        return None
    return group if wanted else None


def _trees(limits: GroupLimits, root: Path, own: Path) -> Mapping[Path, Settings]:
    """Return parent folder -> what is written below it; empty where no group can be made."""
    if (root / "cgroup.controllers").exists():
        # at the root: a group that has processes, as this one's, cannot have groups in it
        given = (root / "cgroup.subtree_control").read_text(encoding="ascii").split()
        together: Settings = {
            "memory.max": limits.memory_bytes,
            "memory.swap.max": 0,
            "pids.max": limits.processes,
            "cpu.max": f"{round(limits.cpus * _PERIOD_US)} {_PERIOD_US}",
        }
        return {root: together} if set(given) >= {"memory", "pids", "cpu"} else {}
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
    lines = [line.split(":", 2) for line in own.read_text(encoding="utf-8").splitlines()]
    paths = {name: path for _, names, path in lines for name in names.split(",")}
    if not settings.keys() <= paths.keys():
        return {}
    return {
        root / controller / paths[controller].lstrip("/"): files
        for controller, files in settings.items()
    }


def _sweep(parent: Path) -> None:
    """Remove the groups of harnesses that were killed; the kernel keeps one that is in use."""
    for folder in parent.glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path(f"/proc/{pid}").exists():
            with suppress(OSError):
                folder.rmdir()
