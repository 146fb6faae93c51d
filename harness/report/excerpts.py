"""What stands for a marker: a figure, a table, a plot or a list, in an article's own format."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from statistics import fmean

from markupsafe import escape

from harness.check.finding import Unanswered
from harness.check.kinds import values_of
from harness.check.measured import Measured
from harness.check.rows import is_number
from harness.errors import InputError, Problem, unknown
from harness.records import FinishedRun, Profile, Scalar, Status, record
from harness.report import clean
from harness.report.article_errors import errors_table
from harness.report.cells import cells_table, rows_tables
from harness.report.dossier import ScenarioReport
from harness.report.figures import figure, printed, setting
from harness.report.headline import headline_table
from harness.report.html import render_html
from harness.report.ledger import ledger_table
from harness.report.markers import HTML_SUFFIXES, Marker, Of, Shown
from harness.report.plots import RenderedPlot, draw
from harness.report.render import render_markdown
from harness.report.splice import PLOT_MARK, Excerpt
from harness.report.tables import Table, TableCell
from harness.scenario.expectations import (
    Cell,
    Entry,
    Expectation,
    Expectations,
    Printed,
)
from harness.scenario.schema import Scenario
from harness.units import UNITS, convert, same_dimension
from harness.workloads.api.declare import Metric

_NUMBER = re.compile(r"[ +-]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?%?")  # which Markdown takes as it is


class ArticleFormat(StrEnum):
    """What an article is written in."""

    MARKDOWN = "markdown"  # GitHub's, MyST, Quarto
    HTML = "html"


def format_of(article: Path) -> ArticleFormat:
    """Return the format of an article, by its suffix."""
    is_html = article.suffix.lower() in HTML_SUFFIXES
    return ArticleFormat.HTML if is_html else ArticleFormat.MARKDOWN


def excerpt(marker: Marker, report: ScenarioReport, form: ArticleFormat) -> Excerpt:
    """Return what stands for a marker of a table or a plot.

    Raises:
        InputError: there is nothing to show, or the marker chooses what is not there.
    """
    if not any(run.outcome.status is Status.FINISHED for run in report.runs):
        message = f"no finished run of {report.scenario.scenario} {report.profile}"
        raise InputError([Problem(message=message)])
    match marker.shown:
        case Shown.CELLS:
            return _tables(marker, [cells_table(report)], form)
        case Shown.ROWS:
            return _tables(marker, rows_tables(report), form)
        case Shown.LEDGER:
            return _tables(marker, [ledger_table(report)], form)
        case Shown.HEADLINE:
            found = headline_table(report)
            return _tables(marker, [found] if found else [], form)
        case _:
            return _plot(marker, report, form)


def errors_excerpt(scenario: Scenario, ledger: Expectations, form: ArticleFormat) -> Excerpt:
    """Return the list of an article's errors.

    Raises:
        InputError: the ledger declares none.
    """
    table = errors_table(scenario, ledger)
    if not table.rows:
        message = f"the ledger of {scenario.scenario} declares no error of its article"
        raise InputError([Problem(message=message)])
    return Excerpt(text=_rendered([table], form))


# --- tables ---------------------------------------------------------------------------------------


def _tables(marker: Marker, tables: Sequence[Table], form: ArticleFormat) -> Excerpt:
    columns = tuple(filter(None, marker.options.get("columns", "").split(",")))
    keys = [*columns, *marker.rows]
    fitting = [each for each in tables if set(keys) <= {column.key for column in each.columns}]
    if not tables:
        raise InputError([Problem(message=f"there are no {marker.shown}")])
    if not fitting:
        known = dict.fromkeys(column.key for each in tables for column in each.columns)
        missing = [key for key in keys if key not in known]
        if missing:
            raise InputError([unknown("column", key, known) for key in missing])
        message = f"no table has the columns {', '.join(keys)} together"
        raise InputError([Problem(message=message)])
    chosen = [_chosen(each, columns, marker.rows) for each in fitting]
    shown = [each for each in chosen if each.rows]
    if not shown:
        raise InputError([*_no_row(fitting, marker)])
    return Excerpt(text=_rendered(shown, form))


def _chosen(table: Table, columns: Sequence[str], rows: dict[str, tuple[str, ...]]) -> Table:
    """Return a table with these columns in this order, or all; and only the rows that match."""
    at = {column.key: index for index, column in enumerate(table.columns)}
    kept = [at[key] for key in columns] or [*range(len(table.columns))]
    groups = []
    for group in table.groups:
        matching = [
            tuple(row[index] for index in kept)
            for row in group.rows
            if all(_spellings(row[at[key]]) & {*values} for key, values in rows.items())
        ]
        if matching:
            groups.append(replace(group, rows=tuple(matching)))
    shown = tuple(
        # what a marker names is shown, though it be the same in every row
        replace(table.columns[index], quiet=table.columns[index].quiet and not columns)
        for index in kept
    )
    return replace(table, columns=shown, groups=tuple(groups))


def _spellings(cell: TableCell) -> set[str]:
    return {cell.text, "" if cell.raw is None else setting(cell.raw)}


def _no_row(tables: Iterable[Table], marker: Marker) -> Iterator[Problem]:
    """Yield which values a marker asks for that no row has."""
    every = [*tables]
    for key, values in marker.rows.items():
        known = {
            row[index].text
            for table in every
            for index, column in enumerate(table.columns)
            if column.key == key
            for row in table.rows
        }
        for value in values:
            if value not in known:
                yield unknown(f"value of {key}", value, known)
                return
    yield Problem(message="no row has all of these values", value=marker.words)


def _rendered(tables: Iterable[Table], form: ArticleFormat) -> str:
    if form is ArticleFormat.HTML:
        return "\n".join(render_html(table) for table in tables)
    return "\n".join(render_markdown(table, level=None) for table in tables)


# --- plots ----------------------------------------------------------------------------------------


def _plot(marker: Marker, report: ScenarioReport, form: ArticleFormat) -> Excerpt:
    """Return the plot as a file beside the article, and the reference to it."""
    declared = [plot.file for plot in report.scenario.report.plots]
    if marker.name not in declared:
        raise InputError([unknown("plot", marker.name, declared)])
    short = report.scenario.scenario.partition("-")[0]
    name = marker.options.get("path") or f"{short}-{report.profile}-{marker.name}.svg"
    _check_path(name)
    asked = next(plot for plot in report.scenario.report.plots if plot.file == marker.name)
    drawn = draw(asked, report)
    if not drawn.svg:
        raise InputError([Problem(message=f"plot {marker.name} is {drawn.note}")])
    alt = clean.field(marker.options.get("alt") or drawn.plot.title)
    caption = " ".join(clean.field(line) for line in (*_notes(drawn), *report.caption))
    if form is ArticleFormat.HTML:
        text = (
            f'<figure><img src="{escape(name)}" alt="{escape(alt)}">\n'
            f"<figcaption>{escape(caption)}</figcaption></figure>\n"
        )
    else:
        text = f"![{clean.markdown(alt)}](<{name}>)\n\n{clean.markdown_line(caption)}\n"
    return Excerpt(text=text, files={name: _marked(drawn.svg, short, marker)})


def _notes(drawn: RenderedPlot) -> Iterator[str]:
    if drawn.note:
        yield f"{drawn.note[0].upper()}{drawn.note[1:]}."


def _check_path(name: str) -> None:
    path = PurePosixPath(name)
    is_plain = all(part not in {"..", ""} for part in path.parts)
    if path.is_absolute() or path.suffix != ".svg" or not is_plain or set(name) & set('<>\\"\n'):
        allowed = "a name that ends in .svg, in the article's folder or below"
        raise InputError(
            [Problem(message="no place for a plot", value=repr(name), allowed=allowed)]
        )


def _marked(svg: str, short: str, marker: Marker) -> str:
    """Return a plot whose first lines say that it is the harness's, which may replace it."""
    head, newline, rest = svg.partition("\n")
    mark = f"{PLOT_MARK}{short} plot {marker.name} -->"
    return f"{head}{newline}{mark}\n{rest}" if head.startswith("<?xml") else f"{mark}\n{svg}"


# --- figures --------------------------------------------------------------------------------------


@record
class _Number:
    """A figure before it is written: a value in a unit, and how it is written as is usual."""

    value: Scalar
    unit: str
    usual: str


def is_measured(marker: Marker, ledger: Expectations) -> bool:
    """Say whether a figure comes from runs, rather than from the ledger alone."""
    entry = _entry(marker, ledger)
    return entry is None or _of(marker, entry) is Of.MEASURED


def profiles_of(
    marker: Marker, ledger: Expectations, reports: Iterable[ScenarioReport]
) -> tuple[Profile, ...]:
    """Return the profiles whose runs have measured a figure, of those that its claim applies in."""
    entry = _entry(marker, ledger)
    binds = entry.binds.profile if entry is not None else ()
    metric = entry.metric if entry is not None else marker.name
    return tuple(
        report.profile
        for report in reports
        if (not binds or report.profile in binds)
        and any(each.metric == metric for run in report.runs for each in run.measurements)
    )


def figure_excerpt(
    marker: Marker,
    ledger: Expectations,
    metrics: dict[str, Metric],
    report: ScenarioReport | None,
    form: ArticleFormat,
) -> Excerpt:
    """Return one number, for a sentence.

    Args:
        marker: names a claim of the ledger; or a metric, and the row keys of its value.
        ledger: of the scenario.
        metrics: every metric of the scenario, by name.
        report: the profile that measured it; None for a number that the ledger has.
        form: of the article.

    Raises:
        InputError: there is no such figure, it has no value, or cannot be written so.
    """
    entry = _entry(marker, ledger)
    if entry is None and marker.name not in metrics:
        ids = [each.id for each in ledger.expectations]
        if marker.name in ids:
            message = f"{marker.name} is a claim, which row keys do not choose"
            raise InputError([Problem(message=message, value=next(iter(marker.rows)))])
        raise InputError([unknown("claim or metric", marker.name, [*ids, *metrics])])
    if entry is None or report is not None:
        assert report is not None, "a measured figure has a profile"
        found = _measured(marker, entry, metrics, report)
    else:
        found = _from_ledger(entry, _of(marker, entry))
    return Excerpt(text=_written_text(_written(marker, found), form))


def _written_text(text: str, form: ArticleFormat) -> str:
    """Return text for the middle of a sentence."""
    shown = clean.field(text)
    if form is ArticleFormat.HTML:
        return str(escape(shown))
    return shown if _NUMBER.fullmatch(shown) else clean.markdown_line(shown)


def _entry(marker: Marker, ledger: Expectations) -> Expectation | None:
    """Return the claim that is meant; None for a metric, which row keys choose a value of."""
    if marker.rows:
        return None
    return next((each for each in ledger.expectations if each.id == marker.name), None)


def _of(marker: Marker, entry: Expectation) -> Of:
    """Return which number is meant: of arithmetic, which nothing measures, the true one."""
    usual = Of.TRUE if entry.kind == "arithmetic" else Of.MEASURED
    return Of(marker.options.get("of", usual))


def _from_ledger(entry: Entry, of: Of) -> _Number:
    known: dict[Of, Printed | None] = {
        Of.CLAIMED: entry.claimed,
        Of.RECORDED: entry.recorded,
        Of.DERIVED: entry.derived,
        Of.TRUE: entry.derived or entry.recorded,
    }
    given = known[of]
    if given is None:
        there = ", ".join(f"of={each}" for each, value in known.items() if value is not None)
        message = f"{entry.id} has no number of this kind"
        raise InputError([Problem(message=message, value=f"of={of}", allowed=there or "none")])
    return _Number(value=given.value, unit=entry.unit, usual=printed(given))


def _measured(
    marker: Marker,
    entry: Expectation | None,
    metrics: dict[str, Metric],
    report: ScenarioReport,
) -> _Number:
    metric = metrics[entry.metric if entry is not None else marker.name]
    unit = entry.unit if entry is not None else metric.unit
    measured = Measured.of(report.runs, report.metrics, recomputed=_is_recomputed(report))
    try:
        if entry is not None:
            values = values_of(entry, measured)
        else:
            where = {
                key: _key(report.runs, metric.name, key, ",".join(values))
                for key, values in marker.rows.items()
            }
            rows = measured.rows.samples(Cell(metric=metric.name, where=where))
            values = [row.value(unit) for row in rows]
    except Unanswered as unanswered:
        message = f"{marker.name} in {report.profile}: {unanswered}"
        raise InputError([Problem(message=message)]) from None
    numbers = [float(value) for value in values if is_number(value)]
    if len(numbers) == len(values):
        one = values[0] if len(values) == 1 else fmean(numbers)
        shown = metric if same_dimension(unit, metric.unit) else None
        return _Number(value=one, unit=unit, usual=figure(one, shown))
    distinct = dict.fromkeys(figure(value, metric) for value in values)
    if len(distinct) > 1:
        message = f"{marker.name} in {report.profile} has {len(distinct)} values"
        raise InputError([Problem(message=message, value=clean.brief(", ".join(distinct)))])
    return _Number(value=values[0], unit=unit, usual=next(iter(distinct)))


def _is_recomputed(report: ScenarioReport) -> bool:
    return report.profile is Profile.EVIDENCE


def _key(runs: Iterable[FinishedRun], metric: str, key: str, word: str) -> Scalar:
    """Return the value of a row key or param that a marker spells as text."""
    measured = [(run, each) for run in runs for each in run.measurements if each.metric == metric]
    known: dict[str, Scalar] = {}
    for run, each in measured:
        keys = {**run.spec.params, **each.where}
        if key in keys:
            known[setting(keys[key])] = keys[key]
    if not known:
        names = {name for _, each in measured for name in each.where}
        raise InputError([unknown(f"row key of {metric}", key, names)])
    if word not in known:
        raise InputError([unknown(f"value of {key}", word, known)])
    return known[word]


def _written(marker: Marker, found: _Number) -> str:
    """Return a number in the unit and format that a marker asks for."""
    unit = marker.options.get("unit", "")
    if not unit and not marker.format:
        return found.usual
    if not is_number(found.value):
        message, value = f"{marker.name} is no number", clean.brief(setting(found.value))
        raise InputError([Problem(message=f"{message}, and has no unit or format", value=value)])
    number = float(found.value)
    if marker.format.endswith("%"):
        unit = unit or "1"
    if unit:
        number = _converted(marker, number, found.unit, unit)
    if not marker.format:
        return figure(number)
    return format(round(number) if marker.format.endswith("d") else number, marker.format)


def _converted(marker: Marker, value: float, unit: str, to: str) -> float:
    alike = [name for name, each in UNITS.items() if each.dimension == UNITS[unit].dimension]
    if to not in alike:
        raise InputError([unknown(f"unit of {marker.name}", to, alike)])
    return convert(value, unit, to)
