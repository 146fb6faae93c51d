"""The digest of a workload's source code: what must change for a finished run to be run again."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from harness.workloads.api.declare import Workload

_RUNNER = "harness.workloads.__main__"
_REGISTRY = "harness.workloads.api.registry"  # names every workload, and loads one
_IMPORT = re.compile(
    r"^[ \t]*(?:from ([\w.]+) import (\([^)]*\)|[^\n]*)|import ([\w.]+))", re.MULTILINE
)
_NAMED = re.compile(r'"(\w+(?:\.\w+)+)"')  # started by its name: ``python -m``, or in a sandbox


@cache
def source_digest(workload: Workload) -> str:
    """Return the sha256 over every module of ours that a run of `workload` can load.

    These are the modules that its entry, its derivation and the runner import or start by name, and
    what those import. Comments count too: telling a harmless edit from a harmful one is not worth
    the doubt.
    """
    parts = [part.partition(":")[0] for part in (workload.entry, workload.derivation) if part]
    ours = {name.partition(".")[0] for name in (_RUNNER, *parts)}
    waiting = [_RUNNER, *parts]
    found: dict[str, Path] = {}
    while waiting:
        name = waiting.pop()
        if name in found or name.partition(".")[0] not in ours or (file := _file_of(name)) is None:
            continue
        found[name] = file
        source = file.read_text(encoding="utf-8")
        for package, members, module in _IMPORT.findall(source):
            waiting.append(module or package)
            if package:  # a name imported from a package may be its module
                waiting += [f"{package}.{member}" for member in re.findall(r"\w+", members)]
        if name != _REGISTRY:
            waiting += _NAMED.findall(source)
    total = hashlib.sha256()
    for name, file in sorted(found.items()):
        total.update(f"{name}\0".encode())
        total.update(file.read_bytes())
    return total.hexdigest()


@cache
def _file_of(module: str) -> Path | None:
    """Return the file of a module of this project; None if it is not one."""
    top, *parts = module.split(".")
    spec = find_spec(top)
    assert spec is not None
    assert spec.origin is not None
    place = Path(spec.origin).parent.joinpath(
        *parts
    )  # looked up in files, so that nothing is imported
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.is_file()), None)
