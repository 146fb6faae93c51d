"""Putting together what a report is made from: plan, stored runs, ledger and verdicts."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

from harness.check.verdicts import check
from harness.commands.project import open_project
from harness.commands.selection import declared_profile, open_ledger, open_scenario, overrides_of
from harness.errors import HostError
from harness.measure import metrics_by_name
from harness.plan.expand import Plan, expand
from harness.records import Finished, Profile, Verdict, VerdictKind
from harness.report.dossier import Dossier
from harness.results.selection import select
from harness.results.store import Store
from harness.scenario.expectations import Expectations
from harness.scenario.load import Loaded
from harness.workloads.api.registry import workload


def stored_dossier(options: argparse.Namespace) -> Dossier:
    """Return the dossier of what the options select in the store; runs nothing."""
    project = open_project(options)
    loaded, store = open_scenario(project, options), Store(project.store)
    profile = stored_profile(options.profile, loaded, store)
    plan = expand(loaded, profile, overrides_of(options))
    return assemble(loaded, open_ledger(loaded), plan, store)


def stored_dossiers(options: argparse.Namespace) -> list[Dossier]:
    """Return the dossier of the profile asked for; with ``auto``, of each with stored results."""
    project = open_project(options)
    loaded, store = open_scenario(project, options), Store(project.store)
    first = stored_profile(options.profile, loaded, store)
    every = store.profiles(loaded.scenario.scenario) if options.profile == "auto" else [first]
    plans = [expand(loaded, profile, overrides_of(options)) for profile in every]
    ledger = open_ledger(loaded)
    return [assemble(loaded, ledger, plan, store) for plan in plans]


def stored_profile(word: str, loaded: Loaded, store: Store) -> Profile:
    """Return the profile that `word` names; ``auto`` is the first with stored results.

    Raises:
        InputError: the scenario has no such profile.
        HostError: the store has no results of the scenario.
    """
    if word != "auto":
        return declared_profile(word, loaded.scenario)
    stored = store.profiles(loaded.scenario.scenario)
    if not stored:
        message = f"no results of {loaded.scenario.scenario} in {store.root}"
        raise HostError(message, f"harness run {loaded.scenario.scenario}")
    return stored[0]


def assemble(loaded: Loaded, ledger: Expectations, plan: Plan, store: Store) -> Dossier:
    """Return the dossier of a plan: its stored runs, checked against the ledger."""
    scenario, profile = loaded.scenario, plan.profile
    runs = select(store, plan.runs)
    return Dossier(
        scenario=scenario,
        profile=profile,
        workload=workload(scenario.workload_of(profile)),
        metrics=metrics_by_name(scenario),
        runs=runs,
        plan=plan,
        ledger=ledger,
        verdicts=tuple(_verdicts(loaded, plan, ledger, runs)),
    )


def _verdicts(
    loaded: Loaded, plan: Plan, ledger: Expectations, runs: tuple[Finished, ...]
) -> Iterator[Verdict]:
    """Yield the verdicts; none judges an experiment that the command line has changed."""
    for verdict in check(ledger, runs, plan.profile, metrics_by_name(loaded.scenario)):
        if plan.changed and verdict.kind is not VerdictKind.REPORTED:
            detail = "the command line changed the experiment"
            yield replace(verdict, kind=VerdictKind.NOT_COMPARABLE, detail=detail)
        else:
            yield verdict
