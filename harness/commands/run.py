"""``harness run``: run what is owed, check it, print the tables, exit by verdict."""

from __future__ import annotations

import argparse
import sys

from harness.commands.dossiers import assemble
from harness.commands.environment import EnvironmentRecorder
from harness.commands.outputs import write_outputs
from harness.commands.preparation import Preparation, prepare
from harness.commands.printing import judgement, print_dossiers
from harness.commands.progress import Narrator
from harness.commands.trials import write_trials
from harness.errors import ExitCode, HostError
from harness.records import Profile
from harness.report.dossier import Dossier
from harness.run import Surroundings, refuse, run_plan
from harness.runtime.evidence import fetch
from harness.workloads.api.registry import workload


def main(options: argparse.Namespace) -> ExitCode:
    """Run the profile asked for, and the evidence too where that is asked and can be had."""
    ready = prepare(options)
    if options.with_evidence and ready.profile is Profile.EVIDENCE:
        fetch(ready.evidence_files, ready.evidence_dir)
    dossiers = [reproduce(ready)]
    if options.with_evidence and ready.profile is not Profile.EVIDENCE:
        dossiers += _recomputed(ready)
    write_outputs(dossiers, ready.project, options)
    print_dossiers(dossiers, options)
    return judgement(dossiers)


def reproduce(ready: Preparation) -> Dossier:
    """Execute what is owed of a plan and return its dossier.

    Raises:
        HostError: this machine cannot execute it.
    """
    refuse([*ready.profile_problems(), *ready.evidence_problems(), *ready.model_problems()])
    # held before an image is built: a second harness is refused with nothing changed
    with ready.store.locked(ready.loaded.scenario.scenario, ready.profile):
        around = Surroundings(
            runtime=ready.choice.runtime,
            store=ready.store,
            evidence_dir=ready.evidence_dir if ready.evidence_files else None,
            models_dir=ready.models_dir if ready.models else None,
            environment=EnvironmentRecorder(ready),
        )
        what = f"{ready.plan.scenario} {ready.profile}, {ready.where}"
        with Narrator(what, len(ready.plan.runs)) as narrator:
            run_plan(ready.plan, around, narrator)
        _record(ready)
    return assemble(ready.loaded, ready.ledger, ready.plan, ready.store)


def _record(ready: Preparation) -> None:
    """Add the runs to the scenario's record of trials, where it has one for this profile."""
    scenario = ready.loaded.scenario
    score, program = scenario.report.lineage, workload(scenario.workload_of(ready.profile))
    is_scored = any(metric.name == score for metric in program.metrics)
    if score is not None and is_scored and not ready.plan.changed:
        write_trials(ready.plan, ready.store, score)


def _recomputed(ready: Preparation) -> list[Dossier]:
    evidence = ready.of_evidence()
    if evidence is None:
        return []
    try:
        fetch(evidence.evidence_files, evidence.evidence_dir)
        return [reproduce(evidence)]
    except HostError as error:
        print(f"published data not recomputed here: {error}", file=sys.stderr)
        return []
