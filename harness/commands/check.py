"""``harness check``: stored results against the ledger, with an exit code by verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.check.pins import check_pins, read_pins
from harness.check.samples import ComparedFigure, mean, samples_by_entry
from harness.errors import ExitCode, worst
from harness.plan.expand import expand
from harness.records import Profile, Scalar, VerdictKind, record, to_json
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


@record
class CheckedEntry:
    """An entry of the ledger, and what runs say of it.

    Attributes:
        expectation: its id.
        claimed, recorded, derived: as the ledger has them, in `unit`; None where it has none.
        expect: what is expected, as the ledger has it; None where nothing is.
        expected_text: the same, for people.
        measured: the mean of the figures, in `unit`; None where they are of several cells, no
            numbers, or absent.
        measured_text: the same, for people.
        samples: the figures that were compared, and the run of each.
    """

    expectation: str
    kind: VerdictKind
    metric: str
    unit: str
    where: Mapping[str, Scalar]
    claimed: Scalar
    recorded: Scalar
    derived: Scalar
    expect: Mapping[str, Any] | None
    expected_text: str
    measured: float | None
    measured_text: str
    samples: tuple[ComparedFigure, ...]
    detail: str
    sees: str
    changed: bool
    claim: VerdictKind | None
    claim_detail: str


@record
class CheckAnswer:
    """The answer of ``harness check --json``.

    Attributes:
        missing: how many declared runs have no result, in words; empty where all have.
        run_ids: the runs that were looked at.
    """

    scenario: str
    profile: Profile
    missing: str
    run_ids: tuple[str, ...]
    entries: tuple[CheckedEntry, ...]


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
            return Answer(code=code, document=_document(dossier))
        table = replace(ledger_table(dossier), caption=dossier.caption)  # the counts come last
        text = f"{render_text(table, terminal_width())}\n{judged(dossier)}\n{pins}\n"
        return Answer(code=code, text=text)

    code = answer_each(find_all(project.scenarios, options.scenarios), check, options)
    write_for_ci(dossiers, options.junit, options.summary, project.root)
    return code


def _document(dossier: ScenarioReport) -> CheckAnswer:
    samples = samples_by_entry(dossier.ledger, dossier.runs, dossier.profile, dossier.metrics)
    verdicts = {verdict.expectation: verdict for verdict in dossier.verdicts}
    entries = []
    for entry in dossier.ledger.expectations:
        verdict, printed = verdicts[entry.id], (entry.claimed, entry.recorded, entry.derived)
        claimed, recorded, derived = (None if each is None else each.value for each in printed)
        entries.append(
            CheckedEntry(
                expectation=entry.id,
                kind=verdict.kind,
                metric=entry.metric,
                unit=entry.unit,
                where=to_json(entry.where),
                claimed=claimed,
                recorded=recorded,
                derived=derived,
                expect=entry.model_dump(mode="json", by_alias=True).get("expect"),
                expected_text=verdict.expected,
                measured=mean(entry, samples[entry.id]),
                measured_text=verdict.measured,
                samples=samples[entry.id],
                detail=verdict.detail,
                sees=verdict.sees,
                changed=verdict.changed,
                claim=verdict.claim,
                claim_detail=verdict.claim_detail,
            )
        )
    return CheckAnswer(
        scenario=dossier.scenario.scenario,
        profile=dossier.profile,
        missing=dossier.missing,
        run_ids=tuple(run.spec.run_id for run in dossier.runs),
        entries=tuple(entries),
    )
