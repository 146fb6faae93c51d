"""``harness report``: render stored results for a terminal, a file or an article."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from harness import atomic
from harness.errors import ExitCode
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import Profile, record
from harness.report.cells import cells_table, rows_tables
from harness.report.dossier import ScenarioReport, assemble
from harness.report.files import files_of, tables_of
from harness.report.ledger import ledger_table
from harness.report.page import Page, render_page
from harness.report.plots import draw_all
from harness.report.render import (
    TableDocument,
    TableFormat,
    json_document,
    render,
    render_text,
)
from harness.report.splice import Marker, block, splice, stale
from harness.report.tables import Table
from harness.results.store import RunStore
from harness.scenario.folders import find, find_all
from harness.scenario.load import load
from harness.session.console import terminal_width
from harness.session.options import ReportOptions
from harness.session.project import Project, open_project
from harness.session.selection import (
    declared_profile,
    open_ledger,
    overrides_of,
    stored_profile,
)
from harness.session.several import Answer, answer_each


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


def main(options: ReportOptions) -> ExitCode:
    """Print or write the report of each scenario at one profile; runs nothing."""
    if options.format == TableFormat.JSON:
        options = replace(options, json=True)
    project = open_project(options)
    chosen = find_all(project.scenarios, options.scenarios)
    if options.splice:
        return _splice(options.splice, chosen, project, only_say=options.stale)
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


def _splice(article: Path, chosen: list[Path], project: Project, *, only_say: bool) -> ExitCode:
    """Fill the article's markers of these scenarios, or only say which are out of date."""

    def fill(marker: Marker) -> str | None:
        """Return a marker's table; None for a scenario that was not asked for."""
        folder = find(project.scenarios, marker.scenario)
        if folder not in chosen:
            return None
        loaded = load(folder)
        profile = declared_profile(marker.profile, loaded.scenario)
        plan = expand(loaded, profile, Overrides())
        dossier = assemble(loaded, open_ledger(loaded), plan, RunStore(project.store))
        return block(dossier, marker.shown)

    if not only_say:
        print(f"{article}: {'filled' if splice(article, fill) else 'was up to date'}")
        return ExitCode.OK
    outdated = stale(article, fill)
    for marker in outdated:
        print(f"{article}:{marker.line}: out of date")
    return ExitCode.OUTSIDE if outdated else ExitCode.OK
