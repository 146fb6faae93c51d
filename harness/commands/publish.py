"""``harness publish``: put finished runs into ``results/`` as a bundle, tables and plots beside it.

The bundle (`harness.results.bundle`) is the result. Tables and plots are functions of it, the
scenario and its ledger, so anyone can render them again and compare them byte for byte
(``--stale``, and ``harness verify``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from harness import atomic
from harness.errors import ExitCode, HostError, InputError, Problem, worst
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import FinishedRun, Profile, Status, record
from harness.report.dossier import ScenarioReport, assemble
from harness.report.files import published_files
from harness.results import published
from harness.results.code import Code, code_state
from harness.results.selection import is_of_this_code, select
from harness.results.store import RunStore
from harness.scenario.folders import find_all, folders
from harness.scenario.load import Loaded, load
from harness.session.options import PublishOptions
from harness.session.project import Project, open_project
from harness.session.selection import open_ledger, stored_profile
from harness.session.several import Answer, answer_each
from harness.session.strangers import tell_of_strangers
from harness.units import counted


@record
class PublishAnswer:
    """The answer of ``harness publish --json``.

    Attributes:
        changed: tables and plots that were written; with ``--stale`` those that should be.
        is_stale: whether something should be written.
    """

    changed: tuple[str, ...]
    is_stale: bool


def main(options: PublishOptions) -> ExitCode:
    """Publish the runs of each scenario; or, with ``--stale``, say which tables are out of date.

    Raises:
        InputError: neither a scenario nor ``--all`` is given, or both.
        HostError: the tree is not as committed, so nobody could make these results again.
    """
    project = open_project(options)
    if options.all == bool(options.scenarios):
        message = "publish takes either scenarios, or --all to render every table again"
        raise InputError([Problem(message=message)])
    copies = not options.stale and not options.all
    if copies and (why := _unreproducible(code_state(project.root), "this tree")):
        raise HostError(why, "commit, run again, and publish from a clone of that commit")

    def publish(folder: Path) -> Answer:
        loaded = load(folder)
        if copies:
            _publish(loaded, project, options)
        elif options.sign and not options.stale:
            _sign(loaded, project, options)
        changed = [str(path) for path in _render(loaded, project, keep=options.stale)]
        code = ExitCode.OUTSIDE if options.stale and changed else ExitCode.OK
        what = "out of date" if options.stale else "written"
        return Answer(
            code=code,
            text="".join(f"{what}: {path}\n" for path in changed),
            document=PublishAnswer(
                changed=tuple(changed), is_stale=options.stale and bool(changed)
            ),
        )

    every = folders(project.scenarios)
    chosen = every if options.all else find_all(project.scenarios, options.scenarios)
    code = answer_each(chosen, publish, options)
    strangers = tell_of_strangers(project, options.console) if options.all else []
    is_stale = options.stale and any(project.published in path.parents for path in strangers)
    return worst([code, ExitCode.OUTSIDE]) if is_stale else code


def published_reports(loaded: Loaded, store: RunStore) -> list[ScenarioReport]:
    """Return the report of each profile whose published runs this harness can read."""
    profiles = store.profiles(loaded.scenario.scenario)
    plans = [expand(loaded, profile, Overrides()) for profile in profiles]
    ledger = open_ledger(loaded)
    return [replace(assemble(loaded, ledger, plan, store), is_published=True) for plan in plans]


def _publish(loaded: Loaded, project: Project, options: PublishOptions) -> None:
    """Replace a profile's published runs by those of the store.

    Raises:
        HostError: a planned run is not finished, or was not made by code that anybody has: half a
            profile is not published.
    """
    source, name = RunStore(project.store), loaded.scenario.scenario
    profile = stored_profile(options.profile, loaded.scenario, source)
    plan = expand(loaded, profile, Overrides())
    runs = [run for run in select(source, plan.runs) if run.outcome.status is Status.FINISHED]
    again = f"harness run {name} --profile {profile}"
    if len(runs) < plan.num_required:
        message = f"{plan.num_required - len(runs)} of {plan.num_required} runs are not finished"
        raise HostError(message, again)
    pairs = zip(runs, plan.runs, strict=True)
    if outdated := [run for run, spec in pairs if not is_of_this_code(run, spec)]:
        message = (
            f"{len(outdated)} of {len(runs)} runs are of other code or data than this checkout's"
        )
        raise HostError(message, again)
    if unknown := [why for run in runs if (why := _why_not(run))]:
        message = f"{len(unknown)} of {counted(len(runs), 'run')} cannot be published: {unknown[0]}"
        raise HostError(message, f"commit, and {again} --store A-NEW-FOLDER")
    published.publish(runs, source, project.published / name / profile, options.sign)
    for run in runs:
        options.console.explain(f"published {source.folder(run.spec)}")
    _remove_what_stood(name, profile, project.published)


def _why_not(run: FinishedRun) -> str:
    """Return why a run's code is not known to the last byte; empty where it is."""
    code = run.environment.get("code") or {}
    return _unreproducible(
        Code(
            commit=code.get("commit"),
            dirty=code.get("dirty"),
            difference=code.get("difference"),
            absent=code.get("absent") or {},
        ),
        "its tree",
    )


def _unreproducible(code: Code, tree: str) -> str:
    if code.commit is None:
        return f"{tree} has no commit: {code.absent.get('commit', 'nothing says why')}"
    return f"{tree} differs from commit {code.commit[:10]}" if code.dirty else ""


def _remove_what_stood(scenario: str, profile: Profile, results: Path) -> None:
    """Remove what was derived from the results that a bundle has taken the place of."""
    folder = results / scenario
    for path in (*folder.glob(f"{profile}.*.csv"), *folder.glob(f"{profile}.*.svg")):
        path.unlink()


def _sign(loaded: Loaded, project: Project, options: PublishOptions) -> None:
    """Sign what is published of a scenario."""
    assert options.sign is not None
    name, store = loaded.scenario.scenario, RunStore(project.published)
    for profile in Profile:
        if store.is_bundle(name, profile):
            key = published.sign(store.root / name / profile, options.sign)
            options.console.say(f"{name} {profile}: signed by {key}")


def _render(loaded: Loaded, project: Project, *, keep: bool) -> Iterator[Path]:
    """Yield every file whose contents are not what the published runs give; mend it unless kept.

    Paths are from the project's folder.
    """
    store = RunStore(project.published)
    reports = published_reports(loaded, store)
    for name, text in published_files(reports).items():
        path = store.root / loaded.scenario.scenario / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            if not keep:
                atomic.write_text(path, text)
            yield path.relative_to(project.root)
