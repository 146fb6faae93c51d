"""One self-contained page a scenario: claims, figures, plots and where they come from.

No script, font or picture is fetched; plots are inside the page and follow
the reader's light or dark theme.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from markupsafe import Markup

from harness.records import FinishedRun, Status, record
from harness.report import clean, facts
from harness.report.cells import cells_table, rows_tables
from harness.report.dossier import ScenarioReport
from harness.report.html import fill
from harness.report.ledger import LedgerSummary, judged, ledger_table, summary
from harness.report.palette import DARK, LIGHT
from harness.report.plots import RenderedPlot
from harness.report.tables import Table
from harness.workloads.api.declare import Metric

# beyond so many rows a table of rows starts folded
_FOLD_ROWS = 30


@record
class Page:
    """One profile of the page's scenario, with its plots."""

    dossier: ScenarioReport
    plots: tuple[RenderedPlot, ...]


def render_page(sheets: Sequence[Page]) -> str:
    """Return the page of a scenario.

    Args:
        sheets: one for each profile that has results, all of one scenario; at least one.
    """
    return fill(
        "page.html.j2",
        scenario=sheets[0].dossier.scenario,
        sections=[_section(sheet) for sheet in sheets],
        light=LIGHT,
        dark=DARK,
    )


@record
class _Figure:
    title: str
    svg: Markup
    note: str


@record
class _Section:
    """What the template shows of a sheet."""

    dossier: ScenarioReport
    summary: LedgerSummary
    judged: str
    ledger: Table
    cells: Table
    rows: tuple[tuple[Table, bool], ...]
    figures: tuple[_Figure, ...]
    broken: tuple[FinishedRun, ...]
    metrics: tuple[Metric, ...]
    facts: dict[str, tuple[str, ...]]


def _section(sheet: Page) -> _Section:
    dossier = sheet.dossier
    cells, rows = cells_table(dossier), rows_tables(dossier)
    keys = dict.fromkeys(column.key for table in (cells, *rows) for column in table.columns)
    plots = []
    for drawn in sheet.plots:
        title = f"{drawn.plot.title}: {dossier.profile} profile"
        prefix = f"{dossier.profile}-{drawn.plot.file}-"
        svg = inline(drawn.svg, prefix, title) if drawn.svg else ""
        plots.append(_Figure(title=title, svg=Markup(svg), note=drawn.note))  # noqa: S704 - drawn by us
    return _Section(
        dossier=dossier,
        summary=summary(dossier.verdicts),
        judged=judged(dossier),
        ledger=ledger_table(dossier),
        cells=cells,
        rows=tuple((table, len(table.rows) > _FOLD_ROWS) for table in rows),
        figures=tuple(plots),
        broken=tuple(run for run in dossier.runs if run.outcome.status is not Status.FINISHED),
        metrics=tuple(metric for name, metric in dossier.metrics.items() if name in keys),
        facts=facts.merged(dossier.runs),
    )


def inline(svg: str, prefix: str, title: str) -> str:
    """Return an SVG file as part of a page.

    Ids get `prefix`, so that two plots of a page do not share one; the colours of
    `harness.report.palette` become variables of the page's style sheet.
    """
    body = svg[svg.index("<svg ") :]
    body = re.sub(r'\bid="', f'id="{prefix}', body)
    body = re.sub(r'(url\(|href=")#', rf"\1#{prefix}", body)
    for name, colour in LIGHT.items():
        body = body.replace(colour, f"var(--{name})")
    label = str(Markup.escape(clean.plain(title)))
    return body.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
