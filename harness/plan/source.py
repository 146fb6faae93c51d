"""The digest of a workload's source code: what must change for a finished run to be run again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from harness.workloads.declare import Workload

_SHARED = ("harness.workloads", "harness.workloads.common")
_FOUNDATION = ("harness.records", "harness.units", "harness.errors")


@cache
def source_digest(workload: Workload) -> str:
    """Return the sha256 over the code a run executes: its room, the shared rooms, the records.

    Comments count too: telling a harmless edit from a harmful one is not worth the doubt.
    """
    room = workload.entry.partition(":")[0].rpartition(".")[0]
    files = {file for package in _SHARED for file in _folder(package).glob("*.py")}
    if room not in _SHARED:  # a room may have rooms of its own
        files |= set(_folder(room).rglob("*.py"))
    files |= {_module_file(module) for module in _FOUNDATION}
    return _digest(sorted(files))


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
