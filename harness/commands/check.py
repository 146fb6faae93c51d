"""``harness check``: stored results against the ledger, with an exit code by verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.check.pins import check_pins, read_pins
from harness.errors import ExitCode, worst
from harness.plan.expand import expand
from harness.records import to_json
from harness.report.dossier import ScenarioReport, assemble
from harness.report.files import write_for_ci
from harness.report.ledger import judged, ledger_table
from harness.report.render import render_text
from harness.results.store import RunStore
from harness.scenario.folders import find_all
from harness.scenario.load import load
from harness.session.console import terminal_width
from harness.session.options import CheckOptions
from harness.session.project import open_project
from harness.session.selection import open_ledger, overrides_of, stored_profile
from harness.session.several import Answer, answer_each


def main(options: CheckOptions) -> ExitCode:
    """Print the ledgers with their verdicts; runs nothing."""
    project = open_project(options)
    dossiers: list[ScenarioReport] = []

    def check(folder: Path) -> Answer:
        loaded, store = load(folder), RunStore(project.store)
        profile = stored_profile(options.profile, loaded.scenario, store)
        plan = expand(loaded, profile, overrides_of(options))
        dossier = assemble(loaded, open_ledger(loaded), plan, store)
        dossiers.append(dossier)
        for run in dossier.runs:
            options.console.explain(f"{run.spec.label}: {store.folder(run.spec)}")
        pins = check_pins(read_pins(folder), dossier.runs, store, dossier.metrics)
        code = worst([dossier.exit_code, pins.exit_code])
        if options.json:
            verdicts = [to_json(each) for each in dossier.verdicts]
            return Answer(code=code, document=verdicts)
        table = replace(ledger_table(dossier), caption=dossier.caption)  # the counts come last
        text = f"{render_text(table, terminal_width())}\n{judged(dossier)}\n{pins}\n"
        return Answer(code=code, text=text)

    code = answer_each(find_all(project.scenarios, options.scenarios), check, options)
    write_for_ci(dossiers, options.junit, options.summary, project.root)
    return code
