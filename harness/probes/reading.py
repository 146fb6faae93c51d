"""A reading is a number, or the reason for its absence; functions that read files.

A probe never returns zero, None or an old value if it cannot read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from harness.records import record

_KIB_PER_GIB = 1024.0**2

T = TypeVar("T")


@record
class NotSupported:
    """The answer of a probe that has no number.

    Attributes:
        reason: why, for people; without machine-specific paths.
    """

    reason: str


Reading = float | NotSupported


class Reasons(dict[str, str]):
    """Field -> why it is None: the ``absent`` of a record of facts."""

    def known(self, field: str, value: T | NotSupported) -> T | None:
        """Return `value`, or None after recording the reason under `field`."""
        if isinstance(value, NotSupported):
            self[field] = value.reason
            return None
        return value


def check_absent(facts: Any) -> None:
    """Check that a record of facts has a reason for every None and empty field, and no other.

    Raises:
        ValueError: a field has neither a value nor a reason, or both.
    """
    missing = {field.name for field in fields(facts) if getattr(facts, field.name) in (None, ())}
    if missing != set(facts.absent):
        message = f"{type(facts).__name__}: absent {sorted(facts.absent)}, but {sorted(missing)}"
        raise ValueError(message)


def read_text(path: Path | str) -> str | NotSupported:
    """Return a small file's text, stripped, or what the system answered instead.

    A probe reads some thirty files each second, most of them of the threads of a run, whose paths
    are text: pathlib and buffers would take two thirds of its time.
    """
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return file.read().decode("utf-8", "replace").strip()
    except OSError as error:
        return NotSupported(reason=f"{Path(path).name}: {error.strerror}")


def number(text: str | NotSupported, *, scale: float = 1.0, what: str = "value") -> Reading:
    """Return the finite number that `text` is, times `scale`."""
    if isinstance(text, NotSupported):
        return text
    try:
        value = float(text) * scale
    except ValueError:
        value = math.nan
    return value if math.isfinite(value) else NotSupported(reason=f"{what}: no number in {text!r}")


def read_number(path: Path, *, scale: float = 1.0) -> Reading:
    """Return the number that a file holds, times `scale`."""
    return number(read_text(path), scale=scale, what=path.name)


def read_meminfo(root: Path) -> Mapping[str, Reading]:
    """Return MemTotal and MemAvailable, GiB, of ``/proc/meminfo`` under `root`.

    On unified memory (GB10) these are the only true figures of what a GPU allocation may use.
    """
    names = ("MemTotal", "MemAvailable")
    text = read_text(root / "proc/meminfo")
    if isinstance(text, NotSupported):
        return dict.fromkeys(names, text)
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {
        name: number(lines[name].removesuffix("kB").strip(), scale=1 / _KIB_PER_GIB, what=name)
        if name in lines
        else NotSupported(reason=f"/proc/meminfo has no {name}")
        for name in names
    }
