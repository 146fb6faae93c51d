"""``harness run``: run what is owed, check it, print the tables, exit by verdict."""

from __future__ import annotations

import argparse
import sys

from harness.check.verdicts import exit_code
from harness.commands.dossiers import assemble
from harness.commands.preparation import Preparation, prepare
from harness.commands.printing import print_dossier
from harness.commands.progress import Narrator
from harness.errors import ExitCode, HostError
from harness.records import Profile
from harness.report.dossier import Dossier
from harness.run import Surroundings, run_plan
from harness.runtime.evidence import fetch


def main(options: argparse.Namespace) -> ExitCode:
    """Run the profile asked for, and the evidence too where that is asked and can be had."""
    ready = prepare(options)
    dossiers = [_reproduce(ready)]
    evidence = ready.at(Profile.EVIDENCE) if options.with_evidence else None
    if evidence is not None and ready.profile is not Profile.EVIDENCE:
        try:
            fetch(evidence.evidence_files, evidence.evidence_dir)
        except HostError as error:
            print(f"evidence: not recomputed here: {error}", file=sys.stderr)
        else:
            dossiers.append(_reproduce(evidence))
    print_dossier(dossiers, options)
    return worst(exit_code(each.verdicts) for each in dossiers)
