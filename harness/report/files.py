"""The files that results are shown in, and what a CI system is given."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness import atomic
from harness.report import clean
from harness.report.answer import answer_clauses, claim_summaries, counts_text
from harness.report.cells import cells_table, rows_tables
from harness.report.dossier import ScenarioReport
from harness.report.github import annotate, render_summary
from harness.report.headline import headline_table
from harness.report.junit import render_junit
from harness.report.ledger import ledger_table
from harness.report.page import Page, render_page, rows_file
from harness.report.plots import draw_all
from harness.report.render import render_csv, render_markdown
from harness.report.tables import Table
from harness.scenario.folders import EXPECTATIONS_FILE
from harness.scenario.positions import read


def tables_of(dossier: ScenarioReport) -> tuple[Table, ...]:
    """Return the tables of a dossier in the order they are read: cells, rows, ledger."""
    return (cells_table(dossier), *rows_tables(dossier), ledger_table(dossier))


def files_of(dossiers: Sequence[ScenarioReport]) -> dict[str, str]:
    """Return file name -> contents: one table.md, one page, and csv and plots for each profile."""
    sheets = [Page(dossier=each, plots=draw_all(each)) for each in dossiers]
    return {**_tables_and_plots(sheets), "page.html": render_page(sheets)}


def published_files(dossiers: Sequence[ScenarioReport]) -> dict[str, str]:
    """Return what stands beside published bundles: `files_of` without the page: sites have it."""
    if not dossiers:
        return {}
    return _tables_and_plots([Page(dossier=each, plots=draw_all(each)) for each in dossiers])


def _tables_and_plots(sheets: Sequence[Page]) -> dict[str, str]:
    files = {"table.md": tables_text(sheets)}
    for sheet in sheets:
        profile = sheet.dossier.profile
        files[f"{profile}.cells.csv"] = render_csv(cells_table(sheet.dossier))
        files[f"{profile}.ledger.csv"] = render_csv(ledger_table(sheet.dossier))
        for table in rows_tables(sheet.dossier):
            files[rows_file(sheet.dossier, table)] = render_csv(table)
        for drawn in sheet.plots:
            if drawn.svg:
                files[drawn.file_of(sheet.dossier)] = drawn.svg
    return files


def tables_text(sheets: Sequence[Page]) -> str:
    """Return `table.md`: question, answer, headline table and first plot, then every table."""
    dossiers = [sheet.dossier for sheet in sheets]
    scenario = dossiers[0].scenario
    summaries = claim_summaries(dossiers)
    clauses, limit = answer_clauses(dossiers, summaries)
    parts = [f"# {scenario.title}\n", f"{clean.markdown_line(scenario.question)}\n"]
    parts += [f"- {clean.markdown_line(str(each))}" for each in (*clauses, limit) if each]
    parts += [f"\nClaims: {', '.join(map(clean.markdown, counts_text(summaries)))}.\n"]
    if headline := headline_table(dossiers[0]):
        parts += [render_markdown(headline, level=2)]
    drawn = [(each, sheet) for sheet in sheets for each in sheet.plots if each.svg]
    for plot, sheet in drawn[:1]:
        parts += [f"![{clean.markdown(plot.plot.title)}]({plot.file_of(sheet.dossier)})\n"]
    parts += ["## All figures and claims\n"]
    parts += [render_markdown(table) for each in dossiers for table in tables_of(each)]
    return "\n".join(parts)


def write_for_ci(
    dossiers: Sequence[ScenarioReport], junit: Path | None, summary: Path | None, project: Path
) -> None:
    """Write JUnit XML and append a Markdown summary; on GitHub also annotate the ledgers' lines.

    Args:
        dossiers: of one scenario or several.
        junit: the file to write; None for none.
        summary: the file to append to; None for none.
        project: the folder that holds ``scenarios/``.

    Raises:
        HostError: a file cannot be written.
    """
    if junit is not None:
        atomic.write_text(junit, render_junit(dossiers))
    if summary is not None:
        try:
            with summary.open("a", encoding="utf-8") as file:
                file.write(render_summary(dossiers))
        except OSError as error:
            raise atomic.unwritable(summary, error) from None
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for dossier in dossiers:
            ledger = read(project / "scenarios" / dossier.scenario.scenario / EXPECTATIONS_FILE)
            for line in annotate(dossier.verdicts, ledger, project, dossier.missing):
                print(line)
