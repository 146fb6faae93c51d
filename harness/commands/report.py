"""``harness report``: render what is stored, for a terminal, a file or an article."""

from __future__ import annotations

import argparse

from harness.commands.dossiers import assemble, stored_dossier
from harness.commands.printing import tables_of
from harness.commands.project import open_project
from harness.commands.rendering import files_of
from harness.commands.selection import declared_profile
from harness.errors import ExitCode
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.report.page import Sheet, render_page
from harness.report.plots import draw_all
from harness.report.render import Form, render
from harness.report.splice import Marker, block, splice, stale
from harness.results.store import Store, write_whole
from harness.scenario.folders import find
from harness.scenario.load import load


def main(options: argparse.Namespace) -> ExitCode:
    """Print or write the report of one profile; runs nothing."""
    if options.splice:
        return _splice(options)
    dossier = stored_dossier(options)
    if options.out:
        for name, text in files_of([dossier]).items():
            write_whole(options.out / name, text)
            print(options.out / name)
        return ExitCode.OK
    form = Form("json" if options.json else options.format)
    if form is Form.HTML:
        print(render_page([Sheet(dossier=dossier, plots=draw_all(dossier))]), end="")
        return ExitCode.OK
    for table in tables_of(dossier):
        print(render(table, form))
    return ExitCode.OK


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
        return block(assemble(loaded, plan, Store(project.store)), marker.shown)

    if not options.stale:
        print(f"{article}: {'filled' if splice(article, fill) else 'was up to date'}")
        return ExitCode.OK
    outdated = stale(article, fill)
    for marker in outdated:
        print(f"{article}:{marker.line}: out of date")
    return ExitCode.OUTSIDE if outdated else ExitCode.OK
