"""``harness publish``: copy finished runs into ``results/`` and render the tables beside them.

Only what a table is made from is copied: spec, outcome, measurements, environment and events;
never logs. The tables are functions of those files, the scenario and its ledger, so anyone can
render them again and compare them byte for byte (``--stale``). What an older harness published
stays as its commit rendered it, until it is published again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from harness import atomic
from harness.errors import ExitCode, HostError, InputError, Problem, worst
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import Profile, Status
from harness.report.dossier import assemble
from harness.report.files import files_of
from harness.results.selection import is_of_this_code, select
from harness.results.store import (
    ENVIRONMENT_FILE,
    MEASUREMENTS_FILE,
    OUTCOME_FILE,
    SPEC_FILE,
    RunStore,
    said_of,
)
from harness.scenario.folders import find_all, folders
from harness.scenario.load import Loaded, load
from harness.session.options import PublishOptions
from harness.session.project import Project, open_project
from harness.session.selection import open_ledger, stored_profile
from harness.session.several import Answer, answer_each
from harness.session.strangers import tell_of_strangers
from harness.workloads.api.emit import EVENTS_FILE

_PUBLISHED = (SPEC_FILE, OUTCOME_FILE, MEASUREMENTS_FILE, ENVIRONMENT_FILE, EVENTS_FILE)


def main(options: PublishOptions) -> ExitCode:
    """Publish the runs of each scenario; or, with ``--stale``, say which tables are out of date.

    Raises:
        InputError: neither a scenario nor ``--all`` is given, or both.
    """
    project = open_project(options)
    if options.all == bool(options.scenarios):
        message = "publish takes either scenarios, or --all to render every table again"
        raise InputError([Problem(message=message)])

    def publish(folder: Path) -> Answer:
        loaded = load(folder)
        if not options.stale and not options.all:
            _copy(loaded, project, options)
        changed = [str(path) for path in _render(loaded, project, keep=options.stale)]
        code = ExitCode.OUTSIDE if options.stale and changed else ExitCode.OK
        what = "out of date" if options.stale else "written"
        lines = _what_stands(loaded, RunStore(project.published))
        lines += "".join(f"{what}: {path}\n" for path in changed)
        return Answer(code=code, text=lines, document={what.replace(" ", "_"): changed})

    every = folders(project.scenarios)
    chosen = every if options.all else find_all(project.scenarios, options.scenarios)
    code = answer_each(chosen, publish, options)
    strangers = tell_of_strangers(project, options.console) if options.all else []
    is_stale = options.stale and any(project.published in path.parents for path in strangers)
    return worst([code, ExitCode.OUTSIDE]) if is_stale else code


def _copy(loaded: Loaded, project: Project, options: PublishOptions) -> None:
    """Replace a profile's published runs by those of the store.

    Raises:
        HostError: a planned run is not finished; half a profile is not published.
    """
    source, target = RunStore(project.store), RunStore(project.published)
    profile = stored_profile(options.profile, loaded.scenario, source)
    plan = expand(loaded, profile, Overrides())
    runs = [run for run in select(source, plan.runs) if run.outcome.status is Status.FINISHED]
    again = f"harness run {loaded.scenario.scenario} --profile {profile}"
    if len(runs) < len(plan.runs):
        message = f"{len(plan.runs) - len(runs)} of {len(plan.runs)} runs are not finished"
        raise HostError(message, again)
    pairs = zip(runs, plan.runs, strict=True)
    if outdated := [run for run, spec in pairs if not is_of_this_code(run, spec)]:
        message = (
            f"{len(outdated)} of {len(runs)} runs are of other code or data than this checkout's"
        )
        raise HostError(message, again)
    source.copy_ledgers(runs, target)
    with atomic.new_folder(target.root / loaded.scenario.scenario / profile) as new:
        for run in runs:
            stored, place = source.folder(run.spec), new / run.spec.run_id
            place.mkdir()
            for name in _PUBLISHED:
                try:
                    shutil.copyfile(stored / name, place / name)
                except FileNotFoundError:
                    message = f"a stored run is not whole: {stored / name} is missing"
                    raise HostError(message, f"mv {stored} elsewhere, then {again}") from None
    for run in runs:
        options.console.explain(f"copied {source.folder(run.spec)}")


def _what_stands(loaded: Loaded, store: RunStore) -> str:
    """Return a line on profiles that another harness published; they stay as they are."""
    name = loaded.scenario.scenario
    if not (schemas := store.other_schemas(name)):
        return ""
    profiles = ", ".join(each for each in Profile if store.other_schemas(name, each))
    return (
        f"{name} {profiles}: of {said_of(schemas)}; "
        "as their commit rendered them, until they are published again\n"
    )


def _render(loaded: Loaded, project: Project, *, keep: bool) -> Iterator[Path]:
    """Yield every file whose contents are not what the published runs give; mend it unless kept.

    Paths are from the project's folder.
    """
    store = RunStore(project.published)
    profiles = store.profiles(loaded.scenario.scenario)
    plans = [expand(loaded, profile, Overrides()) for profile in profiles]
    ledger = open_ledger(loaded)
    dossiers = [replace(assemble(loaded, ledger, plan, store), is_published=True) for plan in plans]
    for name, text in (files_of(dossiers) if dossiers else {}).items():
        path = store.root / loaded.scenario.scenario / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            if not keep:
                atomic.write_text(path, text)
            yield path.relative_to(project.root)
