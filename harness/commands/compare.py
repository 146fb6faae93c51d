"""``harness compare``: the same scenario in two stores, figure by figure."""

from __future__ import annotations

import argparse

from harness.commands.dossiers import assemble, stored_profile
from harness.commands.printing import terminal_width
from harness.commands.project import open_project
from harness.commands.selection import open_ledger, open_scenario
from harness.errors import ExitCode, HostError
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.report.compare import compare_table
from harness.report.dossier import Dossier
from harness.report.render import render_json, render_text
from harness.results.store import Store
from harness.scenario.expectations import Expectations
from harness.scenario.load import Loaded


def main(options: argparse.Namespace) -> ExitCode:
    """Print every figure of either store, and whether replicates can tell the two apart."""
    project = open_project(options)
    loaded = open_scenario(project, options)
    ledger = open_ledger(loaded)
    ours = _dossier(loaded, ledger, options.profile, Store(project.store))
    word = options.other_profile or options.profile
    theirs = _dossier(loaded, ledger, word, Store(options.other))
    table = compare_table(ours, theirs)
    print(render_json(table) if options.json else render_text(table, terminal_width()), end="")
    return ExitCode.OK


def _dossier(loaded: Loaded, ledger: Expectations, word: str, store: Store) -> Dossier:
    profile = stored_profile(word, loaded, store)
    dossier = assemble(loaded, ledger, expand(loaded, profile, Overrides()), store)
    if not dossier.runs:
        message = f"no results of {loaded.scenario.scenario} {profile} in {store.root}"
        raise HostError(message, f"harness run {loaded.scenario.scenario} --profile {profile}")
    return dossier
