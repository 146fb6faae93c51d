"""A history for people: a line a figure with its sparkline, a drawing of each, a page, and csv."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from markupsafe import Markup

from harness.history.rows import Finding, HistoryRows
from harness.history.series import Tonight, key_of
from harness.records import Profile, canonical_json, record
from harness.report import clean
from harness.report.figures import figure
from harness.report.html import fill
from harness.report.palette import DARK, LIGHT
from harness.report.render import render_text
from harness.report.tables import Align, Column, RowGroup, Table, TableCell, words
from harness.scenario.schema import Scenario

_BARS = "▁▂▃▄▅▆▇█"
_SPARK = 32  # nights in a line
_HEIGHT = 10  # rows of a drawing in the terminal
_MARGIN = 12  # columns of its axis
_PAGE_WIDTH, _PAGE_HEIGHT, _PAGE_POINTS = 720, 140, 720


@record
class HistoryReport:
    """The history of a scenario at a profile, judged."""

    scenario: Scenario
    profile: Profile
    rows: HistoryRows
    seen: tuple[Tonight, ...]

    @property
    def caption(self) -> tuple[str, ...]:
        """How long it is, and what is odd about it."""
        nights = self.rows.nights
        if not nights:
            return ("No nights.",)
        doubtful = sum(bool(each.clock) for each in nights)
        lines = [
            f"{len(nights)} rows from {nights[0].time[:10]} to {nights[-1].time[:10]}.",
            f"{len(self.rows.findings)} findings, {len(self.rows.accepted)} accepted.",
        ]
        if doubtful:
            lines.append(
                f"{doubtful} rows of a doubtful clock stand behind the row written before."
            )
        return (*lines, *(f"{each}." for each in self.rows.problems))


def sparkline(values: Sequence[float], width: int = _SPARK) -> str:
    """Return the last values as bars, lowest to highest."""
    shown = values[-width:]
    low, high = min(shown), max(shown)
    if high == low:
        return _BARS[3] * len(shown)
    step = (high - low) / (len(_BARS) - 1)
    return "".join(_BARS[round((each - low) / step)] for each in shown)


def history_table(report: HistoryReport) -> Table:
    """Return a row a series: its last value, its baseline, what is seen tonight."""
    headers = {
        "metric": Column(key="metric", header="metric", names_row=True, whole=True),
        "where": Column(key="where", header="where", names_row=True),
        "unit": Column(key="unit", header="unit"),
        "last": Column(key="last", header="last", align=Align.RIGHT),
        "baseline": Column(key="baseline", header="baseline", align=Align.RIGHT),
        "change": Column(key="change", header="change", align=Align.RIGHT),
        "sees": Column(key="sees", header="would see", align=Align.RIGHT),
        "tonight": Column(key="tonight", header="tonight"),
        "nights": Column(key="nights", header="nights", align=Align.RIGHT),
        "line": Column(key="line", header=f"last {_SPARK}", whole=True),
    }
    rows = tuple(_row(each) for each in report.seen)
    return Table(
        title=f"{report.scenario.title}: history of the {report.profile} profile",
        caption=(*report.caption, "Change: positive is better. Would see: within five nights."),
        columns=tuple(headers.values()),
        groups=(RowGroup(rows=rows),),
    )


def _row(seen: Tonight) -> tuple[TableCell, ...]:
    series = seen.series
    keys = {**series.cell, **series.where}
    last = series.readings[-1]
    has_look = seen.look is not None
    return (
        words(series.metric),
        words(", ".join(f"{name}={value}" for name, value in keys.items()) or "-"),
        words(series.unit),
        TableCell(text=_digits(last.value), raw=last.value),
        TableCell(text=_digits(seen.old), raw=seen.old) if has_look else words(""),
        TableCell(text=percent(seen.effect), raw=seen.effect) if has_look else words(""),
        TableCell(text=percent(-seen.sees), raw=-seen.sees) if seen.sees else words(""),
        words(seen.state if not seen.why or has_look else f"{seen.state}: {seen.why}"),
        TableCell(text=str(len(series.readings)), raw=len(series.readings)),
        words(sparkline(series.values)),
    )


def percent(share: float) -> str:
    """Return a relative change for people."""
    return f"{100 * share:+.2f} %"


def _digits(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e15 else figure(value)  # noqa: PLR2004 - exactness ends


def drawings(report: HistoryReport, width: int) -> str:
    """Return each series drawn for a terminal of `width` columns."""
    return "\n".join(line for each in report.seen for line in (*_drawing(each, width), ""))


def _drawing(seen: Tonight, width: int) -> Iterator[str]:
    series, columns = seen.series, max(8, width - _MARGIN - 1)
    yield f"{series.label} [{series.unit}], {seen.state}"
    # a column shows the median of its nights
    values = series.values
    if len(values) > columns:
        edges = [round(at * len(values) / columns) for at in range(columns + 1)]
        values = [
            sorted(part)[len(part) // 2] for part in (values[a:b] for a, b in pairwise(edges))
        ]
    low, high = min(values), max(values)
    step = (high - low) / (_HEIGHT - 1) or 1.0
    places = [round((each - low) / step) for each in values]
    for row in reversed(range(_HEIGHT)):
        edge = _digits(low + row * step) if row in {0, _HEIGHT - 1} else ""
        yield f"{edge:>{_MARGIN - 2}} |" + "".join("•" if at == row else " " for at in places)
    first, last = series.readings[0].night.time[:10], series.readings[-1].night.time[:10]
    gap = max(1, min(columns, len(values)) - len(first) - len(last))
    yield f"{'':{_MARGIN - 2}}  {first}{'':{gap}}{last}"


def history_text(report: HistoryReport, width: int, *, plot: bool) -> str:
    """Return the table, the findings, and the drawings where asked."""
    parts = [render_text(history_table(report), width)]
    if report.rows.findings:
        accepted = {each.finding: each.why for each in report.rows.accepted}
        parts += [finding_line(each, accepted.get(each.id)) for each in report.rows.findings[-20:]]
        parts.append("")
    if plot:
        parts.append(drawings(report, width))
    return "\n".join(parts)


def finding_line(finding: Finding, accepted: str | None = None) -> str:
    """Return a finding in one line."""
    outcome = finding.outcome or "SUSPECTED"
    interval = ""
    if finding.low is not None and finding.high is not None:
        interval = f" ({percent(finding.low)} to {percent(finding.high)}, {finding.pairs} pairs)"
    told = f"{finding.time[:10]} {finding.id} {outcome} {finding.metric} {percent(finding.effect)}"
    why = f": {finding.why}" if finding.why else ""
    more = f"; accepted: {accepted}" if accepted is not None else ""
    return clean.plain(f"{told}{interval}{why}{more}")


def history_csv(report: HistoryReport) -> str:
    """Return a line a night and figure, in full precision."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        (
            *("time", "clock", "metric", "cell", "where", "unit", "value", "n", "spread", "device"),
            *("driver", "image", "commit", "dirty", "source", "versions", "probe", "night", "runs"),
        )
    )
    for seen in report.seen:
        series = seen.series
        for each in series.readings:
            night = each.night
            spread = "" if each.spread is None else repr(each.spread)
            writer.writerow(
                (
                    *(night.time, night.clock, series.metric, canonical_json(series.cell)),
                    *(canonical_json(series.where), series.unit, repr(each.value), each.n, spread),
                    *(night.device, night.driver, night.image, night.commit, night.dirty),
                    *(night.source, canonical_json(night.versions), canonical_json(night.probe)),
                    *(night.id, " ".join(night.runs)),
                )
            )
    return out.getvalue()


@record
class _Drawn:
    title: str
    note: str
    svg: Markup


def history_page(report: HistoryReport) -> str:
    """Return one self-contained page, a drawing a figure."""
    accepted = {each.finding: each.why for each in report.rows.accepted}
    return fill(
        "history.html.j2",
        title=f"{report.scenario.title}: history of the {report.profile} profile",
        caption=report.caption,
        table=history_table(report),
        drawn=[_drawn(each, report.rows.findings) for each in report.seen],
        findings=[finding_line(each, accepted.get(each.id)) for each in report.rows.findings],
        light=LIGHT,
        dark=DARK,
    )


def _drawn(seen: Tonight, findings: Sequence[Finding]) -> _Drawn:
    series = seen.series
    nights = {
        each.night
        for each in findings
        if key_of(each.point, each.metric, each.where, each.device) == series.key
        and each.outcome == "REGRESSED"
    }
    readings = series.readings
    low, high = min(series.values), max(series.values)
    span = (high - low) or abs(high) or 1.0
    every = math.ceil(len(readings) / _PAGE_POINTS)

    def at(index: int, value: float) -> tuple[float, float]:
        across = index / max(1, len(readings) - 1)
        return 8 + across * (_PAGE_WIDTH - 16), 8 + (high - value) / span * (_PAGE_HEIGHT - 16)

    dots = []
    for index, each in enumerate(readings):
        is_alarm = each.night.id in nights
        if index % every and not is_alarm and index != len(readings) - 1:
            continue
        x, y = at(index, each.value)
        told = Markup.escape(f"{each.night.time[:10]}: {_digits(each.value)} {series.unit}")
        dots.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{4 if is_alarm else 2}" '
            f'class="{"alarm" if is_alarm else "night"}"><title>{told}</title></circle>'
        )
    label = Markup.escape(f"{series.label} over {len(readings)} nights")
    svg = (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {_PAGE_WIDTH} {_PAGE_HEIGHT}">'
        f"{''.join(dots)}</svg>"
    )
    note = f"{_digits(low)} to {_digits(high)} {series.unit}; tonight: {seen.state}"
    return _Drawn(title=series.label, note=note, svg=Markup(svg))  # noqa: S704 - escaped above
