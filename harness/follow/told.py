"""What a run has told of how it gets on (`harness.workloads.api.progress`), read as it comes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.follow.tail import Tail
from harness.reading import read_json
from harness.records import record
from harness.workloads.api.progress import PROGRESS_FILE


@record
class Count:
    """How far something is.

    Attributes:
        what: the phase, or what is done within its step.
        step: how many are done; None where nobody knows.
        of: how many there will be; None where nobody knows.
        unit: of both.
    """

    what: str
    step: int | None = None
    of: int | None = None
    unit: str = "step"

    def __str__(self) -> str:
        """Return ``train full: step 12 of 50``."""
        if self.step is None:
            return self.what
        of = f" of {self.of}" if self.of is not None else ""
        return f"{self.what}: {self.unit} {self.step}{of}"


@record
class ProgressLine:
    """One line of progress.

    Attributes:
        at_s: seconds since the run began; a clock that was set back in between adds nothing.
        clock: seconds since the epoch, as the machine's clock had it.
        phase: the phase and how far it is.
        detail: what is done within its step.
        values: figures of the step.
    """

    at_s: float
    clock: float
    phase: Count
    detail: Count | None
    values: dict[str, float]


class Progress:
    """Everything that a run has told so far; `update` reads what is new.

    Args:
        folder: of the run.
        began: when the run began, seconds since the epoch; None for when it told something first.
    """

    def __init__(self, folder: Path, began: float | None = None) -> None:
        self.folder = folder
        self._began = began
        self.lines: list[ProgressLine] = []
        self._tail = Tail(folder / PROGRESS_FILE)
        self._clock = math.nan
        self._reached: dict[str, dict[int, float]] = {}  # phase -> step -> when it was reached

    def update(self) -> bool:
        """Read what is new; return whether there was anything."""
        before = len(self.lines)
        for text in self._tail.new():
            if (told := self._read(text)) is not None:
                self.lines.append(told)
                self._mark(told)
        return len(self.lines) > before

    @property
    def last(self) -> ProgressLine | None:
        """What was told last."""
        return self.lines[-1] if self.lines else None

    def values(self) -> dict[str, float]:
        """Return the latest value of each figure of the present phase."""
        found: dict[str, float] = {}
        for told in reversed(self.lines[-_RECENT:]):
            if told.phase.what != self.lines[-1].phase.what:
                break
            found = {**told.values, **found}
        return found

    def pace_s(self) -> float | None:
        """Return the seconds that a step of the present phase takes; None before there are two.

        It is the mean of the last steps, with all that was done between them.
        """
        if self.last is None:
            return None
        reached = [*self._reached.get(self.last.phase.what, {}).items()][-_RECENT_STEPS:]
        if len(reached) < 2:  # noqa: PLR2004 - a pace has two ends
            return None
        (first, first_s), (last, last_s) = reached[0], reached[-1]
        return (last_s - first_s) / (last - first)

    def reached_s(self) -> float:
        """Return when the present step of the present phase was reached, seconds."""
        if self.last is None:
            return 0.0
        reached = self._reached.get(self.last.phase.what)
        return [*reached.values()][-1] if reached else self.last.at_s

    def _mark(self, told: ProgressLine) -> None:
        step = told.phase.step
        if step is None:
            return
        reached = self._reached.setdefault(told.phase.what, {})
        if reached and step < next(reversed(reached)):  # it began again
            reached.clear()
        reached.setdefault(step, told.at_s)

    def _read(self, text: str) -> ProgressLine | None:
        """Return a line; None where it is none: what is damaged is skipped."""
        try:
            document = read_json(text)
            clock = float(document["at"])
            phase = _count(document, "phase")
            inner = document.get("detail")
            told = ProgressLine(
                at_s=0.0,
                clock=clock,
                phase=phase,
                detail=_count(inner, "what") if isinstance(inner, dict) else None,
                values=dict(_figures(document.get("values"))),
            )
        except (ValueError, KeyError, TypeError):
            return None
        if not math.isfinite(clock):
            return None
        before = self._began if math.isnan(self._clock) else self._clock
        passed = 0.0 if before is None else max(0.0, clock - before)
        self._clock = clock
        at_s = (self.lines[-1].at_s if self.lines else 0.0) + passed
        return ProgressLine(
            at_s=at_s, clock=clock, phase=told.phase, detail=told.detail, values=told.values
        )


_RECENT = 500  # lines
_RECENT_STEPS = 50


def _count(document: dict[str, Any], name: str) -> Count:
    numbers = [document.get("step"), document.get("of")]
    step, of = (each if type(each) is int else None for each in numbers)
    unit = document.get("unit")
    return Count(
        what=str(document[name]), step=step, of=of, unit=unit if isinstance(unit, str) else "step"
    )


def _figures(given: Any) -> Iterator[tuple[str, float]]:
    for name, value in given.items() if isinstance(given, dict) else ():
        if isinstance(value, int | float) and math.isfinite(value):
            yield str(name), float(value)
