"""The tables of figures: one row a cell of the sweep, or one row a row key of the workload."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from harness.records import FinishedRun, RunSpec, Scalar, Status, canonical_json, record
from harness.report.dossier import Origin, ScenarioReport, origin
from harness.report.figures import setting
from harness.report.readings import Place, RunValues, cell_of, place, pool, values_of
from harness.report.roofline import share_of, shares
from harness.report.tables import Align, Column, RowGroup, Table, TableCell, absent, words
from harness.scenario.cells import cells_of
from harness.workloads.api.declare import Metric
from harness.workloads.api.run_metrics import RUN_METRICS

# units that a header need not repeat: the figure itself, or its name, says it
_UNSPOKEN = frozenset({"1", "text", "flag", "count"})


@record
class Replicates:
    """Finished runs of one cell that differ only in their seed.

    Attributes:
        readings: of each run.
        seeds: of each run.
    """

    spec: RunSpec
    origin: Origin
    readings: tuple[RunValues, ...]
    seeds: tuple[int, ...]
    run_ids: tuple[str, ...]


def cells_table(dossier: ScenarioReport) -> Table:
    """Return one row for each cell: swept params, then the scenario's report metrics.

    Several replicates become mean ± sample standard deviation, with their number; runs on another
    device, image or source get their own row. A run that did not finish, and a planned one
    without a run, have a row that says so in place of figures.
    """
    finished = replicates(dossier)
    metrics = _cell_metrics(dossier, finished)
    lines = [_finished_line(each, {}, metrics) for each in finished]
    for run in dossier.runs:
        if (status := run.outcome.status) is not Status.FINISHED:
            cause = f"{status}: {run.outcome.cause}" if run.outcome.cause else status
            lines.append(_empty_line(run.spec, origin(run), cause, status, metrics))
    known = {(run.spec.point_id, run.spec.replicate) for run in dossier.runs}
    for spec in dossier.plan.runs:
        if (spec.point_id, spec.replicate) not in known:
            nowhere = Origin(profile=spec.profile, device="", runtime="", image="", source="")
            lines.append(_empty_line(spec, nowhere, "not run", "not run", metrics))
    title = f"{dossier.scenario.title}: {dossier.profile} profile"
    return _table(dossier, title, lines, metrics)


def rows_tables(dossier: ScenarioReport) -> tuple[Table, ...]:
    """Return a table for each set of row keys that measurements carry, e.g. one by checkpoint.

    The metrics are the scenario's report metrics, or all where it names none.
    """
    finished = replicates(dossier)
    key_sets = _key_sets(finished)
    keyed: dict[tuple[str, ...], list[Metric]] = {}
    for metric in report_metrics(dossier):
        for keys in key_sets.get(metric.name, {}):
            if keys:
                keyed.setdefault(keys, []).append(metric)
    tables = []
    for keys, metrics in keyed.items():
        lines = [
            _finished_line(each, where, metrics)
            for each in finished
            for where in _places(each, keys, metrics)
        ]
        by = ", ".join(lines[0].where)
        title = f"{dossier.scenario.title}: {dossier.profile} profile, by {by}"
        tables.append(_table(dossier, title, lines, metrics))
    return tuple(tables)


def replicates(dossier: ScenarioReport) -> tuple[Replicates, ...]:
    """Return the finished runs in the sweep's order, those that may be averaged together."""
    together: dict[tuple[str, Origin], list[FinishedRun]] = {}
    in_order = _cell_order(dossier)
    shown = {metric.name for metric in report_metrics(dossier)}
    shown.update(name for plot in dossier.scenario.report.plots for name in plot.metrics)
    for run in sorted(dossier.runs, key=lambda run: (*in_order(run.spec), run.spec.replicate)):
        if run.outcome.status is Status.FINISHED:
            together.setdefault((run.spec.point_id, origin(run)), []).append(run)

    def values(run: FinishedRun) -> RunValues:
        found = values_of(run, shown)
        return {**found, **shares(run, found)}

    return tuple(
        Replicates(
            spec=runs[0].spec,
            origin=where,
            readings=tuple(values(run) for run in runs),
            run_ids=tuple(run.spec.run_id for run in runs),
            seeds=tuple(run.spec.seed for run in runs),
        )
        for (_, where), runs in together.items()
    )


def metric_column(metric: Metric) -> Column:
    """Return the column of a metric."""
    align = Align.LEFT if metric.unit == "text" else Align.RIGHT
    return Column(key=metric.name, header=metric.name, unit=spoken(metric.unit), align=align)


def spoken(unit: str) -> str:
    """Return the unit as headers and axes name it; empty where the name of the figure says it."""
    return "" if unit in _UNSPOKEN else unit


@record
class _Line:
    """A row before it is known which columns its table needs."""

    spec: RunSpec
    origin: Origin
    where: Mapping[str, Scalar]
    status: str
    count: int
    figures: tuple[TableCell, ...]
    run_ids: tuple[str, ...] = ()


def _finished_line(
    each: Replicates, where: Mapping[str, Scalar], metrics: Sequence[Metric]
) -> _Line:
    return _Line(
        spec=each.spec,
        origin=each.origin,
        where=where,
        status=Status.FINISHED,
        count=len(each.readings),
        figures=tuple(
            cell_of(metric, pool(metric, place(where), each.readings)) for metric in metrics
        ),
        run_ids=each.run_ids,
    )


def _empty_line(
    spec: RunSpec, where_from: Origin, status: str, reason: str, metrics: Sequence[Metric]
) -> _Line:
    return _Line(
        spec=spec,
        origin=where_from,
        where={},
        status=status,
        count=0,
        figures=tuple(absent(reason) for _ in metrics),
    )


def _table(
    dossier: ScenarioReport, title: str, lines: Sequence[_Line], metrics: Sequence[Metric]
) -> Table:
    in_order = _cell_order(dossier)
    # the sort is stable: the rows of a cell stay as the workload wrote them
    ordered = sorted(lines, key=lambda line: in_order(line.spec))
    axes = dict.fromkeys(axis for line in ordered for axis in line.spec.axes)
    keys = dict.fromkeys(key for line in ordered for key in line.where)
    # the columns before the metrics: what a row is about, and what became of it
    leading = [
        *(
            _settings(axis, [line.spec.params[axis] for line in ordered], dossier.param_unit(axis))
            for axis in axes
        ),
        *(_settings(key, [line.where[key] for line in ordered]) for key in keys),
        *_origin_columns(ordered),
        *_ending_columns(ordered),
        _run_column(ordered),
    ]
    rows = tuple(
        (*(each.boxes[index] for each in leading), *line.figures)
        for index, line in enumerate(ordered)
    )
    spread = (
        ("±: standard deviation over n runs.",) if any(each.count > 1 for each in lines) else ()
    )
    return Table(
        title=title,
        caption=(*dossier.caption, *spread),
        columns=(*(each.column for each in leading), *(metric_column(each) for each in metrics)),
        groups=(RowGroup(rows=rows),),
    )


@record
class _Filled:
    """A column with its field of every line."""

    column: Column
    boxes: tuple[TableCell, ...]


def _settings(key: str, values: Sequence[Any], unit: str = "") -> _Filled:
    is_number = [isinstance(value, int | float) for value in values]
    texts = [setting(value) for value in values]
    boxes = tuple(
        TableCell(text=text, raw=value if number else text)
        for text, value, number in zip(texts, values, is_number, strict=True)
    )
    align = Align.RIGHT if all(is_number) else Align.LEFT
    column = Column(key=key, header=key, unit=spoken(unit), align=align, names_row=True)
    return _Filled(column=column, boxes=boxes)


def _origin_columns(lines: Sequence[_Line]) -> Iterator[_Filled]:
    """Yield where figures come from; loud where lines with figures differ in it."""
    for field in fields(Origin):
        values = {getattr(line.origin, field.name) for line in lines if line.count}
        yield _Filled(
            column=Column(
                key=field.name, header=field.name, names_row=True, quiet=len(values) <= 1
            ),
            boxes=tuple(words(getattr(line.origin, field.name)) for line in lines),
        )


def _ending_columns(lines: Sequence[_Line]) -> Iterator[_Filled]:
    """Yield how runs ended, if not all finished, and how many runs each line has."""
    if any(line.status != Status.FINISHED for line in lines):
        yield _Filled(
            column=Column(key="status", header="status"),
            boxes=tuple(words(line.status) for line in lines),
        )
    if any(line.count > 1 for line in lines):
        yield _Filled(
            column=Column(key="n", header="n", align=Align.RIGHT),
            boxes=tuple(TableCell(text=str(line.count), raw=line.count) for line in lines),
        )


def _run_column(lines: Sequence[_Line]) -> _Filled:
    """Return which runs each line's figures come from."""
    return _Filled(
        column=Column(key="runs", header="runs", quiet=True),
        boxes=tuple(words(" ".join(line.run_ids)) for line in lines),
    )


def _cell_order(dossier: ScenarioReport) -> Callable[[RunSpec], tuple[int, str]]:
    """Return the sort key of specs: the sweep's own order, cells from elsewhere after it."""
    sweep = dossier.scenario.sweep_of(dossier.profile)
    declared = {canonical_json(cell): index for index, cell in enumerate(cells_of(sweep))}

    def key(spec: RunSpec) -> tuple[int, str]:
        cell = canonical_json(spec.cell)
        return declared.get(cell, len(declared)), cell

    return key


def _cell_metrics(dossier: ScenarioReport, finished: Sequence[Replicates]) -> list[Metric]:
    """Return the report's metrics, without those that are only measured by row key.

    It also leaves out metrics of other profiles' workloads. Shares of what the machine can do come
    last, where it was probed.
    """
    key_sets = _key_sets(finished)
    if dossier.scenario.report.metrics:
        its_own = {each.name for each in (*dossier.workload.metrics, *RUN_METRICS)}
        found = [
            each
            for each in report_metrics(dossier)
            if (() in key_sets[each.name] if each.name in key_sets else each.name in its_own)
        ]
    else:
        found = [each for each in dossier.workload.metrics if () in key_sets.get(each.name, {})]
    limited = [share_of(each) for each in found if each.flop]
    return [*found, *(each for each in limited if () in key_sets.get(each.name, {}))]


def report_metrics(dossier: ScenarioReport) -> list[Metric]:
    """Return the metrics that the scenario's report names, or all of the workload."""
    names = dossier.scenario.report.metrics
    return [dossier.metrics[name] for name in names] or [*dossier.workload.metrics]


def _key_sets(finished: Sequence[Replicates]) -> dict[str, dict[tuple[str, ...], None]]:
    """Return, for each measured metric, the sets of row keys it is measured under."""
    found: dict[str, dict[tuple[str, ...], None]] = {}
    for run in (run for each in finished for run in each.readings):
        for name, where in run:
            found.setdefault(name, {})[_keys(where)] = None
    return found


def _places(
    each: Replicates, keys: tuple[str, ...], metrics: Sequence[Metric]
) -> list[Mapping[str, Scalar]]:
    """Return where the metrics were measured, each place once and as the workload wrote it."""
    names = {metric.name for metric in metrics}
    found: dict[Place, Mapping[str, Scalar]] = {}
    for run in each.readings:
        for (name, where), measured in run.items():
            if name in names and _keys(where) == keys:
                found.setdefault(where, measured.where)
    return [*found.values()]


def _keys(where: Place) -> tuple[str, ...]:
    return tuple(key for key, _ in where)
