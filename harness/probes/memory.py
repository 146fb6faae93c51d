"""Memory that a tree of processes holds, and how long work waited for the machine.

The tree is followed through ``/proc/PID/task/TID/children``, so that a sample costs in proportion
to our own processes and not to all of the machine's.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from harness.probes.reading import NotSupported, Reading, number, read_text

_BYTES_PER_GIB = 1024.0**3


def tree_rss_gib(root: Path, pid: int) -> Reading:
    """Return the resident memory of process `pid` and all its descendants, GiB.

    Pages that several processes share are counted once for each, so this is an upper bound; what
    a GPU allocates from unified memory is in no process's resident set, so this does not bound it.
    """
    own = _rss_bytes(root, pid)
    if isinstance(own, NotSupported):
        return own
    if not (root / f"proc/{pid}/task/{pid}/children").exists():
        return NotSupported(reason="this kernel does not list the children of a process")
    sizes = [_rss_bytes(root, each) for each in _tree(root, pid)]
    # a child that ended after the listing uses no memory any more
    return sum(size for size in sizes if not isinstance(size, NotSupported)) / _BYTES_PER_GIB


def pressure_pct(root: Path, resource: str) -> Reading:
    """Return the share of the last 10 s in which some task waited for `resource`, percent.

    Args:
        root: the file system's root.
        resource: ``cpu``, ``memory`` or ``io``.
    """
    text = read_text(root / "proc/pressure" / resource)
    if isinstance(text, NotSupported):
        return NotSupported(reason=f"no pressure figures for {resource}")
    first = text.partition("\n")[0]
    fields = dict(field.split("=", 1) for field in first.split() if "=" in field)
    return number(fields.get("avg10", ""), what=f"pressure/{resource}")


def _tree(root: Path, pid: int) -> Iterator[int]:
    yield pid
    tasks = f"{root}/proc/{pid}/task"
    try:
        threads = os.listdir(tasks)  # noqa: PTH208 - text, as `read_text` says
    except OSError:  # it has just ended
        return
    for thread in threads:
        listed = read_text(f"{tasks}/{thread}/children")
        for child in () if isinstance(listed, NotSupported) else listed.split():
            yield from _tree(root, int(child))


def _rss_bytes(root: Path, pid: int) -> Reading:
    text = read_text(f"{root}/proc/{pid}/statm")
    if isinstance(text, NotSupported):
        return NotSupported(reason=f"process: {text.reason}")
    pages = [*text.split(), "", ""][1]
    return number(pages, scale=mmap.PAGESIZE, what="statm")
