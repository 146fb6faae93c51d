"""Whether an entry can fail: its verdict on the figures of experiments that did not work.

A verdict means something where another one was possible. So the stored figures are changed as a
dead experiment would change them, and every entry is judged again:

======================  ============================================================================
``x 0.95``, ``x 1.05``  the entry's own figures are 5 % off; what they are compared with is not
``x 0``                 nothing was done, gained or counted
``1, not 0``            one fault where none was counted
``x 10``, ``x 100``     of an error or a cost, which may be 0: one and two orders of magnitude more
``+ 5 points``          of an error or a cost in percent: what it is a share of is 5 % off
``x -1``                of a difference: the effect is the other way round
``no change``           of a ratio: 1; of a figure that falls below another: that other one
``another value``       of a text or a flag
``KEY = VALUE``         every cell of an axis or row key has the figures of one of them: the trained
                        policy those of the untrained one, each variant those of the baseline, the
                        held-out tasks those of the pool, the last step those of the first
``KEY shuffled``        the labels of an axis or row key are on the wrong figures
``exchanged``           of two cells that are compared: each has the figures of the other
``last = first``        a figure ``NAME.last`` is its own ``NAME.first``
``one seed``            every replicate has the figures of the first; a check of the runs notices
                        that, so by itself it makes no entry sharp
======================  ============================================================================

An entry notices a change where its verdict is another one. An entry that notices none cannot fail,
so it says nothing: it belongs in the class `reported`, or needs a sharper expectation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from harness.check.finding import Judgement, Unanswered
from harness.check.measured import Measured
from harness.check.rows import MeasurementRow, Rows, differing, frozen, is_number
from harness.check.verdicts import elsewhere, judge
from harness.records import FinishedRun, Profile, Scalar, Status, VerdictKind, record
from harness.scenario import expectations as ledger
from harness.scenario.expectations import EvidenceClass, Expectation, Expectations
from harness.workloads.api.declare import Metric

_MAX_VALUES = 12  # of a text key; each is a counterfactual of its own
ONE_SEED, LAST_IS_FIRST = "one seed", "last = first"
ONE_NOT_NONE, ANOTHER_VALUE = "1, not 0", "another value"
NO_CHANGE, EXCHANGED = "no change", "exchanged"
FIVE_POINTS = "+ 5 points"


@record
class Audited:
    """What one entry notices.

    Attributes:
        entry: its id.
        kind: its verdict on the figures as they are.
        noticed: the counterfactuals that turn the verdict.
        missed: those that change the entry's figures and leave the verdict as it is.
    """

    entry: str
    kind: VerdictKind
    noticed: tuple[str, ...]
    missed: tuple[str, ...]

    @property
    def can_fail(self) -> bool:
        """Whether the verdict could have been another one; a verdict that is no pass shows it."""
        sharp = set(self.noticed) - {ONE_SEED}
        return self.kind is not VerdictKind.REPRODUCED or bool(sharp)


def audit(
    expectations: Expectations,
    runs: Sequence[FinishedRun],
    profile: Profile,
    metrics: Mapping[str, Metric],
) -> tuple[Audited, ...]:
    """Judge each counted entry of a profile on the figures of every counterfactual.

    Args:
        expectations: the ledger.
        runs: at most one for each planned run, as for `harness.check.verdicts.check`.
        profile: the profile of the runs.
        metrics: what the workloads declare, by name.
    """
    audited = []
    for entry, before, counterfactuals in _counted(expectations, runs, profile, metrics):
        noticed: list[str] = []
        missed: list[str] = []
        for name, after in counterfactuals:
            (noticed if _turns(before, after()) else missed).append(name)
        audited.append(
            Audited(entry=entry.id, kind=before.kind, noticed=tuple(noticed), missed=tuple(missed))
        )
    return tuple(audited)


def cannot_fail(
    expectations: Expectations,
    runs: Sequence[FinishedRun],
    profile: Profile,
    metrics: Mapping[str, Metric],
) -> tuple[tuple[str, ...], int]:
    """Return the ids of the counted entries that notice nothing, and how many are counted.

    As `audit` says, but each entry is asked no further than the first change that it notices.
    """
    blind, count = [], 0
    for entry, before, counterfactuals in _counted(expectations, runs, profile, metrics):
        count += 1
        if before.kind is VerdictKind.REPRODUCED:
            tried = (after for name, after in counterfactuals if name != ONE_SEED)
            if not any(_turns(before, after()) for after in tried):
                blind.append(entry.id)
    return tuple(blind), count


_After = tuple[str, Callable[[], Judgement]]
_Change = tuple[str, Mapping[int, Scalar]]  # its name, and the new values by a row's identity


def _counted(
    expectations: Expectations,
    runs: Sequence[FinishedRun],
    profile: Profile,
    metrics: Mapping[str, Metric],
) -> Iterator[tuple[Expectation, Judgement, Iterator[_After]]]:
    """Yield each entry that is compared here, its judgement, and the ones it might have had."""
    here = [run for run in runs if run.spec.profile is profile]
    devices = list(dict.fromkeys(run.outcome.device for run in here if run.outcome.device))
    asked = {entry.metric for entry in expectations.expectations}
    by_device: dict[str | None, Measured] = {}
    for entry in expectations.expectations:
        if entry.evidence_class is EvidenceClass.REPORTED or elsewhere(
            entry.binds, profile, devices
        ):
            continue
        if isinstance(entry, ledger.ArithmeticEntry):
            continue
        device = entry.binds.device
        if device not in by_device:
            bound = [run for run in here if device is None or run.outcome.device in (device, "")]
            recomputed = profile is Profile.EVIDENCE
            by_device[device] = Measured.of(bound, metrics, asked, recomputed=recomputed)
        measured = by_device[device]
        yield entry, judge(entry, measured), _counterfactuals(entry, measured)


def _turns(before: Judgement, after: Judgement) -> bool:
    """Return whether a verdict is another one for what was measured, not for what is missing."""
    return after.kind not in (before.kind, VerdictKind.MISSING)


def _counterfactuals(entry: Expectation, measured: Measured) -> Iterator[_After]:
    """Yield each change that reaches the entry's figures, and the judgement after it."""
    rows = measured.rows
    own = rows.matching(entry.metric, entry.where)

    def judged(changed: Mapping[int, Scalar]) -> Judgement:
        return judge(entry, replace(measured, rows=rows.with_values(changed)))

    for name, change in (*_of_values(entry, own), *_of_partners(entry, own, rows)):
        if _reaches(change, own):  # figures that are exchanged are other ones on both sides
            yield name, partial(judged, change)
    held = [row for name in _metrics_of(entry) for row in rows.of(name)]
    for key in differing(held):
        values = list(dict.fromkeys(row.keys[key] for row in held if _is_label(row, key)))
        numeric = all(is_number(value) for value in values)
        ordered = sorted(values) if numeric else values
        changes = {
            f"{key} = {value}": dict.fromkeys(values, value)
            for value in (ordered[:1] if numeric else ordered[:_MAX_VALUES])
        }
        changes[f"{key} shuffled"] = dict(zip(ordered, [*ordered[1:], *ordered[:1]], strict=True))
        placed = {(_rest(row, key), frozen(row.keys[key])): row for row in held if key in row.keys}
        for name, takes in changes.items():
            if _reaches(change := _moved(placed, key, takes), held):
                yield name, partial(judged, change)
    if any(row.run.spec.replicate for row in held):
        yield ONE_SEED, partial(_on_one_seed, entry, measured)


def _of_values(entry: Expectation, own: Sequence[MeasurementRow]) -> Iterator[_Change]:
    """Yield the changes of the entry's own figures that need no other figure."""
    figures = [row for row in own if is_number(row.measurement.value)]
    factors = {"x 0.95": 0.95, "x 1.05": 1.05, "x 0": 0.0}
    if _allows_nothing(entry):
        factors |= {"x 10": 10.0, "x 100": 100.0}
    if any(_number(row) < 0 for row in figures) or "difference" in entry.metric:
        factors["x -1"] = -1.0
    for name, factor in factors.items():
        scaled = _successes if isinstance(entry, ledger.ProportionEntry) else _scaled
        yield name, {id(row): scaled(row, factor) for row in figures}
    if _allows_nothing(entry) and entry.unit == "%":
        yield FIVE_POINTS, {id(row): _number(row) + 5.0 for row in figures}
    if figures and not any(_number(row) for row in figures):
        yield ONE_NOT_NONE, {id(figures[0]): 1}
    if entry.unit == "x":
        yield NO_CHANGE, {id(row): 1.0 for row in figures}
    yield ANOTHER_VALUE, {id(row): _other(row) for row in own if row not in figures}


def _of_partners(
    entry: Expectation, own: Sequence[MeasurementRow], rows: Rows
) -> Iterator[_Change]:
    """Yield the changes that give the entry's figures those of what they are compared with."""
    before = {}
    if entry.metric.endswith(".last"):
        before[LAST_IS_FIRST] = f"{entry.metric.removesuffix('.last')}.first"
    if isinstance(entry, ledger.LawEntry) and "than" in entry.expect.params:
        before[NO_CHANGE] = entry.expect.params["than"]
    for name, metric in before.items():
        at = {(id(row.run), frozen(row.measurement.where)): row for row in rows.of(metric)}
        places = {id(row): (id(row.run), frozen(row.measurement.where)) for row in own}
        yield (
            name,
            {row: at[place].measurement.value for row, place in places.items() if place in at},
        )
    other = _compared_with(entry)
    if other is not None:
        try:
            pairs = rows.pairs(entry, other)
        except Unanswered:
            return
        there = {id(one): two.measurement.value for one, two in pairs}
        back = {id(two): one.measurement.value for one, two in pairs}
        yield EXCHANGED, {**back, **there}


def _compared_with(entry: Expectation) -> ledger.Cell | None:
    match entry:
        case ledger.RatioEntry():
            return entry.expect.to
        case ledger.OrderingEntry():
            return entry.expect.than
        case _:
            return None


def _allows_nothing(entry: Expectation) -> bool:
    """Return whether an entry accepts 0, as a limit on an error or on a cost does."""
    match entry:
        case ledger.BoundEntry():
            low, high = entry.expect.interval
        case ledger.LawEntry() if entry.expect.law == "all_cells":
            low, high = -math.inf, math.inf
            low = entry.expect.params.get("low", low)
            high = entry.expect.params.get("high", high)
        case _:
            return False
    return low <= 0 <= high


def _metrics_of(entry: Expectation) -> tuple[str, ...]:
    """Return the metrics that an entry is judged by: its own, and what it is compared with."""
    other = _compared_with(entry)
    names = [entry.metric, other.metric if other is not None else entry.metric]
    if isinstance(entry, ledger.LawEntry) and "than" in entry.expect.params:
        names.append(entry.expect.params["than"])
    return tuple(dict.fromkeys(names))


# --- changes --------------------------------------------------------------------------------------


def _number(row: MeasurementRow) -> float:
    value = row.measurement.value
    assert is_number(value)
    return value


def _scaled(row: MeasurementRow, factor: float) -> float:
    return _number(row) * factor


def _successes(row: MeasurementRow, factor: float) -> float:
    """Return a rate whose successes are so many times what they were, as a whole number."""
    trials = row.measurement.count
    scale = 100.0 if row.measurement.unit == "%" else 1.0
    return round(_number(row) * factor / scale * trials) / trials * scale


def _other(row: MeasurementRow) -> Scalar:
    value = row.measurement.value
    return not value if isinstance(value, bool) else f"not {value}"


def _reaches(change: Mapping[int, Scalar], held: Sequence[MeasurementRow]) -> bool:
    return any(change[id(row)] != row.measurement.value for row in held if id(row) in change)


def _moved(
    placed: Mapping[tuple[Hashable, Hashable], MeasurementRow],
    key: str,
    takes: Mapping[Any, Scalar],
) -> dict[int, Scalar]:
    """Return what each row becomes that takes its figure from another value of `key`.

    Args:
        placed: by what a row shares with those that differ in `key` alone, and by its value of it.
        key: an axis or row key.
        takes: value -> the value whose figure it is given.
    """
    moved = {}
    for (rest, _), row in placed.items():
        if _is_label(row, key):
            source = placed.get((rest, frozen(takes[row.keys[key]])))
            if source is not None:
                moved[id(row)] = source.measurement.value
    return moved


def _rest(row: MeasurementRow, key: str) -> Hashable:
    keys = {name: value for name, value in row.keys.items() if name != key}
    return row.measurement.metric, row.run.spec.seed, row.run.spec.replicate, frozen(keys)


def _on_one_seed(entry: Expectation, measured: Measured) -> Judgement:
    """Judge an entry where each replicate of a cell is its first one again."""
    first: dict[str, FinishedRun] = {}
    for run in sorted(measured.rows.runs, key=lambda each: each.spec.replicate):
        first.setdefault(run.spec.point_id, run)
    runs = [
        replace(run, measurements=first[run.spec.point_id].measurements)
        if run.outcome.status is Status.FINISHED
        else run
        for run in measured.rows.runs
    ]
    same = Measured.of(runs, measured.metrics, recomputed=measured.recomputed)
    return judge(entry, same)


# --- parts ----------------------------------------------------------------------------------------


def _is_label(row: MeasurementRow, key: str) -> bool:
    return isinstance(row.keys.get(key), str | int | float | bool)
