"""How a run gets on, for whoever watches it: phase, step k of n, and the figures of a step.

::

    for step in train(...):
        progress.tell("train full", step.number, params.max_steps, {"reward": step.reward})

Anything inside a run may tell, also a process that it starts: like a log, there is one place that
all of it goes to, the file that `PROGRESS_VARIABLE` names, and without one nothing is written. No
result is ever read from it. Each line is one JSON object, appended whole:

==========  ======================================================================
at          seconds since the epoch, by this machine's clock
phase       what is being done: ``train full``
step, of    how far it is, and how far it goes; null where nobody knows
unit        of both: ``step``, ``rollout``, ``task``
detail      the same four of what is done within the step, as ``what, step, of, unit``; or null
values      figures of the step: ``{"reward": 0.41}``
==========  ======================================================================

A phase that tells thousands of times a second costs as little as one that does so once: no two
lines of one phase follow each other within half a second, and later not within a two-thousandth
of the time that has gone by.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from harness.variables import PROGRESS_VARIABLE

PROGRESS_FILE = "progress.jsonl"
_LEAST_S, _MOST_S = 0.5, 10.0  # between two lines
_SHARE = 1 / 2000  # of the time that has gone by
_MOST_TEXT = 200

T = TypeVar("T")


class _Sink:
    """The file of this process, opened when something is first told."""

    def __init__(self) -> None:
        self.main: dict[str, object] = {}  # what `tell` said last
        self._lock = threading.Lock()
        self._path, self._descriptor = "", -1
        self._began = 0.0
        self._written: dict[str, float] = {}

    def write(self, key: str, line: Mapping[str, object], *, at_once: bool) -> None:
        """Append a line, unless the phase has written one just now."""
        path = os.environ.get(PROGRESS_VARIABLE, "")
        if not path:
            return
        with self._lock, suppress(OSError):  # a full disk ends no run that only says how it goes
            now = time.monotonic()
            if path != self._path:
                self._open(path, now)
            pause_s = min(_MOST_S, max(_LEAST_S, _SHARE * (now - self._began)))
            if at_once or now - self._written.get(key, -math.inf) >= pause_s:
                self._written[key] = now
                text = json.dumps({"at": round(time.time(), 3), **line}, ensure_ascii=False)
                os.write(self._descriptor, f"{text}\n".encode(errors="replace"))

    def _open(self, path: str, now: float) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._path, self._began, self._written = path, now, {}
        self._descriptor = os.open(path, flags, 0o644)


_SINK = _Sink()


def tell(
    phase: str,
    step: int | None = None,
    of: int | None = None,
    values: Mapping[str, float] = MappingProxyType({}),
    *,
    unit: str = "step",
) -> None:
    """Say which phase a run is in, and how far.

    Args:
        phase: in words, alike at every run of a workload; a new one is written at once.
        step: how many are done.
        of: how many there will be.
        values: figures of this step; those that are not finite are left out.
        unit: of both counts.
    """
    main: dict[str, object] = {"phase": phase[:_MOST_TEXT], "step": step, "of": of, "unit": unit}
    is_new = _SINK.main.get("phase") != main["phase"]
    _SINK.main = main
    at_once = is_new or (step is not None and step == of)
    _SINK.write(phase, {**main, "detail": None, "values": _finite(values)}, at_once=at_once)


def detail(
    what: str,
    step: int,
    of: int | None = None,
    values: Mapping[str, float] = MappingProxyType({}),
    *,
    unit: str = "step",
) -> None:
    """Say how far what is done within the step of the phase is: rollouts, documents, questions."""
    main = _SINK.main or {"phase": what[:_MOST_TEXT], "step": None, "of": None, "unit": unit}
    inner = {"what": what[:_MOST_TEXT], "step": step, "of": of, "unit": unit}
    line = {**main, "detail": inner, "values": _finite(values)}
    _SINK.write("detail", line, at_once=step == of)


def tracked(
    items: Iterable[T], phase: str, of: int | None = None, *, unit: str = "step"
) -> Iterator[T]:
    """Yield the items; say of each that is done how many there were."""
    tell(phase, 0, of, unit=unit)
    for number, item in enumerate(items, 1):
        yield item
        tell(phase, number, of, unit=unit)


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}


@contextmanager
def written_to(path: Path) -> Iterator[None]:
    """Have all that is told within the block, by this process and its children, go to a file."""
    before = os.environ.get(PROGRESS_VARIABLE)
    os.environ[PROGRESS_VARIABLE] = str(path)
    _SINK.main = {}
    try:
        yield
    finally:
        if before is None:
            del os.environ[PROGRESS_VARIABLE]
        else:
            os.environ[PROGRESS_VARIABLE] = before
