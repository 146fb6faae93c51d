"""The measurements of a stored run, computed again from what it wrote."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.measure import measure, usage_measurements
from harness.records import FinishedRun, Measurement, Scalar
from harness.results.store import segment_folders
from harness.telemetry.log import TELEMETRY_FILE, read_samples
from harness.telemetry.reduce import run_measurements, summed
from harness.workloads.api.emit import EVENTS_FILE, read_events

# elementary functions of two C libraries agree that well
_RELATIVE, _ABSOLUTE = 1e-9, 1e-300


def remeasured(folder: Path, run: FinishedRun) -> tuple[Measurement, ...]:
    """Return a run's measurements, from its events, telemetry and outcome.

    Raises:
        InputError: its events report a figure twice.
        ValueError: a file is damaged; names it.
    """
    parts = [
        run_measurements(read_samples(each / TELEMETRY_FILE))
        for each in (*segment_folders(folder), folder)
    ]
    measured = measure(run.spec, read_events(folder / EVENTS_FILE))
    return (*measured, *usage_measurements(run.outcome.usage), *summed(parts))


def differences(folder: Path, run: FinishedRun) -> Iterator[str]:
    """Yield how a run's stored measurements differ from those that its files give.

    Raises:
        InputError, ValueError: as `remeasured`.
    """
    stored, again = _by_place(run.measurements), _by_place(remeasured(folder, run))
    for place in {**stored, **again}:
        one, other = stored.get(place), again.get(place)
        name = " ".join([place[0], *(f"{key}={value}" for key, value in place[1])])
        if one is None or other is None:
            yield f"{name} is {'not stored' if one is None else 'in no event'}"
        elif not _agree(one, other):
            yield f"{name} is {_said(one)}, and the run's events give {_said(other)}"


def _by_place(
    measurements: Iterable[Measurement],
) -> dict[tuple[str, tuple[tuple[str, Scalar], ...]], Measurement]:
    return {(each.metric, tuple(sorted(each.where.items()))): each for each in measurements}


def _agree(one: Measurement, other: Measurement) -> bool:
    facts = [(each.unit, each.count, each.absent) for each in (one, other)]
    if facts[0] != facts[1]:
        return False
    if isinstance(one.value, float) and isinstance(other.value, float):
        return math.isclose(one.value, other.value, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    return type(one.value) is type(other.value) and one.value == other.value


def _said(each: Measurement) -> str:
    return f"absent ({each.absent})" if each.absent else f"{each.value!r} {each.unit}"
