"""The files that a scenario's results are shown in: functions of stored records alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.commands.printing import tables_of
from harness.report.cells import cells_table
from harness.report.dossier import Dossier
from harness.report.ledger import ledger_table
from harness.report.page import Sheet, render_page
from harness.report.plots import draw_all
from harness.report.render import render_csv, render_markdown


def files_of(dossiers: Sequence[Dossier]) -> dict[str, str]:
    """Return file name -> contents: one table.md, one page, and csv and plots for each profile."""
    sheets = [Sheet(dossier=each, plots=draw_all(each)) for each in dossiers]
    return {
        "table.md": markdown_of(dossiers),
        "page.html": render_page(sheets),
        **{name: text for sheet in sheets for name, text in _profile_files(sheet)},
    }


def markdown_of(dossiers: Sequence[Dossier]) -> str:
    """Return every table of every profile, in Markdown."""
    title = f"# {dossiers[0].scenario.title}\n"
    return "\n".join(
        [title, *(render_markdown(table) for each in dossiers for table in tables_of(each))]
    )


def _profile_files(sheet: Sheet) -> Iterator[tuple[str, str]]:
    profile = sheet.dossier.profile
    yield f"{profile}.cells.csv", render_csv(cells_table(sheet.dossier))
    yield f"{profile}.ledger.csv", render_csv(ledger_table(sheet.dossier))
    for drawn in sheet.plots:
        if drawn.svg:
            yield f"{profile}.{drawn.plot.file}.svg", drawn.svg
