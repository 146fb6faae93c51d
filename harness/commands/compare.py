"""``harness compare``: the same scenario in two stores, figure by figure."""

from __future__ import annotations

from harness.errors import ExitCode, HostError
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.report.compare import compare_table
from harness.report.dossier import ScenarioReport, assemble
from harness.report.render import json_document, render_text
from harness.results.store import RunStore
from harness.scenario.expectations import Expectations
from harness.scenario.folders import find
from harness.scenario.load import Loaded, load
from harness.session.console import terminal_width
from harness.session.options import CompareOptions
from harness.session.output import print_answer
from harness.session.project import open_project
from harness.session.selection import open_ledger, stored_profile


def main(options: CompareOptions) -> ExitCode:
    """Print every figure of either store, and whether replicates can tell the two apart."""
    project = open_project(options)
    loaded = load(find(project.scenarios, options.scenario))
    ledger = open_ledger(loaded)
    ours = _dossier(loaded, ledger, options.profile, RunStore(project.store))
    word = options.other_profile or options.profile
    theirs = _dossier(loaded, ledger, word, RunStore(options.other))
    table = compare_table(ours, theirs)
    if options.json:
        print_answer(options, json_document(table))
    else:
        print(render_text(table, terminal_width()), end="")
    return ExitCode.OK


def _dossier(loaded: Loaded, ledger: Expectations, word: str, store: RunStore) -> ScenarioReport:
    profile = stored_profile(word, loaded.scenario, store)
    plan = expand(loaded, profile, Overrides())
    dossier = assemble(loaded, ledger, plan, store, judged=False)
    if not dossier.runs:
        message = f"no results of {loaded.scenario.scenario} {profile} in {store.root}"
        raise HostError(message, f"harness run {loaded.scenario.scenario} --profile {profile}")
    return dossier
