"""One self-contained page a scenario: the answer, then plots, claims and where they come from.

No script, font or picture is fetched; plots are inside the page and follow the reader's light or
dark theme. Each claim is on it once, judged by the first profile that can judge it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from harness.records import FinishedRun, Status, VerdictKind, record
from harness.report import clean, facts
from harness.report.answer import (
    ClaimState,
    ClaimSummary,
    answer_clauses,
    claim_summaries,
    counts_text,
    misprints,
)
from harness.report.cells import cells_table, rows_tables, spoken
from harness.report.dossier import ScenarioReport
from harness.report.figures import printed, shortened
from harness.report.headline import headline_rows
from harness.report.html import fill
from harness.report.last_screen import next_steps
from harness.report.ledger import place_text
from harness.report.palette import DARK, LIGHT
from harness.report.plots import RenderedPlot
from harness.report.tables import Table, visible
from harness.units import duration
from harness.workloads.api.declare import Metric

_MOST_ROWS = 30  # of a table of rows, beyond which the rest is in its csv file only
_NOTHING_GIVEN: Mapping[str, Sequence[str]] = {"experiment": (), "place": (), "runtime": ()}
_MOST_OPEN = 40  # claims of a group, beyond which it starts folded
_MOST_SVG = 60_000  # characters of a plot, beyond which a page refers to its file
# the states of claims that a reader opens first; the others start folded
_OPEN = (
    ClaimState.FAILS,
    ClaimState.HOLDS,
    ClaimState.UNDECIDED,
    ClaimState.UNMEASURED,
)
STATE_CLASS = {
    ClaimState.FAILS: "bad",
    ClaimState.HOLDS: "good",
    ClaimState.UNDECIDED: "open",
    ClaimState.UNMEASURED: "open",
}


@record
class RunLine:
    """A run as a line of the table of runs."""

    id: str
    what: str
    ended: str
    device: str
    began: str
    took: str
    commit: str
    is_broken: bool = False
    cause: str = ""
    log: tuple[str, ...] = ()


@record
class Page:
    """One profile of the page's scenario, with its plots."""

    dossier: ScenarioReport
    plots: tuple[RenderedPlot, ...]


@record
class Links:
    """Where the words of a page lead in the folder that it is part of.

    Attributes:
        claim: of the id of a claim.
        run: of the id of a run.
        files: of a file of the report, by its name; empty where it is nowhere.
    """

    claim: Callable[[str], str]
    run: Callable[[str], str]
    files: Callable[[str], str]


ALONE = Links(claim=lambda name: f"#claim-{name}", run="#run-{}".format, files=lambda _: "")


def render_page(sheets: Sequence[Page]) -> str:
    """Return the page of a scenario.

    Args:
        sheets: one for each profile that has results, all of one scenario, the one that answers
            first; at least one.
    """
    return fill(
        "page.html.j2", title=sheets[0].dossier.scenario.title, **page_values(sheets, ALONE)
    )


def page_values(sheets: Sequence[Page], links: Links) -> dict[str, Any]:
    """Return what the template `scenario.html.j2` shows of a scenario."""
    dossiers = [sheet.dossier for sheet in sheets]
    summaries = claim_summaries(dossiers)
    clauses, limit = answer_clauses(dossiers, summaries)
    sections = [_section(sheet, links) for sheet in sheets]
    drawn = [each for section in sections for each in section.figures]
    return {
        "scenario": dossiers[0].scenario,
        "answer": [*clauses, *([limit] if limit else [])],
        "headline": headline_rows(dossiers[0]),
        "lead": drawn[0] if drawn else None,
        "claims": claim_groups(summaries),
        "counts": counts_text(summaries),
        "errors": error_rows(summaries),
        "steps": next_steps(dossiers, _NOTHING_GIVEN),
        "sections": sections,
        "links": links,
        "light": LIGHT,
        "dark": DARK,
    }


# --- claims ---------------------------------------------------------------------------------------


@record
class ClaimRow:
    """A claim as a page shows it: every field as text.

    Attributes:
        truth: what the article's own data gives: derived, else recorded.
        details: what else is to be said, each with its name.
    """

    id: str
    what: str
    unit: str
    profile: str
    claimed: str
    truth: str
    expected: str
    measured: str
    verdict: VerdictKind
    printed: VerdictKind | None
    details: tuple[tuple[str, str], ...]


@record
class ClaimGroup:
    """The claims that came to the same."""

    title: str
    kind: str
    is_open: bool
    rows: tuple[ClaimRow, ...]


def claim_groups(summaries: Sequence[ClaimSummary]) -> tuple[ClaimGroup, ...]:
    """Return the claims by what they came to, those first that a reader asks for first."""
    order = [*_OPEN, *(state for state in ClaimState if state not in _OPEN)]
    groups = []
    for state in order:
        rows = tuple(claim_row(each) for each in summaries if each.state is state)
        if rows:
            group = ClaimGroup(
                title=f"{len(rows)} {state.of_one if len(rows) == 1 else state}",
                kind=STATE_CLASS.get(state, "calm"),
                is_open=state in _OPEN and len(rows) <= _MOST_OPEN,
                rows=rows,
            )
            groups.append(group)
    return tuple(groups)


def claim_row(each: ClaimSummary) -> ClaimRow:
    """Return a claim as text."""
    entry, verdict = each.entry, each.verdict
    truth = entry.derived or entry.recorded
    details = (
        ("", "; ".join(filter(None, (verdict.claim_detail, verdict.detail)))),
        ("where printed", entry.source),
        ("why this tolerance", entry.reason or ""),
        ("note", entry.note or ""),
    )
    return ClaimRow(
        id=entry.id,
        what=place_text(entry.metric, entry.where),
        unit=spoken(entry.unit),
        profile=each.profile,
        claimed=printed(entry.claimed) if entry.claimed else "",
        truth=printed(truth) if truth else "",
        expected=shortened(verdict.expected),
        measured=shortened(verdict.measured),
        verdict=verdict.kind,
        printed=verdict.claim,
        details=tuple((name, text) for name, text in details if text),
    )


def error_rows(summaries: Sequence[ClaimSummary]) -> list[dict[str, str]]:
    """Return the article's errors: as printed, and as its own data has it."""
    return [
        {
            "id": each.entry.id,
            "printed": each.printed,
            "true": each.true,
            "unit": each.unit,
            "why": each.entry.diverges or each.entry.note or "",
        }
        for each in misprints(summaries)
    ]


# --- a profile ------------------------------------------------------------------------------------


@record
class ShownPlot:
    """A plot of a page."""

    file: str
    title: str
    svg: Markup
    note: str
    values: Table | None


@record
class _Rows:
    """A table of rows, cut to what a page can hold."""

    table: Table
    file: str
    num_left_out: int


@record
class _Section:
    """What the template shows of a profile."""

    dossier: ScenarioReport
    caption: tuple[str, ...]
    cells: Table
    rows: tuple[_Rows, ...]
    figures: tuple[ShownPlot, ...]
    undrawn: tuple[str, ...]
    runs: tuple[RunLine, ...]
    metrics: tuple[Metric, ...]
    facts: dict[str, tuple[str, ...]]


def _section(sheet: Page, links: Links) -> _Section:
    dossier = sheet.dossier
    cells, rows = cells_table(dossier), rows_tables(dossier)
    keys = dict.fromkeys(column.key for table in (cells, *rows) for column in table.columns)
    shown = [each for each in sheet.plots if each.svg]
    return _Section(
        dossier=dossier,
        caption=dossier.caption,
        cells=visible(_cut(cells)),
        rows=tuple(
            _Rows(
                table=replace(visible(_cut(table)), caption=()),
                file=rows_file(dossier, table),
                num_left_out=max(0, len(table.rows) - _MOST_ROWS),
            )
            for table in rows
        ),
        figures=tuple(_shown_plot(each, dossier, links) for each in shown),
        undrawn=tuple(f"{each.plot.title}: {each.note}" for each in sheet.plots if not each.svg),
        runs=tuple(map(run_line, dossier.runs)),
        metrics=tuple(metric for name, metric in dossier.metrics.items() if name in keys),
        facts=facts.merged(dossier.runs),
    )


def rows_file(dossier: ScenarioReport, table: Table) -> str:
    """Return the name of the csv file of a table of rows."""
    keys = [column.key for column in table.columns if column.names_row and not column.quiet]
    by = "-".join(re.sub(r"[^a-z0-9]+", "-", key.lower()) for key in keys)
    return f"{dossier.profile}.by-{by}.csv"


def _cut(table: Table) -> Table:
    left, groups = _MOST_ROWS, []
    for group in table.groups:
        groups.append(replace(group, rows=group.rows[:left]))
        left -= len(groups[-1].rows)
    return replace(table, groups=tuple(group for group in groups if group.rows))


def _shown_plot(drawn: RenderedPlot, dossier: ScenarioReport, links: Links) -> ShownPlot:
    title, file = f"{drawn.plot.title}: {dossier.profile} profile", drawn.file_of(dossier)
    label = f"{title}. {drawn.summary}" if drawn.summary else title
    if len(drawn.svg) > _MOST_SVG and (place := links.files(file)):
        svg = Markup('<img src="{}" alt="{}">').format(place, clean.plain(label))
    else:
        prefix = f"{dossier.profile}-{drawn.plot.file}-"
        svg = Markup(inline(drawn.svg, prefix, label))  # noqa: S704 - drawn by us
    return ShownPlot(
        file=file,
        title=title,
        svg=svg,
        note=drawn.note,
        values=replace(_cut(drawn.values), caption=()) if drawn.values else None,
    )


def run_line(run: FinishedRun) -> RunLine:
    """Return a run as a line of the table of runs."""
    spec, outcome = run.spec, run.outcome
    return RunLine(
        id=spec.run_id,
        what=f"{spec.label}, seed {spec.seed}" if spec.axes else f"seed {spec.seed}",
        ended=outcome.status,
        device=outcome.device or "",
        began=outcome.started_at[:16].replace("T", " "),
        took=duration(outcome.usage.wall_s),
        commit=facts.commit(run.environment) or "not recorded",
        is_broken=outcome.status is not Status.FINISHED,
        cause=outcome.cause,
        log=outcome.log_tail,
    )


def inline(svg: str, prefix: str, title: str) -> str:
    """Return an SVG file as part of a page.

    Ids that something refers to get `prefix`, so that two plots of a page do not share one; the
    colours of `harness.report.palette` become variables of the page's style sheet. What changes
    nothing that is seen is left out.
    """
    body = svg[svg.index("<svg ") :]
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r">\s+<", "><", body)
    body = re.sub(r' transform="rotate\(-0 [^"]*"', "", body)
    body = re.sub(r'(?<= d=")[^"]*', lambda path: re.sub(r"\s*([A-Za-z])\s*", r"\1", path[0]), body)
    body = re.sub(r'(?<= style=")[^"]*', lambda style: re.sub(r"([:;]) ", r"\1", style[0]), body)
    referred = set(re.findall(r'(?:url\(|href=")#([^)"]+)', body))
    body = re.sub(r' id="([^"]*)"', lambda name: name[0] if name[1] in referred else "", body)
    body = re.sub(r'(?<= id=")', prefix, body)
    body = re.sub(r'(url\(|href=")#', rf"\1#{prefix}", body)
    for name, colour in LIGHT.items():
        body = body.replace(colour, f"var(--{name})")
    label = str(Markup.escape(clean.plain(title)))
    return body.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
