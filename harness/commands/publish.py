"""``harness publish``: copy finished runs into ``results/`` and render the tables beside them.

Only what a table is made from is copied: spec, outcome, measurements, environment and events;
never logs. The tables are functions of those files, the scenario and its ledger, so anyone can
render them again and compare them byte for byte (``--stale``). What an older harness published
stands as its commit rendered it, until it is published again.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

from harness.commands.dossiers import assemble, stored_profile
from harness.commands.project import Project, open_project
from harness.commands.rendering import files_of
from harness.commands.selection import open_ledger, open_scenario
from harness.errors import ExitCode, HostError, InputError, Problem
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import Profile, Status
from harness.results.selection import select
from harness.results.store import (
    ENVIRONMENT_FILE,
    MEASUREMENTS_FILE,
    OUTCOME_FILE,
    SPEC_FILE,
    Store,
    said_of,
    write_whole,
)
from harness.scenario.folders import folders
from harness.scenario.load import Loaded, load
from harness.workloads.api.emit import EVENTS_FILE

_PUBLISHED = (SPEC_FILE, OUTCOME_FILE, MEASUREMENTS_FILE, ENVIRONMENT_FILE, EVENTS_FILE)


def main(options: argparse.Namespace) -> ExitCode:
    """Publish one scenario's runs; or, with ``--stale``, say which tables are out of date."""
    project = open_project(options)
    chosen = _chosen(project, options)
    if not options.stale and not options.all:
        _copy(chosen[0], options.profile, project)
    changed = [path for each in chosen for path in _render(each, project, keep=options.stale)]
    for each in chosen:
        _say_what_stands(each, Store(project.published))
    for path in changed:
        print(f"{'out of date' if options.stale else 'written'}: {path.relative_to(project.root)}")
    return ExitCode.OUTSIDE if options.stale and changed else ExitCode.OK


def _chosen(project: Project, options: argparse.Namespace) -> list[Loaded]:
    if options.all == bool(options.scenario):
        message = "publish takes either a scenario, or --all to render every table again"
        raise InputError([Problem(message=message)])
    if options.all:
        return [load(folder) for folder in folders(project.scenarios)]
    return [open_scenario(project, options)]


def _copy(loaded: Loaded, word: str, project: Project) -> None:
    """Replace what is published of a profile by the runs of the store.

    Raises:
        HostError: a planned run is not finished; half a profile is not published.
    """
    source, target = Store(project.store), Store(project.published)
    profile = stored_profile(word, loaded, source)
    plan = expand(loaded, profile, Overrides())
    runs = [run for run in select(source, plan.runs) if run.outcome.status is Status.FINISHED]
    if len(runs) < len(plan.runs):
        message = f"{len(plan.runs) - len(runs)} of {len(plan.runs)} runs are not finished"
        raise HostError(message, f"harness run {loaded.scenario.scenario} --profile {profile}")
    shutil.rmtree(target.root / loaded.scenario.scenario / profile, ignore_errors=True)
    for run in runs:
        place = target.folder(run.spec)
        place.mkdir(parents=True)
        for name in _PUBLISHED:
            shutil.copyfile(source.folder(run.spec) / name, place / name)


def _say_what_stands(loaded: Loaded, store: Store) -> None:
    """Say in a line which published profiles another harness stored: they are not rendered."""
    name = loaded.scenario.scenario
    if schemas := store.other_schemas(name):
        profiles = ", ".join(each for each in Profile if store.other_schemas(name, each))
        print(
            f"{name} {profiles}: of {said_of(schemas)}; "
            "as their commit rendered them, until they are published again"
        )


def _render(loaded: Loaded, project: Project, *, keep: bool) -> Iterator[Path]:
    """Yield every file whose contents are not what the published runs give; mend it unless kept."""
    store = Store(project.published)
    profiles = store.profiles(loaded.scenario.scenario)
    plans = [expand(loaded, profile, Overrides()) for profile in profiles]
    ledger = open_ledger(loaded)
    dossiers = [assemble(loaded, ledger, plan, store) for plan in plans]
    for name, text in (files_of(dossiers) if dossiers else {}).items():
        path = store.root / loaded.scenario.scenario / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            if not keep:
                write_whole(path, text)
            yield path
