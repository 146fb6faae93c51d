"""What several runs say of one figure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from harness.records import FinishedRun, Measurement, Scalar, record
from harness.report.figures import figure, with_spread
from harness.report.tables import TableCell, absent
from harness.units import convert
from harness.workloads.api.declare import Metric

Place = tuple[tuple[str, Scalar], ...]
RunValues = Mapping[tuple[str, Place], Measurement]


@record
class PooledValue:
    """One figure over the runs that should have it.

    Attributes:
        values: the measurements, in the metric's unit.
        absences: why the other runs have no value.
    """

    values: tuple[Scalar, ...]
    absences: tuple[str, ...] = ()

    @property
    def numbers(self) -> tuple[float, ...]:
        """The values as numbers; empty where any of them is text or a flag."""
        numeric = [
            float(value)
            for value in self.values
            if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        return tuple(numeric) if len(numeric) == len(self.values) else ()

    @property
    def mean(self) -> float:
        """The mean of the numbers."""
        return statistics.fmean(self.numbers)

    @property
    def std(self) -> float | None:
        """The sample standard deviation; None for fewer than two numbers."""
        return statistics.stdev(self.numbers) if len(self.numbers) > 1 else None


def place(where: Mapping[str, Scalar]) -> Place:
    """Return `where` as a key: equal whatever the order."""
    return tuple(sorted(where.items(), key=lambda item: item[0]))


def values_of(run: FinishedRun) -> RunValues:
    """Return a run's measurements by metric and place; one reported twice counts as absent."""
    found: dict[tuple[str, Place], Measurement] = {}
    for each in run.measurements:
        key = (each.metric, place(each.where))
        found[key] = (
            replace(each, value=None, absent="measured twice in one run") if key in found else each
        )
    return found


def pool(metric: Metric, where: Place, runs: Iterable[RunValues]) -> PooledValue:
    """Return what `runs` say of a metric at a place."""
    values: list[Scalar] = []
    absences: list[str] = []
    for run in runs:
        value = _value(metric, run.get((metric.name, where)))
        if isinstance(value, _Absent):
            absences.append(value.reason)
        else:
            values.append(value)
    return PooledValue(values=tuple(values), absences=tuple(absences))


def cell_of(metric: Metric, pooled: PooledValue) -> TableCell:
    """Return the field of a table: the value, mean ± deviation, or why there is none."""
    reasons = ", ".join(dict.fromkeys(pooled.absences))
    if not pooled.values:
        return absent(reasons)
    shown = (
        TableCell(text=figure(pooled.values[0], metric), raw=pooled.values[0])
        if len(pooled.values) == 1
        else _of_several(metric, pooled)
    )
    if not pooled.absences:
        return shown
    total = len(pooled.values) + len(pooled.absences)
    text = f"{shown.text} ({len(pooled.values)} of {total}; else {reasons})"
    return replace(shown, text=text, absent=reasons)


@record
class _Absent:
    reason: str


def _value(metric: Metric, measured: Measurement | None) -> Scalar | _Absent:
    if measured is None:
        return _Absent(reason="not measured")
    value: Any = measured.value
    if value is None:
        return _Absent(reason=measured.absent or "absent, no reason recorded")
    if isinstance(value, float) and not math.isfinite(value):
        return _Absent(reason=str(value))
    if measured.unit == metric.unit:
        return measured.value
    return convert(value, measured.unit, metric.unit)


def _of_several(metric: Metric, pooled: PooledValue) -> TableCell:
    count = len(pooled.values)
    if pooled.std is None:  # words or flags
        text = " | ".join(dict.fromkeys(figure(value, metric) for value in pooled.values))
        return TableCell(text=text, raw=text, count=count)
    if pooled.std == 0:
        text = f"{figure(pooled.values[0], metric)} ± 0"
        return TableCell(text=text, raw=pooled.values[0], std=0.0, count=count)
    text = with_spread(pooled.mean, pooled.std)
    return TableCell(text=text, raw=pooled.mean, std=pooled.std, count=count)
