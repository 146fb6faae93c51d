"""Passes: the parts of a run that repeat, so that a rehearsal makes two of each and times them.

::

    for step in passes(training.steps(params.max_steps), "steps", of=params.max_steps):
        ...

A run makes every pass. A rehearsal (`RunSpec.rehearsal`) makes the first two, and goes on for half
a second where they are short; each is of the size that the run has. The forecast of the rest
follows from those that were made (`harness.execution.forecast`), so a loop says how many a run has.

Each pass that ends is a line of JSON in the run's `PASSES_FILE` (`PassLine`). A process that a run
starts inherits the place where it is, and appends whole lines. Threads make no passes: what several
of them do together is one `part`.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from harness.reading import read_json
from harness.records import Rehearsal, from_json, record, to_json
from harness.variables import REHEARSAL_VARIABLE

PASSES_FILE = "passes.jsonl"
_LEAST_S = 0.5  # of a loop whose passes are short: two of them say little
_LEAST_LOST_S = 1.0  # of work; a kill that costs a run less shows nothing
_KILLED = 137  # exit code of what SIGKILL ends

T = TypeVar("T")


@record
class PassLine:
    """One pass of a loop, or one part of a run, that has ended.

    Attributes:
        path: where it is: ``train full~0#1/update~0#0`` is in the second pass of the loop ``train
            full`` the first pass of ``update``; ``~1`` is a loop of the same name that came later.
        of: how many alike a run makes within the pass around it.
        done: how many of these the line stands for.
        once: `of` counts all of them in the run: the loops around do not multiply it.
        is_new: it was made, and not taken from an earlier attempt.
        wall_s: what it took, seconds.
        more_s: what the units that are not done would take, where the run knows that better than
            from their share.
    """

    path: str
    of: int
    done: int = 1
    once: bool = False
    is_new: bool = True
    wall_s: float
    more_s: float | None = None


@record
class _Place:
    """Where a process of a rehearsal is.

    Attributes:
        file: takes the lines.
        passes: of each loop, at least.
        within: path of the pass around what is done now.
        uncut: whether loops make every pass here.
        dies: the process that kills itself once; None where none does.
        began: when, on the clock of all processes.
    """

    file: str
    passes: int
    within: str = ""
    uncut: bool = False
    dies: int | None = None
    began: float


@dataclass(kw_only=True)
class TimedPart:
    """What a block says of its own line; see `PassLine`."""

    is_new: bool = True
    more_s: float | None = None


_begun: Counter[str] = Counter()  # path of a loop -> how often this process has begun it


def _here() -> _Place | None:
    text = os.environ.get(REHEARSAL_VARIABLE)
    return from_json(_Place, read_json(text.encode())) if text else None


@contextmanager
def _at(place: _Place) -> Iterator[None]:
    before = os.environ.get(REHEARSAL_VARIABLE)
    os.environ[REHEARSAL_VARIABLE] = json.dumps(to_json(place))
    try:
        yield
    finally:
        if before is None:
            del os.environ[REHEARSAL_VARIABLE]
        else:
            os.environ[REHEARSAL_VARIABLE] = before


@contextmanager
def rehearsed(rehearsal: Rehearsal, file: Path) -> Iterator[None]:
    """Make the block, and the processes that it starts, a rehearsal whose lines go to a file."""
    _begun.clear()
    place = _Place(
        file=str(file.resolve()),
        passes=rehearsal.passes,
        dies=os.getpid() if rehearsal.dies else None,
        began=time.monotonic(),
    )
    with _at(place):
        yield


@contextmanager
def uncut() -> Iterator[None]:
    """Make every pass within the block also in a rehearsal: what follows needs all of them."""
    if (here := _here()) is None:
        yield
        return
    with _at(replace(here, uncut=True)):
        yield


def passes(
    items: Iterable[T], name: str, of: int | None = None, *, with_last: bool = False
) -> Iterator[T]:
    """Yield the items; in a rehearsal the first few, each timed with what is done with it.

    Args:
        items: one a pass; where making an item is the work, that is timed too.
        name: of the loop.
        of: how many items there are; None for the length of a sequence.
        with_last: a rehearsal makes the last one of a sequence too, as something is done only then.
    """
    if (here := _here()) is None:
        yield from items
        return
    left, last = iter(items), list[T]()
    if isinstance(items, Sequence):
        of, last = len(items), list(items[-1:]) if with_last else []
    assert of is not None, "an iterator does not say how many items it has"
    path, made, began = _path(here, name), 0, time.monotonic()
    while True:
        inside = replace(here, within=f"{path}#{made}")
        with _at(inside):
            at = time.monotonic()
            try:
                item = next(left)
            except StopIteration:
                return
            try:
                yield item
            finally:  # also where the caller has had enough
                _write(inside, PassLine(path=inside.within, of=of, wall_s=time.monotonic() - at))
        made += 1
        is_enough = made + len(last) >= here.passes and time.monotonic() - began >= _LEAST_S
        if is_enough and made < of and not here.uncut:
            left, last = iter(last), []


@contextmanager
def part(name: str, of: int = 1, *, done: int = 1, once: bool = False) -> Iterator[TimedPart]:
    """Time a block: `done` of `of` alike units; what it says of itself goes with it.

    Args:
        name: of the block.
        of: how many units a run does here.
        done: how many of them the block does (`portion`).
        once: see `PassLine`.
    """
    said = TimedPart()
    if (here := _here()) is None:
        yield said
        return
    inside = replace(here, within=f"{_path(here, name)}#0")
    began = time.monotonic()
    with _at(inside):
        yield said
    line = PassLine(
        path=inside.within,
        of=of,
        done=done,
        once=once,
        is_new=said.is_new,
        wall_s=time.monotonic() - began,
        more_s=said.more_s,
    )
    _write(inside, line)


def portion(items: Sequence[T], at_once: int, *, least: int = 2) -> Sequence[T]:
    """Return the items; in a rehearsal as many as are worked on at once, from all over them."""
    here = _here()
    if here is None or here.uncut:
        return items
    count = min(len(items), max(least, at_once))
    return [items[number * len(items) // count] for number in range(count)]


def _path(here: _Place, name: str) -> str:
    """Return the path of a loop that begins."""
    name = name.replace("/", "-").replace("#", "-").replace("~", "-")
    path = f"{here.within}/{name}" if here.within else name
    _begun[path] += 1
    return f"{path}~{_begun[path] - 1}"


def _write(here: _Place, line: PassLine) -> None:
    text = json.dumps(to_json(line), ensure_ascii=False)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(here.file, flags, 0o644)
    try:
        os.write(descriptor, f"{text}\n".encode())
    finally:
        os.close(descriptor)
    if here.dies == os.getpid() and time.monotonic() - here.began >= _LEAST_LOST_S:
        os.kill(os.getpid(), signal.SIGKILL)
        os._exit(_KILLED)  # in a container the kernel spares its first process
