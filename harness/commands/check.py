"""``harness check``: stored results against the ledger, with an exit code by verdict."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

from harness.commands.dossiers import stored_dossier
from harness.commands.outputs import write_outputs
from harness.commands.printing import judgement, terminal_width
from harness.commands.project import open_project
from harness.errors import ExitCode
from harness.records import to_json
from harness.report.ledger import judged, ledger_table
from harness.report.render import render_text


def main(options: argparse.Namespace) -> ExitCode:
    """Print the ledger with its verdicts; runs nothing."""
    dossier = stored_dossier(options)
    write_outputs([dossier], open_project(options), options)
    if options.json:
        print(json.dumps([to_json(each) for each in dossier.verdicts], indent=1))
    else:
        table = replace(ledger_table(dossier), caption=dossier.caption)  # the counts come last
        print(render_text(table, terminal_width()))
        print(judged(dossier))
    return judgement([dossier])
