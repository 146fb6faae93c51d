"""From the rows of a history to one series a figure, and to what tonight looks like in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from harness.errors import Problem
from harness.history.baseline import (
    FALSE_DISCOVERIES,
    GLANCES,
    LEAST,
    RECENT,
    NightLook,
    discoveries,
    explained,
    look,
    normalised,
)
from harness.history.memory import Past, memory
from harness.history.pairs import Outcome
from harness.history.rows import Finding, HistoryRows, Night
from harness.records import Scalar, canonical_json, record
from harness.units import UNITS, convert
from harness.workloads.api.declare import Better, Metric

# figures of a probe that a throughput can follow, whatever it is bound by
_HOST = ("matmul_tflop_s", "matvec_gb_s", "copy_gb_s", "gpu_clock_mhz", "cpu_clock_mhz")
Key = tuple[str, str, str, str]


@record
class Reading:
    """One night's value of a series, in the unit of the series."""

    night: Night
    value: float
    n: int
    spread: float | None


@record
class HistorySeries:
    """One figure of one cell on one kind of device, night after night.

    Attributes:
        point: of the cell.
        cell: swept params and their values.
        where: row keys.
        unit: that of the newest night.
    """

    metric: str
    point: str
    cell: Mapping[str, Any]
    where: Mapping[str, Scalar]
    device: str
    unit: str
    readings: tuple[Reading, ...]

    @property
    def key(self) -> Key:
        """What tells it from others."""
        return key_of(self.point, self.metric, self.where, self.device)

    @property
    def label(self) -> str:
        """Metric and cell, for people."""
        keys = ", ".join(f"{name}={value}" for name, value in {**self.cell, **self.where}.items())
        return f"{self.metric} ({keys})" if keys else self.metric

    @property
    def values(self) -> list[float]:
        """One a night."""
        return [each.value for each in self.readings]


def key_of(point: str, metric: str, where: Mapping[str, Scalar], device: str) -> Key:
    """Return the key of a series."""
    return point, metric, canonical_json(where), device


def series_of(
    rows: HistoryRows, metrics: Iterable[str] | None = None, path: Path | None = None
) -> tuple[list[HistorySeries], list[Problem]]:
    """Return the series of a history, and what is odd about them.

    A metric that was renamed by a row goes on under its new name. A unit that changed is converted;
    where the new one measures something else, the older nights are another quantity and left out.

    Args:
        rows: the history.
        metrics: only these; None for all.
        path: of the file, for problems.
    """
    names = {each.old: each.new for each in rows.renamed}
    wanted = None if metrics is None else set(metrics)
    found: dict[Key, list[tuple[Night, Any]]] = {}
    for night in rows.nights:
        for figure in night.figures:
            metric = figure.metric
            while metric in names:
                metric = names[metric]
            if wanted is None or metric in wanted:
                key = key_of(night.point, metric, figure.where, night.device)
                found.setdefault(key, []).append((night, figure))
    series, problems = [], []
    for (point, metric, _, device), measured in found.items():
        newest, figure = measured[-1]
        readings = []
        others = set()
        for night, each in measured:
            if not _comparable(each.unit, figure.unit):
                others.add(each.unit)
                continue
            readings.append(
                Reading(
                    night=night,
                    value=_in(each.value, each.unit, figure.unit),
                    n=each.n,
                    spread=None
                    if each.spread is None
                    else _in(each.spread, each.unit, figure.unit),
                )
            )
        if others:
            units = ", ".join(sorted(others))
            message = (
                f"{metric} was in {units} and is in {figure.unit}: what was measured before is "
                "another quantity, and a new series begins"
            )
            problems.append(Problem(message=message, path=path))
        series.append(
            HistorySeries(
                metric=metric,
                point=point,
                cell=newest.cell,
                where=figure.where,
                device=device,
                unit=figure.unit,
                readings=tuple(readings),
            )
        )
    return series, problems


def _comparable(one: str, other: str) -> bool:
    if one == other:
        return True
    known = one in UNITS and other in UNITS
    return known and UNITS[one].dimension == UNITS[other].dimension


def _in(value: float, unit: str, to: str) -> float:
    return value if unit == to else convert(value, unit, to)


class NightState(StrEnum):
    """What tonight looks like in a series."""

    NOTHING = "nothing seen"
    TOO_FEW = "too few nights"
    BETTER = "better"
    HOST = "the machine"
    SUSPECTED = "suspected"
    DOUBTED = "worth a glance"
    KNOWN = "known alarm"
    UNTESTABLE = "not testable"


@record
class Tonight:
    """The newest night of a series, judged by those before it.

    Attributes:
        state: before any pairs.
        look: None for too few nights.
        share: by which share the figure follows the host's probe; 0 where it is not normalised.
        effect: relative change of the last nights; negative is worse.
        sees: the relative change that would be seen within five nights; None where nothing is.
        old: the baseline's level, in the unit of the series.
        may_confirm: whether pairs may be run tonight.
        open: the finding of the alarm that is still open.
        good: the night whose version pairs are run against; None for none.
        why: of `UNTESTABLE` and `TOO_FEW`.
    """

    series: HistorySeries
    state: NightState
    look: NightLook | None = None
    share: float = 0.0
    effect: float = 0.0
    sees: float | None = None
    old: float = math.nan
    may_confirm: bool = True
    open: Finding | None = None
    good: Night | None = None
    why: str = ""

    @property
    def night(self) -> Night:
        """The newest."""
        return self.series.readings[-1].night


def judge(
    rows: HistoryRows, series: Sequence[HistorySeries], metrics: Mapping[str, Metric]
) -> list[Tonight]:
    """Judge the newest night of each series; false discoveries are controlled over all of them."""
    seen = [_judged(each, rows, metrics[each.metric]) for each in series]
    p_values = [each.look.p_value for each in seen if each.look is not None]
    unlike = iter(
        zip(discoveries(p_values, FALSE_DISCOVERIES), discoveries(p_values, GLANCES), strict=True)
    )
    return [each if each.look is None else _suspected(each, *next(unlike)) for each in seen]


def oriented(values: Sequence[float], better: Better | None) -> list[float] | None:
    """Return values as differences can be taken of them: positive is better.

    Logarithms, so that a difference is a relative change; of a figure that is not positive, shares
    of its median's size. None where that is 0.
    """
    sign = -1.0 if better is Better.LOWER else 1.0
    if all(each > 0 for each in values):
        return [sign * math.log(each) for each in values]
    size = abs(median(values))
    return [sign * each / size for each in values] if size else None


def _oriented_one(value: float, series: HistorySeries, metric: Metric) -> float | None:
    """Return one more value as `oriented` takes those of a series."""
    found = oriented([*series.values, value], metric.better)
    return found[-1] if found and value > 0 else None


def relative(difference: float) -> float:
    """Return a difference of `oriented` values as a relative change, which is what people read."""
    return math.expm1(max(-50.0, min(50.0, difference)))


def _judged(series: HistorySeries, rows: HistoryRows, metric: Metric) -> Tonight:
    found = [each for each in rows.findings if _key(each) == series.key]
    places = {each.night.id: at for at, each in enumerate(series.readings)}
    accepted = {each.finding for each in rows.accepted}
    begin = max(
        (places[each.night] for each in found if each.id in accepted and each.night in places),
        default=0,
    )
    values = oriented(series.values, metric.better)
    if values is None:
        return Tonight(
            series=series,
            state=NightState.UNTESTABLE,
            why="a figure around 0 has no relative change",
        )
    tonight = len(values) - 1
    alarm = _open_alarm(found, accepted, places, values)
    if alarm is not None and alarm.night in places:
        first = max(begin, places[alarm.night] - alarm.nights + 1)
        begin = first if tonight > places[alarm.night] else begin
    past = [
        Past(
            night=places[each.night] - begin,
            outcome=each.outcome,
            nights=each.nights,
            is_costly=each.pairs > 0 and each.outcome is not Outcome.NOT_SEEN,
            level=_oriented_one(each.old, series, metric) if each.pairs else None,
        )
        for each in found
        if each.outcome is not None
        and each.night in places
        and begin <= places[each.night] < tonight
    ]
    values = values[begin:]
    known = memory(values, past)
    speeds = _host_of(series.readings[begin:], values)
    even, share = normalised(values, speeds)
    looked = look(even, known.cleared, known.fresh)
    if looked is None:
        state = NightState.KNOWN if alarm is not None else NightState.TOO_FEW
        return Tonight(
            series=series, state=state, open=alarm, why=f"{len(values)} nights since the baseline"
        )
    sign = -1.0 if metric.better is Better.LOWER else 1.0
    positive = all(each > 0 for each in series.values)
    size = abs(median(series.values))
    old = math.exp(sign * looked.level) if positive else sign * looked.level * size
    return Tonight(
        series=series,
        state=NightState.KNOWN if alarm is not None else NightState.NOTHING,
        look=looked,
        share=share,
        effect=relative(looked.shift),
        sees=-relative(-looked.sees),
        old=old,
        may_confirm=known.may_confirm,
        open=alarm,
        good=_good(series.readings[begin:], alarm),
        why="the machine" if explained(looked.shift, speeds, looked.nights) else "",
    )


def _key(finding: Finding) -> Key:
    return key_of(finding.point, finding.metric, finding.where, finding.device)


def _suspected(seen: Tonight, is_sure: bool, is_unlike: bool) -> Tonight:  # noqa: FBT001 - of two rates
    assert seen.look is not None
    is_told = seen.open is not None and seen.open.night == seen.night.id
    if not is_unlike or abs(seen.look.shift) < LEAST or is_told:
        return seen
    if not is_sure:
        is_loss = seen.look.shift < 0 and not seen.why
        return replace(seen, state=NightState.DOUBTED) if is_loss else seen
    if seen.look.shift > 0:
        return replace(seen, state=NightState.BETTER)
    return replace(seen, state=NightState.HOST if seen.why else NightState.SUSPECTED)


def _open_alarm(
    found: Sequence[Finding],
    accepted: set[str],
    places: Mapping[str, int],
    values: Sequence[float],
) -> Finding | None:
    """Return the last confirmed regression that nobody accepted and the figure has not left.

    It has left it when two nights in a row are nearer to what it was before.
    """
    for each in reversed(found):
        if each.outcome is not Outcome.REGRESSED or each.id in accepted:
            continue
        if each.night not in places:
            return each
        at = places[each.night]
        before = median(values[max(0, at - each.nights - 30) : max(1, at - each.nights + 1)])
        level = before + math.log1p(max(-0.99, each.effect))
        left = [value > (before + level) / 2 for value in values[at + 1 :]]
        if any(one and two for one, two in pairwise(left)):
            return None
        return each
    return None


def _host_of(readings: Sequence[Reading], values: Sequence[float]) -> list[float | None]:
    """Return the logarithm of the probe's figure that these values follow best, night by night."""
    best: list[float | None] = [None] * len(readings)
    least = math.inf
    for name in _HOST:
        speeds = [
            math.log(value) if (value := each.night.probe.get(name)) else None for each in readings
        ]
        known = [(v, s) for v, s in zip(values, speeds, strict=True) if s is not None]
        if not known:
            continue
        still, middle = median([v for v, _ in known]), median([s for _, s in known])
        left = median([abs((v - still) - (s - middle)) for v, s in known])
        if left < least:
            best, least = speeds, left
    return best


def _good(readings: Sequence[Reading], alarm: Finding | None) -> Night | None:
    """Return the last night of the baseline whose version can be had again: a clean commit.

    Of the nights since, any may have brought the loss: a small one may be seen some nights late.
    """
    if alarm is not None and alarm.good:
        for each in readings:
            if each.night.commit == alarm.good:
                return each.night
    nights = (each.night for each in reversed(readings[:-RECENT]))
    return next((each for each in nights if each.commit and not each.dirty), None)


def series_by_label(series: Sequence[HistorySeries]) -> Iterator[HistorySeries]:
    """Yield series in the order that people look for them."""
    yield from sorted(series, key=lambda each: (each.metric, each.label, each.device))
