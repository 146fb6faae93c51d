"""Putting together what a report is made from: plan, stored runs, ledger and verdicts."""

from __future__ import annotations

import argparse
from dataclasses import replace

from harness.check.verdicts import check
from harness.commands.project import open_project
from harness.commands.selection import declared_profile, open_scenario, overrides_of
from harness.errors import HostError
from harness.measure import metrics_by_name
from harness.plan.expand import Plan, expand
from harness.records import Finished, Profile, Verdict, VerdictKind
from harness.report.dossier import Dossier
from harness.results.selection import select
from harness.results.store import Store
from harness.scenario.expectations import Expectations
from harness.scenario.load import Loaded, load_expectations
from harness.workloads.registry import workload


def stored_dossier(options: argparse.Namespace) -> Dossier:
    """Return the dossier of what the options select in the store; runs nothing.

    The profile ``auto`` is the first that has stored results.
    """
    project = open_project(options)
    loaded, store = open_scenario(project, options), Store(project.store)
    profile = _stored_profile(options.profile, loaded, store)
    plan = expand(loaded, profile, overrides_of(options))
    return assemble(loaded, plan, store)


def _stored_profile(word: str, loaded: Loaded, store: Store) -> Profile:
    if word != "auto":
        return declared_profile(word, loaded.scenario)
    stored = store.profiles(loaded.scenario.scenario)
    if not stored:
        message = f"no results of {loaded.scenario.scenario} in {store.root}"
        raise HostError(message, f"harness run {loaded.scenario.scenario}")
    return stored[0]


def assemble(loaded: Loaded, plan: Plan, store: Store) -> Dossier:
    """Return the dossier of a plan: its stored runs, checked against the scenario's ledger."""
    scenario, profile = loaded.scenario, plan.profile
    runs = select(store, plan.runs)
    ledger = load_expectations(loaded)
    return Dossier(
        scenario=scenario,
        profile=profile,
        workload=workload(scenario.workload_of(profile)),
        metrics=tuple(metrics_by_name(scenario).values()),
        runs=runs,
        planned=plan.runs,
        ledger=ledger,
        verdicts=tuple(_verdicts(loaded, plan, ledger, runs)),
    )


def _verdicts(
    loaded: Loaded, plan: Plan, ledger: Expectations, runs: tuple[Finished, ...]
) -> list[Verdict]:
    verdicts = check(ledger, runs, plan.profile, metrics_by_name(loaded.scenario))
    return [_of_a_part(each) if plan.changed else each for each in verdicts]


def _of_a_part(verdict: Verdict) -> Verdict:
    """Return the verdict as it stands where the command line changed the experiment.

    A figure that was found still counts; one that is missing was perhaps never asked for.
    """
    if verdict.kind is not VerdictKind.MISSING:
        return verdict
    detail = "not part of what the command line selected"
    return replace(verdict, kind=VerdictKind.NOT_COMPARABLE, detail=detail)
