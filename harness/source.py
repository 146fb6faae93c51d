"""Which of our modules a program can load, and the digest of their source.

Comments count too: telling a harmless edit from a harmful one is not worth the doubt.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_REGISTRY = "harness.workloads.api.registry"  # names every workload, and loads one
_DECLARES = "\nWORKLOADS = ("
_IMPORT = re.compile(
    r"^[ \t]*(?:from ([\w.]+) import (\([^)]*\)|[^\n]*)|import ([\w.]+))", re.MULTILINE
)
_NAMED = re.compile(r'"(\w+(?:\.\w+)+)"')  # started by its name: ``python -m``, or in a sandbox


@cache
def digest_of(roots: tuple[str, ...], without: tuple[str, ...] | None = None) -> str:
    """Return the sha256 over the source of `modules`."""
    total = hashlib.sha256()
    for name, file in sorted(modules(roots, without).items()):
        total.update(f"{name}\0".encode())
        total.update(file.read_bytes())
    return total.hexdigest()


def modules(roots: Iterable[str], without: tuple[str, ...] | None = None) -> dict[str, Path]:
    """Return name -> file of every module of ours that `roots` can load, themselves included.

    These are the modules that they import or start by name, and what those import.

    Args:
        roots: names of modules; the packages on top of them are ours, all others are not.
        without: modules, or packages with all in them, that are neither counted nor followed. With
            it declarations of workloads are left out too, whose values are params of what is
            asked. None counts all.
    """
    waiting = list(roots)
    given = frozenset(waiting)
    ours = {name.partition(".")[0] for name in waiting}
    found: dict[str, Path] = {}
    while waiting:
        name = waiting.pop()
        if name in found or name.partition(".")[0] not in ours or (file := _file_of(name)) is None:
            continue
        if any(name == each or name.startswith(f"{each}.") for each in without or ()):
            continue
        source = file.read_text(encoding="utf-8")
        if without is not None and name not in given and _DECLARES in source:
            continue
        found[name] = file
        waiting += _imported(source)
        if name != _REGISTRY:
            waiting += _NAMED.findall(source)
    return found


def _imported(source: str) -> Iterator[str]:
    for package, members, module in _IMPORT.findall(source):
        yield module or package
        # a name imported from a package may be its module
        yield from (f"{package}.{member}" for member in re.findall(r"\w+", members) if package)


@cache
def _file_of(module: str) -> Path | None:
    """Return the file of a module of this project; None if it is not one."""
    top, *parts = module.split(".")
    spec = find_spec(top)
    assert spec is not None
    assert spec.origin is not None
    # looked up in files, so that nothing is imported
    place = Path(spec.origin).parent.joinpath(*parts)
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.is_file()), None)
