"""``harness check``: stored results against the ledger, with an exit code by verdict."""

from __future__ import annotations

import argparse
import json

from harness.commands.dossiers import stored_dossier
from harness.commands.outputs import write_outputs
from harness.commands.printing import judgement
from harness.commands.project import open_project
from harness.errors import ExitCode
from harness.records import to_json
from harness.report.ledger import ledger_table, summary
from harness.report.render import render_text


def main(options: argparse.Namespace) -> ExitCode:
    """Print the ledger with its verdicts; runs nothing."""
    dossier = stored_dossier(options)
    write_outputs([dossier], open_project(options), options)
    if options.json:
        print(json.dumps([to_json(each) for each in dossier.verdicts], indent=1))
    else:
        print(render_text(ledger_table(dossier)))
        print(summary(dossier.verdicts))
    return judgement([dossier])
