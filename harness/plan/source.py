"""The digest of a workload's source code: what must change for a finished run to be run again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from harness.workloads.declare import Workload

_SHARED = ("harness.workloads", "harness.workloads.common")
_FOUNDATION = ("harness.records", "harness.units", "harness.errors")
_ANOTHER_ROOM = re.compile(r"^\s*(?:from|import) (harness\.workloads\.\w+)\b", re.MULTILINE)


@cache
def source_digest(workload: Workload) -> str:
    """Return the sha256 over the code a run executes: its rooms, the shared rooms, the records.

    Its rooms are the one of its program, and those that a room of them imports from. Comments count
    too: telling a harmless edit from a harmful one is not worth the doubt.
    """
    files = {file for package in _SHARED for file in _folder(package).glob("*.py")}
    files |= _rooms(workload.entry.partition(":")[0].rpartition(".")[0])
    files |= {_module_file(module) for module in _FOUNDATION}
    return _digest(sorted(files))


def _rooms(entered: str) -> set[Path]:
    """Return the files of a room, of the rooms within it, and of all that they import from."""
    found: dict[str, set[Path]] = {}
    waiting = {entered}
    while waiting:
        room = waiting.pop()
        # what lies in a shared room itself is counted already, and opens no other
        found[room] = set() if room in _SHARED else set(_folder(room).rglob("*.py"))
        waiting |= {each for file in found[room] for each in _imported_rooms(file)} - set(found)
    return set().union(*found.values())


def _imported_rooms(file: Path) -> Iterator[str]:
    for name in _ANOTHER_ROOM.findall(file.read_text(encoding="utf-8")):
        if _module_file(name).name == "__init__.py":
            yield name


def _folder(package: str) -> Path:
    return _module_file(package).parent


def _module_file(module: str) -> Path:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def _digest(files: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.parent.name}/{file.name}\0".encode())
        total.update(file.read_bytes())
    return total.hexdigest()
