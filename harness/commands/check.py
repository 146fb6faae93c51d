"""``harness check``: stored results against the ledger, with an exit code by verdict."""

from __future__ import annotations

import argparse
import json

from harness.commands.dossiers import stored_dossier
from harness.commands.printing import judgement
from harness.errors import ExitCode
from harness.records import to_json
from harness.report.junit import github_summary, junit
from harness.report.ledger import ledger_table, summary
from harness.report.render import render_text
from harness.results.store import write_whole


def main(options: argparse.Namespace) -> ExitCode:
    """Print the ledger with its verdicts; runs nothing."""
    dossier = stored_dossier(options)
    if options.junit:
        write_whole(options.junit, junit(dossier))
    if options.summary:
        with options.summary.open("a", encoding="utf-8") as file:
            file.write(github_summary(dossier))
    if options.json:
        print(json.dumps([to_json(each) for each in dossier.verdicts], indent=1))
    else:
        print(render_text(ledger_table(dossier)))
        print(summary(dossier.verdicts))
    return judgement([dossier])
