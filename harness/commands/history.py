"""``harness history``: what was measured night after night; import and rename add rows to it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import atomic
from harness.errors import ExitCode, HarnessError, HostError, InputError, Problem, unknown, worst
from harness.history.collect import nights_of, stores_in, tested_metrics
from harness.history.rows import (
    Accepted,
    Finding,
    Renamed,
    add_nights,
    append_rows,
    id_of,
    now,
    path_of,
    profiles_of,
    read_rows,
)
from harness.history.series import NightState, judge, series_by_label, series_of
from harness.measure import metrics_by_name
from harness.printable import printable_lines
from harness.records import Profile, Scalar, record
from harness.report.history import (
    HistoryReport,
    history_csv,
    history_page,
    history_text,
)
from harness.results.store import RunStore
from harness.scenario.folders import find, survey
from harness.scenario.load import Loaded, load
from harness.session.console import terminal_width
from harness.session.options import HistoryOptions
from harness.session.output import print_answer, print_said
from harness.session.project import Project, history_folder, open_project
from harness.session.selection import declared_profile
from harness.units import counted
from harness.workloads.api.declare import Metric


@record
class SeriesAnswer:
    """One figure of one cell over the nights.

    Attributes:
        effect: relative change of the last nights; None where too little is known.
        sees: the relative change that would be seen within five nights; None where none would.
        times: UTC, of each value.
    """

    metric: str
    unit: str
    cell: Mapping[str, Any]
    where: Mapping[str, Scalar]
    device: str
    state: NightState
    effect: float | None
    sees: float | None
    times: tuple[str, ...]
    values: tuple[float, ...]


@record
class HistoryAnswer:
    """The answer of ``harness history SCENARIO --json``."""

    scenario: str
    profile: Profile
    problems: tuple[str, ...]
    series: tuple[SeriesAnswer, ...]
    findings: tuple[Finding, ...]
    accepted: tuple[Accepted, ...]


def main(options: HistoryOptions) -> ExitCode:
    """Show a history, or add rows to one."""
    project = open_project(options)
    folder = history_folder(project, options.history)
    if options.scenario == "import":
        return _import(options, project, folder)
    if options.scenario == "rename":
        return _rename(options, project, folder)
    if options.names:
        allowed = "one scenario; or: import PATH..., or: rename SCENARIO OLD NEW --why TEXT"
        problem = Problem(message="too many words", value=" ".join(options.names), allowed=allowed)
        raise InputError([problem])
    loaded = load(find(project.scenarios, options.scenario))
    profile = history_profile(options.profile, loaded, folder)
    report = history_report(loaded, profile, folder, options.metric)
    for problem in report.rows.problems:
        options.console.say(str(problem))
    if options.json:
        print_answer(options, _answer(report))
        return ExitCode.OK
    if options.format == "csv":
        text = history_csv(report)
    elif options.format == "html":
        text = history_page(report)
    else:
        text = history_text(report, terminal_width(), plot=options.plot)
    if options.out is not None:
        atomic.write_text(options.out, text)
        options.console.say(f"written: {options.out}")
    else:
        sys.stdout.write(text if options.format == "csv" else printable_lines(text))
    return ExitCode.OK


def history_profile(word: str, loaded: Loaded, folder: Path) -> Profile:
    """Return the profile that `word` names; ``auto`` is the first that has a history.

    Raises:
        InputError: the scenario has no such profile.
        HostError: it has no history.
    """
    if word != "auto":
        return declared_profile(word, loaded.scenario)
    known = profiles_of(folder, loaded.scenario.scenario)
    if not known:
        message = f"{loaded.scenario.scenario} has no history in {folder}"
        raise HostError(message, f"harness history import {Path('results') / 'local'}")
    return known[0]


def history_report(
    loaded: Loaded, profile: Profile, folder: Path, asked: tuple[str, ...] = ()
) -> HistoryReport:
    """Return a history, its newest nights judged.

    Raises:
        InputError: no such metric.
    """
    path = path_of(folder, loaded.scenario.scenario, profile)
    rows = read_rows(path)
    metrics = chosen_metrics(loaded, profile, asked)
    series, problems = series_of(rows, metrics, path)
    seen = judge(rows, list(series_by_label(series)), metrics)
    rows_shown = type(rows)(
        nights=rows.nights,
        findings=rows.findings,
        accepted=rows.accepted,
        renamed=rows.renamed,
        problems=(*rows.problems, *problems),
    )
    return HistoryReport(
        scenario=loaded.scenario, profile=profile, rows=rows_shown, seen=tuple(seen)
    )


def chosen_metrics(loaded: Loaded, profile: Profile, asked: tuple[str, ...]) -> dict[str, Metric]:
    """Return the metrics that were asked for; those that are tested where none was.

    Raises:
        InputError: no such metric.
    """
    known = metrics_by_name(loaded.scenario)
    if wrong := [each for each in asked if each not in known]:
        raise InputError(unknown("metric", each, known, key="--metric") for each in wrong)
    if asked:
        return {name: known[name] for name in asked}
    return {each.name: each for each in tested_metrics(loaded.scenario, profile)}


def _answer(report: HistoryReport) -> HistoryAnswer:
    return HistoryAnswer(
        scenario=report.scenario.scenario,
        profile=report.profile,
        problems=tuple(map(str, report.rows.problems)),
        series=tuple(
            SeriesAnswer(
                metric=each.series.metric,
                unit=each.series.unit,
                cell=each.series.cell,
                where=each.series.where,
                device=each.series.device,
                state=each.state,
                effect=each.effect if each.look else None,
                sees=each.sees,
                times=tuple(reading.night.time for reading in each.series.readings),
                values=tuple(each.series.values),
            )
            for each in report.seen
        ),
        findings=report.rows.findings,
        accepted=report.rows.accepted,
    )


def _import(options: HistoryOptions, project: Project, folder: Path) -> ExitCode:
    """Add the runs of stores to the histories of their scenarios; what is there already is not."""
    if not options.names:
        problem = Problem(message="nothing to import is named", allowed="a store, a folder, a zip")
        raise InputError([problem])
    scenarios = {each.name: each for each in survey(project.scenarios)[0]}
    codes: list[ExitCode] = []
    said: list[str] = []
    for name in options.names:
        try:
            with stores_in(Path(name)) as stores:
                for found in stores:
                    store = RunStore(found.root)
                    code, lines = _import_store(options, store, found.name, scenarios, folder)
                    codes.append(code)
                    said += lines
        except InputError as error:
            if len(options.names) == 1:
                raise
            print(f"harness history: {error}", file=sys.stderr)
            codes.append(error.exit_code)
    return print_said(options, said, worst(codes))


def _import_store(
    options: HistoryOptions, store: RunStore, name: str, scenarios: dict[str, Path], folder: Path
) -> tuple[ExitCode, list[str]]:
    codes = [ExitCode.OK]
    said = []
    for scenario in sorted(each.name for each in store.root.iterdir() if each.is_dir()):
        if scenario.startswith("."):
            continue
        if scenario not in scenarios:
            options.console.say(f"{name}: this checkout has no scenario {scenario}: left out")
            continue
        loaded = load(scenarios[scenario])
        for profile in loaded.scenario.profiles:
            if options.profile not in {"auto", profile}:
                continue
            if schemas := store.other_schemas(scenario, profile):
                options.console.say(
                    f"{name}: {scenario} {profile} has runs of schema "
                    f"{', '.join(map(str, sorted(schemas)))}, which are left out"
                )
            path = path_of(folder, scenario, profile)
            try:
                nights = nights_of(store, loaded.scenario, profile)
            except HarnessError as error:
                print(f"harness history: {error}", file=sys.stderr)
                codes.append(error.exit_code)
                continue
            new = add_nights(path, nights, read_rows(path).ids)
            if nights:
                old = len(nights) - len(new)
                said.append(
                    f"{scenario} {profile}: {counted(len(new), 'row')} added from {name}"
                    + (f", {old} known already" if old else "")
                )
    return worst(codes), said


def _rename(options: HistoryOptions, project: Project, folder: Path) -> ExitCode:
    """Declare that a metric goes on under another name."""
    if len(options.names) != 3 or not options.why:  # noqa: PLR2004 - scenario, old, new
        allowed = "rename SCENARIO OLD NEW --why TEXT"
        given = " ".join(options.names)
        raise InputError([Problem(message="rename needs more", value=given, allowed=allowed)])
    word, old, new = options.names
    loaded = load(find(project.scenarios, word))
    profile = history_profile(options.profile, loaded, folder)
    chosen_metrics(loaded, profile, (new,))
    path = path_of(folder, loaded.scenario.scenario, profile)
    rows = read_rows(path)
    known = {each.metric for night in rows.nights for each in night.figures}
    if old not in known:
        raise InputError([unknown("metric of the history", old, known, path=path)])
    names = {each.old: each.new for each in rows.renamed} | {old: new}
    at = new
    while at in names:
        at = names[at]
        if at == new:
            message = f"{new} was renamed to {old} before: that is a circle"
            raise InputError([Problem(message=message, path=path)])
    row = Renamed(id=id_of("renamed", old, new), time=now(), old=old, new=new, why=options.why)
    append_rows(path, [row])
    return print_said(options, [f"{old} goes on as {new}: {options.why}"])
