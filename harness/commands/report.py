"""``harness report``: render stored results for a terminal, a file or an article."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from harness import atomic
from harness.errors import ExitCode, InputError, Problem
from harness.measure import metrics_by_name
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import Profile, record
from harness.report.cells import cells_table, rows_tables
from harness.report.dossier import ScenarioReport, assemble
from harness.report.excerpts import (
    ArticleFormat,
    errors_excerpt,
    excerpt,
    figure_excerpt,
    format_of,
    is_measured,
    profiles_of,
)
from harness.report.files import files_of, tables_of
from harness.report.ledger import ledger_table
from harness.report.markers import Marker, Shown
from harness.report.page import Page, render_page
from harness.report.plots import draw_all
from harness.report.render import (
    TableDocument,
    TableFormat,
    json_document,
    render,
    render_text,
)
from harness.report.splice import Excerpt, StaleLine, splice, stale
from harness.report.tables import Table
from harness.results.store import RunStore, said_of
from harness.scenario.expectations import Expectations
from harness.scenario.folders import find, find_all
from harness.scenario.load import Loaded, load
from harness.session.console import terminal_width
from harness.session.options import ReportOptions
from harness.session.output import print_answer
from harness.session.project import Project, open_project
from harness.session.selection import (
    declared_profile,
    open_ledger,
    overrides_of,
    stored_profile,
)
from harness.session.several import Answer, answer_each
from harness.units import counted


@record
class ReportAnswer:
    """The answer of ``harness report --json``: tables (`harness.report.render.TableDocument`)."""

    scenario: str
    profile: Profile
    run_ids: tuple[str, ...]
    tables: tuple[TableDocument, ...]


@record
class WrittenAnswer:
    """The answer of ``harness report --json --out``: the files."""

    written: tuple[str, ...]


@record
class SplicedAnswer:
    """The answer of ``harness report --splice --json``.

    Attributes:
        markers: how many were filled, or found to be filled already.
    """

    article: str
    changed: bool
    markers: int


@record
class StaleAnswer:
    """The answer of ``harness report --splice --stale --json``: what is out of date, by line."""

    article: str
    stale: tuple[StaleLine, ...]


def main(options: ReportOptions) -> ExitCode:
    """Print or write the report of each scenario at one profile; runs nothing."""
    if options.format == TableFormat.JSON:
        options = replace(options, json=True)
    project = open_project(options)
    if options.splice:
        return _splice(options.splice, project, options)
    if options.stale or not options.scenarios:
        message = "report takes scenarios, or --splice ARTICLE; --stale goes with --splice"
        raise InputError([Problem(message=message)])
    chosen = find_all(project.scenarios, options.scenarios)
    if options.out is None:
        return answer_each(chosen, lambda folder: _rendered(folder, project, options), options)
    out, several = options.out, len(chosen) > 1
    return answer_each(
        chosen,
        lambda folder: _written(folder, out / folder.name if several else out, project, options),
        options,
    )


def _rendered(folder: Path, project: Project, options: ReportOptions) -> Answer:
    """Return the report of one profile in the form asked for."""
    dossier = _dossiers(folder, project, options)[0]
    form = TableFormat.JSON if options.json else TableFormat(options.format)
    tables = _chosen(dossier, options.table or ("cells" if form is TableFormat.CSV else ""))
    match form:
        case TableFormat.HTML:
            return Answer(text=render_page([Page(dossier=dossier, plots=draw_all(dossier))]))
        case TableFormat.JSON:
            return Answer(
                document=ReportAnswer(
                    scenario=dossier.scenario.scenario,
                    profile=dossier.profile,
                    run_ids=tuple(run.spec.run_id for run in dossier.runs),
                    tables=tuple(json_document(table) for table in tables),
                )
            )
        case TableFormat.TEXT:
            width = terminal_width()
            return Answer(text="\n".join(render_text(table, width) for table in _once(tables)))
        case _:
            return Answer(text="\n".join(render(table, form) for table in tables))


def _written(folder: Path, out: Path, project: Project, options: ReportOptions) -> Answer:
    """Write every file of the report and return which."""
    files = files_of(_dossiers(folder, project, options))
    for name, text in files.items():
        atomic.write_text(out / name, text)
    written = [str(out / name) for name in files]
    return Answer(text="\n".join([*written, ""]), document=WrittenAnswer(written=tuple(written)))


def _dossiers(folder: Path, project: Project, options: ReportOptions) -> list[ScenarioReport]:
    """Return the profile asked for; to be written with ``auto``, each with stored results."""
    loaded, store = load(folder), RunStore(project.store)
    profiles = [stored_profile(options.profile, loaded.scenario, store)]
    if options.out is not None and options.profile == "auto":
        profiles = store.profiles(loaded.scenario.scenario)
    plans = [expand(loaded, profile, overrides_of(options)) for profile in profiles]
    ledger = open_ledger(loaded)
    dossiers = [assemble(loaded, ledger, plan, store) for plan in plans]
    for run in (run for dossier in dossiers for run in dossier.runs):
        options.console.explain(f"{run.spec.label}: {store.folder(run.spec)}")
    return dossiers


def _chosen(dossier: ScenarioReport, word: str) -> tuple[Table, ...]:
    """Return the tables of that name; all without one."""
    match word:
        case "cells":
            return (cells_table(dossier),)
        case "rows":
            return rows_tables(dossier)
        case "ledger":
            return (ledger_table(dossier),)
        case _:
            return tables_of(dossier)


def _once(tables: Iterable[Table]) -> Iterator[Table]:
    """Yield the tables; a caption line is printed once, with the first table that has it."""
    said: set[str] = set()
    for table in tables:
        yield replace(table, caption=tuple(line for line in table.caption if line not in said))
        said.update(table.caption)


# --- an article -----------------------------------------------------------------------------------


def _splice(article: Path, project: Project, options: ReportOptions) -> ExitCode:
    """Fill the article's markers of the scenarios named, or of all; or only say what is stale."""
    fill = _Filler(project, options, format_of(article))
    if options.stale:
        found = stale(article, fill)
        fill.require_any(article)
        code = ExitCode.OUTSIDE if found else ExitCode.OK
        if options.json:
            print_answer(options, StaleAnswer(article=str(article), stale=tuple(found)), code)
        for each in () if options.json else found:
            print(f"{article}:{each}")
        return code
    changed = splice(article, fill, fill.require_any)
    said = "filled" if changed else "was up to date"
    if options.json:
        answer = SplicedAnswer(article=str(article), changed=changed, markers=fill.filled)
        print_answer(options, answer)
    else:
        print(f"{article}: {said} ({counted(fill.filled, 'marker')})")
    return ExitCode.OK


class _Filler:
    """Finds what stands for a marker, each profile of each scenario read once.

    Results are those that are published, unless a store is named.
    """

    def __init__(self, project: Project, options: ReportOptions, form: ArticleFormat) -> None:
        self._scenarios, self._form = project.scenarios, form
        self._store = RunStore(options.store or project.published)
        self._is_published = options.store is None
        self._chosen = find_all(project.scenarios, options.scenarios)
        self._words = options.scenarios
        self._ledgers: dict[Path, tuple[Loaded, Expectations]] = {}
        self._reports: dict[tuple[Path, Profile], ScenarioReport] = {}
        self.filled = 0

    def __call__(self, marker: Marker) -> Excerpt | None:
        """Return what stands for a marker; None for a scenario that was not asked for."""
        folder = find(self._scenarios, marker.scenario)
        if self._chosen and folder not in self._chosen:
            return None
        self.filled += 1
        loaded, ledger = self._ledger(folder)
        if marker.shown is Shown.ERRORS:
            return errors_excerpt(loaded.scenario, ledger, self._form)
        if marker.shown is Shown.FIGURE:
            metrics = dict(metrics_by_name(loaded.scenario))
            report = self._report_of(folder, marker)
            return figure_excerpt(marker, ledger, metrics, report, self._form)
        assert marker.profile is not None, "every table and plot names one"
        return excerpt(marker, self._report(folder, marker.profile), self._form)

    def require_any(self, article: Path) -> None:
        """Refuse an article in which nothing was asked for.

        Raises:
            InputError: it has markers, and none of these scenarios.
        """
        if not self.filled:
            message = f"has no marker of {', '.join(self._words)}"
            raise InputError([Problem(message=message, path=article)])

    def _ledger(self, folder: Path) -> tuple[Loaded, Expectations]:
        if folder not in self._ledgers:
            loaded = load(folder)
            self._ledgers[folder] = loaded, open_ledger(loaded)
        return self._ledgers[folder]

    def _report_of(self, folder: Path, marker: Marker) -> ScenarioReport | None:
        """Return the profile that measured a figure; None where the ledger alone has it.

        Raises:
            InputError: several profiles have measured it, and the marker names none.
        """
        loaded, ledger = self._ledger(folder)
        if not is_measured(marker, ledger):
            return None
        if marker.profile is not None:
            return self._report(folder, marker.profile)
        stored = self._store.profiles(loaded.scenario.scenario)
        if not stored:
            raise InputError([Problem(message=self._why_none(loaded, None))])
        found = profiles_of(marker, ledger, [self._report(folder, each) for each in stored])
        if len(found) > 1:
            message = f"{marker.name} is measured in {len(found)} profiles: name one"
            allowed = ", ".join(f"profile={each}" for each in found)
            raise InputError([Problem(message=message, allowed=allowed)])
        return self._report(folder, found[0] if found else stored[0])

    def _report(self, folder: Path, profile: Profile) -> ScenarioReport:
        """Return a profile with its results.

        Raises:
            InputError: the scenario has no such profile, or no results of it are here.
        """
        if (folder, profile) not in self._reports:
            loaded, ledger = self._ledger(folder)
            declared_profile(profile, loaded.scenario)
            if profile not in self._store.profiles(loaded.scenario.scenario):
                raise InputError([Problem(message=self._why_none(loaded, profile))])
            plan = expand(loaded, profile, Overrides())
            report = assemble(loaded, ledger, plan, self._store)
            report = replace(report, is_published=self._is_published)
            if report.missing:  # the figures of the others stand, and are not the whole experiment
                name = f"{loaded.scenario.scenario} {profile}"
                print(f"harness report: {name}: {report.missing}", file=sys.stderr)
            self._reports[folder, profile] = report
        return self._reports[folder, profile]

    def _why_none(self, loaded: Loaded, profile: Profile | None) -> str:
        name = loaded.scenario.scenario
        what = f"{name} {profile}" if profile else name
        if schemas := self._store.other_schemas(name, profile):
            return f"the results of {what} in {self._store.root} are from {said_of(schemas)}"
        return f"no results of {what} in {self._store.root}"
