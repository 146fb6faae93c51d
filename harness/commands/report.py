"""``harness report``: render what is stored, for a terminal, a file or an article."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from harness import atomic
from harness.commands.dossiers import assemble, stored_dossier, stored_dossiers
from harness.commands.printing import print_json, tables_of, terminal_width
from harness.commands.project import open_project
from harness.commands.rendering import files_of
from harness.commands.selection import declared_profile, open_ledger
from harness.errors import ExitCode
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.report.cells import cells_table, rows_tables
from harness.report.dossier import Dossier
from harness.report.ledger import ledger_table
from harness.report.page import Sheet, render_page
from harness.report.plots import draw_all
from harness.report.render import Form, render, render_text
from harness.report.splice import Marker, block, splice, stale
from harness.report.tables import Table
from harness.results.store import Store
from harness.scenario.folders import find
from harness.scenario.load import load


def main(options: argparse.Namespace) -> ExitCode:
    """Print or write the report of one profile; runs nothing."""
    if options.splice:
        return _splice(options)
    if options.out:
        _write(files_of(stored_dossiers(options)), options)
        return ExitCode.OK
    dossier = stored_dossier(options)
    form = Form("json" if options.json else options.format)
    tables = _chosen(dossier, options.table or ("cells" if form is Form.CSV else ""))
    match form:
        case Form.HTML:
            print(render_page([Sheet(dossier=dossier, plots=draw_all(dossier))]), end="")
        case Form.JSON:
            print_json(tables)
        case Form.TEXT:
            width = terminal_width()
            print("\n".join(render_text(table, width) for table in _once(tables)), end="")
        case _:
            print("\n".join(render(table, form) for table in tables), end="")
    return ExitCode.OK


def _write(files: Mapping[str, str], options: argparse.Namespace) -> None:
    """Write every file of the report and say which."""
    for name, text in files.items():
        atomic.write_text(options.out / name, text)
    written = [str(options.out / name) for name in files]
    print(json.dumps({"written": written}, indent=1) if options.json else "\n".join(written))


def _chosen(dossier: Dossier, word: str) -> tuple[Table, ...]:
    """Return the tables of that name; all without one."""
    match word:
        case "cells":
            return (cells_table(dossier),)
        case "rows":
            return rows_tables(dossier)
        case "ledger":
            return (ledger_table(dossier),)
        case _:
            return tables_of(dossier)


def _once(tables: Iterable[Table]) -> Iterator[Table]:
    """Yield the tables; a line of a caption stands above the first that it belongs to."""
    said: set[str] = set()
    for table in tables:
        yield replace(table, caption=tuple(line for line in table.caption if line not in said))
        said.update(table.caption)


def _splice(options: argparse.Namespace) -> ExitCode:
    """Fill the article's markers; or, with ``--stale``, only say which are out of date."""
    project, article = open_project(options), options.splice

    def fill(marker: Marker) -> str | None:
        """Return a marker's table; None for a scenario that was not asked for."""
        folder = find(project.scenarios, marker.scenario)
        if folder != find(project.scenarios, options.scenario):
            return None
        loaded = load(folder)
        plan = expand(loaded, declared_profile(marker.profile, loaded.scenario), Overrides())
        dossier = assemble(loaded, open_ledger(loaded), plan, Store(project.store))
        return block(dossier, marker.shown)

    if not options.stale:
        print(f"{article}: {'filled' if splice(article, fill) else 'was up to date'}")
        return ExitCode.OK
    outdated = stale(article, fill)
    for marker in outdated:
        print(f"{article}:{marker.line}: out of date")
    return ExitCode.OUTSIDE if outdated else ExitCode.OK
