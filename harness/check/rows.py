"""Measurements as rows, found by metric and keys, and paired by what they share.

A row's keys are the params of its run and the row keys of its measurement; where both name one,
the measurement's is meant. Runs of one point with other seeds are samples of one cell.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from math import isfinite
from statistics import fmean
from typing import Any, TypeGuard

from harness.check.finding import call_degraded, call_inconclusive, call_invalid, call_missing
from harness.check.wording import keys as keys_text
from harness.check.wording import several
from harness.errors import nearest
from harness.records import FinishedRun, Measurement, Scalar, Status, VerdictKind, record
from harness.results.measured import clocked, measured
from harness.scenario.expectations import Cell, Entry
from harness.units import convert


@record
class MeasurementRow:
    """One measurement, and what distinguishes it."""

    run: FinishedRun
    measurement: Measurement
    keys: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The swept params and row keys, for people."""
        spec = self.run.spec
        where = keys_text({**spec.cell, **self.measurement.where})
        replicate = f" replicate={spec.replicate}" if spec.replicate else ""
        return f"{where}{replicate}".strip() or self.measurement.metric

    @property
    def cell(self) -> Hashable:
        """What the replicates of one cell have in common."""
        return frozen(self.keys)

    def value(self, unit: str) -> Scalar:
        """Return the value in `unit`; text and flags have none to convert.

        Raises:
            Unanswered: RUN FAILED, the units measure different things.
        """
        found = self.measurement.value
        if not is_number(found):
            return found
        return in_unit(found, self.measurement.unit, unit)

    def number(self, unit: str) -> float:
        """Return the value in `unit`.

        Raises:
            Unanswered: RUN FAILED, it is not a number, or its unit measures something else.
        """
        found = self.value(unit)
        if not is_number(found):
            call_invalid(f"{self.label} is {found!r}, not a number")
        return found


@record
class Mean:
    """The samples of one cell, as one number."""

    label: str
    keys: Mapping[str, Any]
    value: float
    count: int


Pair = tuple[MeasurementRow, MeasurementRow]


def in_unit(value: float, unit: str, to: str) -> float:
    """Convert, or raise `Unanswered` (RUN FAILED) if the units measure different things."""
    try:
        return convert(value, unit, to)
    except (KeyError, ValueError):
        call_invalid(f"measured in {unit!r}, which does not convert to {to!r}")


class Rows:
    """The rows of some runs; the order of the runs makes no difference.

    Args:
        runs: each once.
        losses: metrics that count what a run left out of its other figures (`Metric.is_loss`).
        metrics: those that will be asked for: their rows are read at once, any other's when it is.
        unusable: why no figure of a run can be used, by the run's identity.
    """

    def __init__(
        self,
        runs: Iterable[FinishedRun],
        losses: Iterable[str] = (),
        metrics: Iterable[str] = (),
        unusable: Mapping[int, str] | None = None,
    ) -> None:
        self.runs = sorted(runs, key=_order)
        self._losses = frozenset(losses)
        self._unusable = unusable or {}
        self._broken = [run for run in self.runs if run.outcome.status is not Status.FINISHED]
        self._by_metric: dict[str, list[MeasurementRow]] = {}
        self._by_keys: dict[tuple[str, ...], dict[Hashable, list[MeasurementRow]]] = {}
        self._read(frozenset(metrics))

    def of(self, metric: str) -> Sequence[MeasurementRow]:
        """Return every row of a metric, absent figures too; empty if no run measured it."""
        if metric not in self._by_metric:
            self._read({metric})
        return self._by_metric[metric]

    def with_values(self, values: Mapping[int, Scalar]) -> Rows:
        """Return these rows, some with another value.

        What keeps a figure from being used, `losses` and `unusable`, is left out.

        Args:
            values: by the identity of a row.
        """
        return _ChangedRows(self, self._broken, values)

    def select(self, cell: Cell | Entry) -> list[MeasurementRow]:
        """Return the rows of `cell.metric` that match `cell.where`; there is at least one.

        Raises:
            Unanswered: RUN FAILED, a run that could hold one failed, or one occurs twice; MISSING,
                there is none, or one is absent; HOST DEGRADED, it is one of timing, and the machine
                was not itself; INCONCLUSIVE, times of one replicate were taken on several nodes of
                a cluster.
        """
        self._refuse_broken(cell)
        rows = self.matching(cell.metric, cell.where)
        if not rows:
            call_missing(self._why_none(cell))
        _refuse_twice(rows)
        _refuse_absent(rows)
        for row in rows:
            if id(row.run) in self._unusable:
                call_invalid(self._unusable[id(row.run)])
        _refuse_two_nodes(rows)
        return rows

    def found(self, cell: Cell | Entry) -> Sequence[MeasurementRow]:
        """Return the rows of `cell.metric` that match `cell.where`, absent ones too."""
        return self.matching(cell.metric, cell.where)

    def samples(self, cell: Cell | Entry) -> list[MeasurementRow]:
        """Return the rows of one cell: a row for each replicate.

        Raises:
            Unanswered: as `select`; also RUN FAILED, they are of several cells.
        """
        rows = self.select(cell)
        refuse_several_cells(rows)
        return rows

    def pairs(self, one: Cell | Entry, other: Cell | Entry) -> list[Pair]:
        """Return the rows of both cells, paired by replicate and by every key left free.

        A free key is one that neither `where` names and that the rows of both sides have.

        Raises:
            Unanswered: as `select`; also MISSING, a row has no partner; RUN FAILED, it has several,
                or its run left out more than its partner's; INCONCLUSIVE, a time of one was taken
                on another node than its partner's.
        """
        left, right = self.select(one), self.select(other)
        common = set(left[0].keys).intersection(*(row.keys for row in [*left, *right]))
        free = sorted(common - set(one.where) - set(other.where))
        partners = _grouped(right, free)
        pairs = [(row, found) for row in left for found in partners.get(_at(row, free), ())]
        _refuse_unpaired(left, right, pairs, free)
        _refuse_two_nodes([*left, *right])
        for pair in pairs:
            self._refuse_unequal_losses(*pair)
        return pairs

    def _refuse_unequal_losses(self, one: MeasurementRow, other: MeasurementRow) -> None:
        """Raise `Unanswered` where what was left out may be what makes the difference."""
        for name in sorted(self._losses):
            lost, lost_there = (_total(row.run, name) for row in (one, other))
            if lost != lost_there:
                call_invalid(
                    f"{name}: {lost:g} at {one.label}, {lost_there:g} at {other.label}: what was "
                    f"left out may be what makes the difference"
                )

    def matching(self, metric: str, where: Mapping[str, Scalar]) -> list[MeasurementRow]:
        """Return the rows of `metric` that have these values of these keys, by an index."""
        keys = sorted(where)
        if (metric, *keys) not in self._by_keys:
            rows = self.of(metric)
            holding = [row for row in rows if all(key in row.keys for key in keys)]
            self._by_keys[metric, *keys] = _grouped_by(holding, keys)
        return self._by_keys[metric, *keys].get(tuple(frozen(where[key]) for key in keys), [])

    def _read(self, metrics: AbstractSet[str]) -> None:
        self._by_metric.update((metric, []) for metric in metrics)
        for run in self.runs if metrics else ():
            for each in measured(run, metrics):
                keys = {**run.spec.params, **each.where}
                row = MeasurementRow(run=run, measurement=each, keys=keys)
                self._by_metric[each.metric].append(row)

    def _refuse_broken(self, cell: Cell | Entry) -> None:
        for run in self._broken:
            params = run.spec.params
            named = {key: value for key, value in cell.where.items() if key in params}
            if matches(params, named):
                cause = run.outcome.cause or "no cause recorded"
                call_invalid(f"run {run.spec.label} {run.outcome.status}: {cause}")

    def _why_none(self, cell: Cell | Entry) -> str:
        if not self.runs:
            return "not run yet"
        rows = self.of(cell.metric)
        if not rows:
            return f"no run measured {cell.metric}"
        for key, value in cell.where.items():
            if self.matching(cell.metric, {key: value}):
                continue
            known = dict.fromkeys(str(row.keys[key]) for row in rows if key in row.keys)
            if not known:
                close = nearest(key, {name for row in rows for name in row.keys})
                hint = f"; nearest: {close}" if close else ""
                return f"no row of {cell.metric} has the key {key!r}{hint}"
            return f"no row of {cell.metric} has {key}={value}; there are {several(list(known), 8)}"
        return f"no row of {cell.metric} has {keys_text(cell.where)} at once"


class _ChangedRows(Rows):
    """Rows of which some have another value; where each is, the index of the others knows.

    A ledger is judged on thousands of them, each of which changes a few rows of many.
    """

    def __init__(
        self, origin: Rows, broken: list[FinishedRun], values: Mapping[int, Scalar]
    ) -> None:
        super().__init__(())
        self.runs, self._broken = origin.runs, broken
        self._origin, self._values = origin, values
        self._changed: dict[int, MeasurementRow] = {}  # each once: rows are told apart by identity

    def of(self, metric: str) -> Sequence[MeasurementRow]:
        return self._taken(self._origin.of(metric))

    def matching(self, metric: str, where: Mapping[str, Scalar]) -> list[MeasurementRow]:
        return self._taken(self._origin.matching(metric, where))

    def _taken(self, rows: Sequence[MeasurementRow]) -> list[MeasurementRow]:
        for row in rows:
            if id(row) in self._values and id(row) not in self._changed:
                measurement = replace(row.measurement, value=self._values[id(row)])
                self._changed[id(row)] = replace(row, measurement=measurement)
        return [self._changed.get(id(row), row) for row in rows]


def _total(run: FinishedRun, metric: str) -> float:
    """Return the sum of a run's figures of one metric."""
    values = (each.value for each in measured(run, {metric}))
    return sum(value for value in values if is_number(value))


def means(rows: Sequence[MeasurementRow], unit: str) -> list[Mean]:
    """Return one number a cell: the mean over its replicates.

    Raises:
        Unanswered: a row is not a number.
    """
    cells = []
    for members in _cells(rows):
        value = fmean(row.number(unit) for row in members)
        first = members[0]
        cells.append(Mean(label=first.label, keys=first.keys, value=value, count=len(members)))
    return cells


def differing(rows: Sequence[MeasurementRow], besides: Iterable[str] = ()) -> list[str]:
    """Return the keys in which the rows are not all alike, but for those in `besides`."""
    names = dict.fromkeys(name for row in rows for name in row.keys)
    return [
        name
        for name in names
        if name not in set(besides) and len({frozen(row.keys.get(name)) for row in rows}) > 1
    ]


def refuse_several_cells(rows: Sequence[MeasurementRow], besides: Iterable[str] = ()) -> None:
    """Raise `Unanswered` (INVALID) where the rows differ in anything but seed and `besides`."""
    if len(rows) > 1 and (keys := differing(rows, besides)):
        found = several([row.label for row in rows])
        call_invalid(f"ambiguous: {len(rows)} rows differ in {', '.join(keys)} ({found})")


def _cells(rows: Sequence[MeasurementRow]) -> list[list[MeasurementRow]]:
    cells: dict[Hashable, list[MeasurementRow]] = defaultdict(list)
    for row in rows:
        cells[row.cell].append(row)
    return list(cells.values())


def _refuse_twice(rows: Sequence[MeasurementRow]) -> None:
    if len(rows) == 1:
        return
    first: dict[Hashable, MeasurementRow] = {}
    for row in rows:
        identity = (*_replicate(row), row.cell)
        earlier = first.setdefault(identity, row)
        if earlier is row:
            continue
        if earlier.run is row.run:
            call_invalid(f"{row.measurement.metric} was measured twice in one run at {row.label}")
        call_invalid(f"{row.measurement.metric} at {row.label}: two runs of the same replicate")


def _refuse_absent(rows: Sequence[MeasurementRow]) -> None:
    absent = [(row, reason) for row in rows if (reason := _absence(row.measurement))]
    if absent:
        row, reason = absent[0]
        count = f" ({len(absent)} of {len(rows)} rows)" if len(rows) > 1 else ""
        if reason.startswith(VerdictKind.HOST_DEGRADED):
            call_degraded(f"{row.label}: {reason.partition(': ')[2]}{count}")
        call_missing(f"{row.label}: {reason}{count}")


def _refuse_two_nodes(rows: Sequence[MeasurementRow]) -> None:
    """Raise `Unanswered` where times of one replicate are of several nodes of a cluster.

    A node is a block, as a replicate is: what differs within a block is the cell alone. Figures
    that no clock has a part in are the same on every node, as these are alike.
    """
    first: dict[Hashable, MeasurementRow] = {}
    for row in rows:
        one = first.setdefault(_replicate(row), row)
        there, here = one.run.outcome.node, row.run.outcome.node
        if here != there and row.measurement.metric in clocked(row.run.spec):
            call_inconclusive(
                f"{row.measurement.metric} was taken on node {there or 'none'} at {one.label}, on "
                f"{here or 'none'} at {row.label}: times are compared within one node; with "
                "--replicates 2 or more, each of them is done by one"
            )


def _absence(found: Measurement) -> str:
    if found.value is None:
        return found.absent or "absent, no reason recorded"
    if isinstance(found.value, float) and not isfinite(found.value):
        return str(found.value)
    return ""


def _refuse_unpaired(
    left: Sequence[MeasurementRow],
    right: Sequence[MeasurementRow],
    pairs: Sequence[Pair],
    free: Sequence[str],
) -> None:
    paired = {id(row) for pair in pairs for row in pair}
    alone = [row for row in [*left, *right] if id(row) not in paired]
    if alone:
        never = [key for key in free if not _values(left, key) & _values(right, key)]
        because = f"; no two agree in {', '.join(never)}" if never else ""
        call_missing(f"no partner for {several([row.label for row in alone])}{because}")
    if len(pairs) > len(left):
        row = next(row for row in left if sum(one is row for one, _ in pairs) > 1)
        found = [other.label for one, other in pairs if one is row]
        call_invalid(f"ambiguous: {row.label} has {len(found)} partners, {several(found)}")


def _values(rows: Sequence[MeasurementRow], key: str) -> set[Hashable]:
    return {frozen(row.keys[key]) for row in rows}


def _grouped(
    rows: Sequence[MeasurementRow], free: Sequence[str]
) -> dict[Hashable, list[MeasurementRow]]:
    groups: dict[Hashable, list[MeasurementRow]] = defaultdict(list)
    for row in rows:
        groups[_at(row, free)].append(row)
    return groups


def _grouped_by(
    rows: Sequence[MeasurementRow], keys: Sequence[str]
) -> dict[Hashable, list[MeasurementRow]]:
    groups: dict[Hashable, list[MeasurementRow]] = defaultdict(list)
    for row in rows:
        groups[tuple(frozen(row.keys[key]) for key in keys)].append(row)
    return groups


def _at(row: MeasurementRow, free: Sequence[str]) -> Hashable:
    return (*_replicate(row), *(frozen(row.keys[key]) for key in free))


def _replicate(row: MeasurementRow) -> tuple[int, int]:
    return row.run.spec.seed, row.run.spec.replicate


def matches(keys: Mapping[str, Any], where: Mapping[str, Scalar]) -> bool:
    """Return whether `keys` hold every value that `where` names."""
    return all(key in keys and frozen(keys[key]) == frozen(value) for key, value in where.items())


def frozen(value: Any) -> Hashable:
    """Return a form that hashes, in which 8 equals 8.0 but true does not equal 1."""
    if isinstance(value, bool):
        return ("flag", value)
    if isinstance(value, Mapping):
        return tuple(sorted((key, frozen(item)) for key, item in value.items()))
    if isinstance(value, list | tuple):
        return tuple(frozen(item) for item in value)
    return value  # type: ignore[no-any-return]


def _order(run: FinishedRun) -> tuple[object, ...]:
    spec = run.spec
    params = repr(sorted(spec.params.items()))
    return params, spec.seed, spec.replicate, spec.source, repr(spec.image), repr(spec.evidence)


def is_number(value: Any) -> TypeGuard[int | float]:
    """Return whether `value` is a number; a flag is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)
