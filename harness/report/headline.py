"""The headline table of a scenario: the figures that answer its question, with their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from harness.check.rows import MeasurementRow, Rows, frozen, is_number
from harness.errors import nearest
from harness.records import Measurement, Status, record
from harness.report.cells import spoken
from harness.report.dossier import Origin, ScenarioReport, origin
from harness.report.figures import figure, last_digit, setting
from harness.report.intervals import MIN_RUNS, of_runs, of_trials
from harness.report.tables import Align, Column, RowGroup, Table, words
from harness.scenario.schema import HeadlineColumn, HeadlineTable, IntervalKind
from harness.statistics import Interval
from harness.units import convert
from harness.workloads.api.declare import Metric

_SEPARATE_RUNS = 2  # that many are shown one by one
_NOUNS = ("turn", "step", "token", "document", "character", "parameter")  # the header says it


@record
class HeadlineRows:
    """The headline table, each cell as text.

    Attributes:
        title: what it shows.
        headers: of the columns: those that name a row first.
        num_names: how many those are.
        rows: in the declared order.
        notes: what a reader must know to read a cell, and what has no figure and why.
    """

    title: str
    headers: tuple[str, ...]
    num_names: int
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def headline_rows(dossier: ScenarioReport) -> HeadlineRows | None:
    """Return the headline table of a dossier; None where its scenario declares none.

    A figure of one run stands alone, of two runs as ``a / b``, of three or more as their mean. In
    brackets is the 95 % interval that the column asks for.
    """
    declared = dossier.scenario.headline
    if declared is None:
        return None
    table = declared.table_of(dossier.profile)
    finished = [run for run in dossier.runs if run.outcome.status is Status.FINISHED]
    rows = Rows(finished)
    cells = [_cells(rows, table, column) for column in table.columns]
    sweep = dossier.scenario.sweep_of(dossier.profile)
    names = _in_order(table, cells, {**sweep.zip, **sweep.product})
    origins = {each.origin for each in names}
    several = len(origins) > 1
    texts, problems = [], []
    for column, found in zip(table.columns, cells, strict=True):
        metric = dossier.metrics[column.metric]
        texts.append([_text(rows, metric, column, found.get(name, [])) for name in names])
        if not found:
            problems.append(f"no {column.header}: {_why_none(rows, table, column)}")
    headers = [_header(column, dossier.metrics[column.metric]) for column in table.columns]
    if not table.rows and not several:  # one row: it reads better as a list
        listed = [
            (header, column[0]) for header, column in zip(headers, texts, strict=True) if column
        ]
        return HeadlineRows(
            title=table.title,
            headers=("", ""),
            num_names=1,
            rows=tuple(listed),
            notes=(*_legend(rows, [text for _, text in listed]), *problems),
        )
    extra = ("device",) if several else ()
    lines = [
        (*_named(table, name), *((name.origin.device,) if several else ()), *figures)
        for name, *figures in zip(names, *texts, strict=True)
    ]
    return HeadlineRows(
        title=table.title,
        headers=(*(table.names.get(key, _words(key)) for key in table.rows), *extra, *headers),
        num_names=len(table.rows) + len(extra),
        rows=tuple(lines),
        notes=(*_legend(rows, [text for column in texts for text in column]), *problems),
    )


def headline_table(dossier: ScenarioReport) -> Table | None:
    """Return the headline with its caption; None where it is not declared or has no figure."""
    found = headline_rows(dossier)
    if found is None or not found.rows:
        return None
    aligns = [
        Align.LEFT if at < found.num_names else Align.RIGHT for at in range(len(found.headers))
    ]
    return Table(
        title=found.title,
        caption=(*dossier.caption, *(f"{note[0].upper()}{note[1:]}." for note in found.notes)),
        columns=tuple(
            Column(key=header, header=header, align=align, names_row=align is Align.LEFT)
            for header, align in zip(found.headers, aligns, strict=True)
        ),
        groups=(RowGroup(rows=tuple(tuple(map(words, row)) for row in found.rows)),),
    )


@record
class _RowName:
    """What a row is about: the values of its keys as they hash, and where its runs come from."""

    values: tuple[Any, ...]
    origin: Origin


_Cells = dict[_RowName, list[MeasurementRow]]


def _cells(rows: Rows, table: HeadlineTable, column: HeadlineColumn) -> _Cells:
    """Return the measurements of a column by row: those that no other key distinguishes."""
    found: _Cells = {}
    for row in rows.of(column.metric):
        spare = set(row.measurement.where) - set(table.rows) - set(column.where)
        asked = all(
            key in row.keys and frozen(row.keys[key]) == frozen(value)
            for key, value in column.where.items()
        )
        if spare or not asked or any(key not in row.keys for key in table.rows):
            continue
        values = tuple(frozen(row.keys[key]) for key in table.rows)
        name = _RowName(values=values, origin=origin(row.run))
        if all(
            name.values[table.rows.index(key)] in {frozen(each) for each in chosen}
            for key, chosen in table.only.items()
        ):
            found.setdefault(name, []).append(row)
    return found


def _in_order(
    table: HeadlineTable, cells: Sequence[_Cells], axes: Mapping[str, Sequence[Any]]
) -> list[_RowName]:
    """Return the rows of all columns, key by key.

    A key's values are in the order of `only`, else of the sweep, else as they were measured;
    numbers by size.
    """
    names = list(dict.fromkeys(name for found in cells for name in found))
    places: list[dict[Any, int]] = []
    for index, key in enumerate(table.rows):
        seen = list(dict.fromkeys(name.values[index] for name in names))
        if all(is_number(value) for value in seen):
            seen.sort()
        listed = [frozen(each) for each in table.only.get(key) or axes.get(key, ())]
        order = dict.fromkeys([*listed, *seen])
        places.append({value: place for place, value in enumerate(order)})
    return sorted(
        names,
        key=lambda name: [places[index][value] for index, value in enumerate(name.values)],
    )


def _named(table: HeadlineTable, name: _RowName) -> Iterator[str]:
    for value in name.values:
        text = setting(value[1] if isinstance(value, tuple) and value[0] == "flag" else value)
        yield table.names.get(text, text)


def _words(key: str) -> str:
    return key.replace("_", " ")


def _header(column: HeadlineColumn, metric: Metric) -> str:
    unit = spoken(metric.unit) if metric.unit not in _NOUNS else ""
    return f"{column.header} [{unit}]" if unit else column.header


def _why_none(rows: Rows, table: HeadlineTable, column: HeadlineColumn) -> str:
    measured = rows.of(column.metric)
    if not measured:
        return "not measured" if rows.runs else "not run"
    keys = {key for row in measured for key in row.keys}
    for key in (*table.rows, *column.where):
        if key not in keys:
            close = nearest(key, keys)
            return f"{column.metric} has no key {key!r}" + (f"; nearest: {close}" if close else "")
    return "every figure has further keys, or other values of these"


# --- one cell -------------------------------------------------------------------------------------


def _text(rows: Rows, metric: Metric, column: HeadlineColumn, found: list[MeasurementRow]) -> str:
    """Return a cell: its figure or figures, and the interval where there is one."""
    present = [row for row in found if row.measurement.value is not None]
    if not present:
        reasons = dict.fromkeys(row.measurement.absent for row in found)
        return "; ".join(reason for reason in reasons if reason) or "-"
    values = [row.value(metric.unit) for row in present]
    numbers = [float(value) for value in values if is_number(value)]
    if len(numbers) < len(values):
        return " / ".join(dict.fromkeys(figure(value, metric) for value in values))
    if len(numbers) >= MIN_RUNS:
        of_share = column.interval in (IntervalKind.WILSON, IntervalKind.SHARE)
        interval = of_runs(numbers, metric.unit, is_share=of_share)
        return _with_interval(fmean(numbers), interval, metric)
    ends = [_ends(rows, metric, column, row) for row in present]
    return " / ".join(
        _with_interval(number, end, metric) for number, end in zip(numbers, ends, strict=True)
    )


def _ends(
    rows: Rows, metric: Metric, column: HeadlineColumn, row: MeasurementRow
) -> Interval | None:
    """Return the interval of one run's figure; None where nothing is known of it."""
    if column.interval in (IntervalKind.RUNS, IntervalKind.SHARE):
        return None
    if column.interval is IntervalKind.WILSON:
        return of_trials([row.number(metric.unit)], [row.measurement.count], metric.unit)
    low, high = (_beside(rows, name, row, metric.unit) for name in column.interval)
    return None if low is None or high is None else Interval(low=low, high=high)


def _beside(rows: Rows, name: str, row: MeasurementRow, unit: str) -> float | None:
    """Return another metric of the same run at the same place, in `unit`."""
    where = row.measurement.where
    for other in rows.of(name):
        measured: Measurement = other.measurement
        if other.run is row.run and measured.where == where and is_number(measured.value):
            return convert(float(measured.value), measured.unit, unit)
    return None


def _with_interval(value: float, interval: Interval | None, metric: Metric) -> str:
    if interval is None or interval.low == interval.high:
        return _plain(value, metric)
    if max(map(abs, (value, interval.low, interval.high))) < _SMALL:
        return f"{value:.0e} [{interval.low:.0e}, {interval.high:.0e}]"
    width = interval.high - interval.low
    digits = 0 if width >= _MANY else max(1, 1 - last_digit(float(f"{width:.0e}")))
    low, high = f"{interval.low:,.{digits}f}", f"{interval.high:,.{digits}f}"
    return f"{value:,.{digits}f} [{low}, {high}]"


_MANY = 100.0  # an interval wider than this needs no decimals


def _plain(value: float, metric: Metric) -> str:
    """Return a figure to four digits: enough to read."""
    if metric.unit == "%":
        return f"{value:,.1f}"
    if value == int(value) and abs(value) < _LARGE:
        return f"{int(value):,}"
    if abs(value) >= _LARGE or abs(value) < _SMALL:
        return f"{value:.3g}"
    return figure(float(f"{value:.4g}"), metric)


_LARGE, _SMALL = 1e9, 1e-3


def _legend(rows: Rows, texts: Sequence[str]) -> Iterator[str]:
    """Yield what the signs in the cells mean."""
    counts = {run.spec.point_id for run in rows.runs}
    num_runs = len(rows.runs) / len(counts) if counts else 0
    if any(" / " in text for text in texts) and num_runs == _SEPARATE_RUNS:
        yield "a / b: one run each"
    if any("[" in text for text in texts):
        many = f", over {int(num_runs)} runs" if num_runs >= MIN_RUNS else ""
        yield f"[low, high]: 95 % interval{many}"
