"""``harness report``: render what is stored, for a terminal, a file or an article."""

from __future__ import annotations

import argparse

from harness.commands.dossiers import stored_dossier
from harness.commands.printing import tables_of
from harness.commands.rendering import files_of
from harness.errors import ExitCode
from harness.report.dossier import Dossier
from harness.report.page import Sheet, render_page
from harness.report.plots import draw_all
from harness.report.render import Form, render
from harness.results.store import write_whole


def main(options: argparse.Namespace) -> ExitCode:
    """Print or write the report of one profile; runs nothing."""
    dossier = stored_dossier(options)
    if options.splice:
        return _splice(dossier, options)
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


def _splice(dossier: Dossier, options: argparse.Namespace) -> ExitCode:
    """Fill the article's markers; or, with ``--stale``, only say whether they are out of date."""
    raise NotImplementedError
