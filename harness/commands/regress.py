"""``harness regress``: is tonight a regression? Exit 1 only for one that pairs have confirmed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from harness import atomic
from harness.commands.history import chosen_metrics, history_profile
from harness.errors import ExitCode, HostError, InputError, Problem, first_line, unknown
from harness.execution.bisect import bisect
from harness.execution.confirm import Budget, Confirmation, PairBench, Wanted, confirm, executor
from harness.execution.versions import (
    AskedCell,
    Version,
    VersionFailed,
    at_commit,
    git,
    image_of,
)
from harness.follow.notify import Happening, Notice, Notifier, notifier
from harness.history.collect import nights_of
from harness.history.pairs import Outcome
from harness.history.rows import (
    Accepted,
    Finding,
    HistoryRows,
    Night,
    add_nights,
    append_rows,
    id_of,
    now,
    path_of,
    profiles_of,
    read_rows,
)
from harness.history.series import (
    Key,
    NightState,
    Tonight,
    judge,
    key_of,
    relative,
    series_by_label,
    series_of,
)
from harness.records import Profile, Scalar, canonical_json, record
from harness.report.regression import (
    CLEARED,
    FigureJudgement,
    RegressionReport,
    alarms,
    regression_junit,
    regression_summary,
    regression_text,
    told_of,
    told_text,
)
from harness.results.code import code_state
from harness.results.store import RunStore
from harness.scenario.folders import find
from harness.scenario.load import Loaded, load
from harness.session.console import terminal_width
from harness.session.options import RegressOptions, budget_s
from harness.session.output import print_answer, print_said
from harness.session.project import Project, cache_folder, history_folder, open_project
from harness.session.selection import declared_profile
from harness.units import counted
from harness.workloads.api.declare import Metric

_TIMEOUT_S = 7 * 24 * 3600.0  # of one execution; its own stall limit ends it long before
_NO_REPEAT_DAYS = 60  # in which the same suspicion is not told again


@record
class FigureAnswer:
    """What is said of one figure of one cell tonight.

    Attributes:
        sees: the relative change that would be seen within five nights; None where none would.
        is_new: whether nobody has been told of it yet.
        finding: what came of a suspicion; None without one.
    """

    metric: str
    cell: Mapping[str, Any]
    where: Mapping[str, Scalar]
    result: str
    sees: float | None
    is_new: bool
    finding: Finding | None


@record
class RegressAnswer:
    """The answer of ``harness regress SCENARIO --json``."""

    name: str
    notes: tuple[str, ...]
    figures: tuple[FigureAnswer, ...]


@record
class BisectAnswer:
    """The answer of ``harness regress SCENARIO --bisect GOOD BAD --json``: commits."""

    good: str
    bad: str
    first_bad: tuple[str, ...]


def main(options: RegressOptions) -> ExitCode:
    """Judge tonight; or move a baseline; or look for the first bad commit."""
    project = open_project(options)
    budget = _budget(options)
    told = notifier(options.notify) if options.notify else None
    loaded = load(find(project.scenarios, options.scenario))
    folder = history_folder(project, options.history)
    if options.accept is not None:
        return _accept(options, loaded, folder)
    profile = _profile(options, loaded, RunStore(project.store), folder)
    asked = _Asked(
        options=options,
        project=project,
        loaded=loaded,
        path=path_of(folder, loaded.scenario.scenario, profile),
        metrics=chosen_metrics(loaded, profile, options.metric),
        budget=budget,
    )
    if options.bisect:
        return _bisect_command(asked, profile)
    report = _regression(asked, profile)
    _show(options, report)
    _tell(options, told, report)
    return report.exit_code


@record
class _Asked:
    """What a call is about."""

    options: RegressOptions
    project: Project
    loaded: Loaded
    path: Path
    metrics: Mapping[str, Metric]
    budget: Budget

    def say(self, line: str) -> None:
        self.options.console.say(line)

    def bench(self, night: Night) -> PairBench:
        execute = executor(AskedCell.of(night), self.metrics, _TIMEOUT_S)
        return PairBench(execute=execute, budget=self.budget, say=self.say)


def _budget(options: RegressOptions) -> Budget:
    seconds = budget_s(options.budget)
    if options.pairs < 1:
        problem = Problem(
            message="no number of pairs", key="--pairs", value=str(options.pairs), allowed="from 1"
        )
        raise InputError([problem])
    return Budget(pairs=options.pairs, seconds=seconds)


def _profile(options: RegressOptions, loaded: Loaded, store: RunStore, folder: Path) -> Profile:
    if options.profile != "auto":
        return declared_profile(options.profile, loaded.scenario)
    stored = store.profiles(loaded.scenario.scenario)
    return stored[0] if stored else history_profile("auto", loaded, folder)


# --- tonight --------------------------------------------------------------------------------------


def _regression(asked: _Asked, profile: Profile) -> RegressionReport:
    rows = read_rows(asked.path)
    tonight = nights_of(RunStore(asked.project.store), asked.loaded.scenario, profile)
    if new := add_nights(asked.path, tonight, rows.ids):
        asked.say(f"{counted(len(new), 'row')} added to {asked.path}")
        rows = read_rows(asked.path)
    if not rows.nights:
        message = f"{asked.loaded.scenario.scenario} {profile} has neither runs nor a history"
        raise HostError(message, f"harness run {asked.loaded.scenario.scenario}")
    series, problems = series_of(rows, asked.metrics, asked.path)
    newest = {each.id for each in tonight} or {rows.nights[-1].id}
    last = [
        each
        for each in series_by_label(series)
        if each.readings[-1].night.id in newest and _is_asked(each.cell, asked.options.only)
    ]
    notes = [*(f"{each}." for each in (*rows.problems, *problems))]
    for line in notes:
        asked.say(line)
    if not last:
        notes.append(
            "No figure of tonight is tested: its runs measured none, or the machine was not itself."
        )
    judgements = _confirmed(asked, rows, judge(rows, last, asked.metrics))
    return RegressionReport(
        name=f"{asked.loaded.scenario.scenario} {profile}",
        judgements=tuple(judgements),
        notes=tuple(notes),
    )


def _is_asked(cell: Mapping[str, object], only: Sequence[str]) -> bool:
    wanted = (each.partition("=") for each in only)
    return all(str(cell.get(axis)) == value for axis, _, value in wanted)


def _confirmed(asked: _Asked, rows: HistoryRows, seen: Sequence[Tonight]) -> list[FigureJudgement]:
    """Return a judgement of each figure; suspicions are confirmed, cell by cell."""
    judged = {each.series.key: each.night.id for each in seen}
    before = {
        key: each
        for each in rows.findings
        if judged.get(key := key_of(each.point, each.metric, each.where, each.device)) == each.night
    }  # a second call of one night runs nothing again
    cells: dict[tuple[str, str], list[Tonight]] = {}
    for each in seen:
        is_open = each.state in {NightState.SUSPECTED, NightState.DOUBTED}
        if is_open and each.series.key not in before:
            cells.setdefault((each.series.point, each.series.device), []).append(each)
    found: dict[Key, Finding] = {}
    for some in cells.values():
        found.update(_pairs(asked, some))
    append_rows(asked.path, [*found.values()])
    judgements = []
    for each in seen:
        new = found.get(each.series.key)
        if new is not None and not (each.open and new.outcome in CLEARED):
            is_new = not _is_told(new, rows)
            judgements.append(FigureJudgement(seen=each, finding=new, is_new=is_new))
        else:
            seen_as = replace(each, state=NightState.KNOWN) if each.open else each
            known = each.open or before.get(each.series.key)
            judgements.append(FigureJudgement(seen=seen_as, finding=known))
    return judgements


def _is_told(finding: Finding, rows: HistoryRows) -> bool:
    """Return whether the same was found before, and nobody has accepted it."""
    accepted = {each.finding for each in rows.accepted}
    for each in rows.findings:
        same = (each.point, each.metric, each.where, each.device, each.outcome) == (
            *(finding.point, finding.metric, finding.where, finding.device, finding.outcome),
        )
        if same and each.id not in accepted and _days(each.time, finding.time) < _NO_REPEAT_DAYS:
            # a further loss on top of a known one is another alarm
            further = finding.outcome is Outcome.REGRESSED and finding.good != each.good
            if not further:
                return True
    return False


def _days(one: str, other: str) -> float:
    try:
        return abs((datetime.fromisoformat(other) - datetime.fromisoformat(one)).days)
    except (TypeError, ValueError):
        return 0.0


def _pairs(asked: _Asked, some: Sequence[Tonight]) -> dict[Key, Finding]:
    """Return what came of suspicions about figures of one cell.

    Without pairs, only what the nights are sure of is found: it is SUSPECTED, or the machine.
    """

    def without(outcome: Outcome | None, why: str) -> dict[Key, Finding]:
        sure = [each for each in some if each.state is NightState.SUSPECTED]
        if sure:
            asked.say(f"{', '.join(each.series.label for each in sure)} not confirmed: {why}")
        return {each.series.key: _finding(each, None, outcome, why) for each in sure}

    night, good = some[0].night, some[0].good
    names = ", ".join(each.series.label for each in some)
    if asked.options.no_confirm:
        return without(None, "--no-confirm")
    if good is None:
        return without(None, "no night before has a clean commit to run again")
    if (same := _same_version(good, night, some)) is not None:
        return without(*same)
    asked.say(f"to be looked at again: {names}")
    wanted = [_wanted(each, asked.metrics) for each in some]
    try:
        old = _version(asked, good)
        new = _tonights(asked, night)
        asked.say(f"confirming: {old.name} and {new.name} in turn")
        answers = confirm(wanted, old, new, asked.bench(night), night.id, glances=True)
    except (HostError, VersionFailed) as error:
        return without(None, f"the baseline cannot be run again: {first_line(error)}")
    found = {
        each.series.key: _finding(
            each, answer, answer.test.outcome if answer.test else None, answer.why
        )
        for each, answer in zip(some, answers, strict=True)
    }
    if asked.options.first_bad:
        found = {key: _with_first_bad(asked, each, night, good) for key, each in found.items()}
    return found


def _same_version(
    good: Night, night: Night, some: Sequence[Tonight]
) -> tuple[Outcome | None, str] | None:
    """Return the outcome where there are no two versions to compare; None where there are."""
    same_code = bool(night.commit) and good.commit == night.commit and night.dirty is False
    by_source = (
        bool(night.source)
        and good.source == night.source
        and not any(each.series.metric.startswith("run.") for each in some)
    )
    if not (same_code or by_source) or good.image != night.image:
        return None
    changed = {
        name: f"{name} {good.versions.get(name, 'none')} -> {night.versions.get(name, 'none')}"
        for name in {*good.versions, *night.versions}
        if good.versions.get(name) != night.versions.get(name)
    }
    if good.driver != night.driver:
        changed["driver"] = f"driver {good.driver} -> {night.driver}"
    if changed:
        told = ", ".join(text for _, text in sorted(changed.items()))
        return None, f"the code is the same; what changed cannot be run beside: {told}"
    return Outcome.NOT_REGRESSED, (
        f"the code, the image and the versions are those of {good.time[:10]}: it is the machine"
    )


def _wanted(each: Tonight, metrics: Mapping[str, Metric]) -> Wanted:
    assert each.look is not None
    key = each.series.metric, canonical_json(each.series.where)
    return Wanted(
        key=key,
        metric=metrics[each.series.metric],
        shift=each.look.shift,
        may_confirm=each.may_confirm,
    )


def _trees() -> Path:
    return cache_folder() / "versions"


def _version(asked: _Asked, night: Night) -> Version:
    return at_commit(asked.project.root, night.commit, image_of(night), _trees())


def _tonights(asked: _Asked, night: Night) -> Version:
    """Return tonight's version: that of its commit, or the checkout where it was not clean.

    Raises:
        HostError: it was not clean, and the checkout has changed since.
    """
    if night.commit and night.dirty is False:
        return _version(asked, night)
    if code_state(asked.project.root).commit != (night.commit or None):
        message = "tonight's code was not committed, and the checkout is another one now"
        raise HostError(message)
    return Version(name="this checkout", root=asked.project.root.resolve(), image=image_of(night))


def _finding(
    seen: Tonight, answer: Confirmation | None, outcome: Outcome | None, why: str
) -> Finding:
    series, look, night = seen.series, seen.look, seen.night
    assert look is not None
    test = answer.test if answer else None
    time = now()
    effect, low, high, sees = seen.effect, None, None, seen.sees
    if test is not None:
        effect, low = relative(test.effect), _bounded(test.interval.low)
        high = _bounded(test.interval.high)
        sees = None if test.sees == float("inf") else -relative(-test.sees)
    old = answer.old if answer and answer.old is not None else seen.old
    new = answer.new if answer and answer.new is not None else series.values[-1]
    return Finding(
        id=id_of("finding", series.key, night.id, outcome, time),
        time=time,
        point=series.point,
        metric=series.metric,
        where=series.where,
        device=series.device,
        night=night.id,
        outcome=outcome,
        unit=series.unit,
        old=old,
        new=new,
        nights=look.nights,
        effect=effect,
        low=low,
        high=high,
        sees=sees,
        pairs=test.pairs if test else 0,
        good=seen.good.commit if seen.good else "",
        bad=night.commit,
        why=why,
    )


def _bounded(value: float) -> float | None:
    return relative(value) if abs(value) != float("inf") else None


# --- the first bad commit -------------------------------------------------------------------------


def _with_first_bad(asked: _Asked, finding: Finding, night: Night, good: Night) -> Finding:
    if finding.outcome is not Outcome.REGRESSED or night.dirty is not False:
        return finding
    wanted = Wanted(
        key=(finding.metric, canonical_json(finding.where)),
        metric=asked.metrics[finding.metric],
        shift=finding.effect,
    )
    try:
        first = _first_bad(asked, night, (good.commit, night.commit), [wanted])
    except (HostError, VersionFailed) as error:
        return replace(finding, why=f"first bad commit not found: {first_line(error)}")
    return replace(finding, first_bad=_shown(first))


def _shown(commits: Sequence[str]) -> str:
    if len(commits) == 1:
        return commits[0][:10]
    return f"one of {len(commits)}: {commits[0][:10]} to {commits[-1][:10]}"


def _first_bad(
    asked: _Asked, night: Night, ends: tuple[str, str], wanted: Sequence[Wanted]
) -> tuple[str, ...]:
    """Return the commits that the first bad one is among.

    Raises:
        HostError: git does not have the commits, or the good one cannot be run.
    """
    good, bad = ends
    listed = git(asked.project.root, "rev-list", "--first-parent", "--reverse", f"{good}..{bad}")
    commits = listed.split()
    if not commits:
        message = f"no commit lies between {good[:10]} and {bad[:10]}"
        raise HostError(message, f"git log {good[:10]}..{bad[:10]}")
    image = image_of(night)
    old = at_commit(asked.project.root, good, image, _trees())

    def ask(commit: str) -> Outcome | None:
        asked.say(f"bisecting: {commit[:10]}, {counted(len(commits), 'commit')} in all")
        try:
            new = at_commit(asked.project.root, commit, image, _trees())
            answers = confirm(wanted, old, new, asked.bench(night), commit)
        except (HostError, VersionFailed) as error:
            asked.say(f"passed over: {first_line(error)}")
            return None
        outcomes = [each.test.outcome for each in answers if each.test]
        if Outcome.REGRESSED in outcomes:
            return Outcome.REGRESSED
        return outcomes[0] if set(outcomes) == {Outcome.NOT_REGRESSED} else Outcome.INCONCLUSIVE

    return bisect(commits, ask).first_bad


def _bisect_command(asked: _Asked, profile: Profile) -> ExitCode:
    rows = read_rows(asked.path)
    cells = [each for each in rows.nights if _is_asked(each.cell, asked.options.only)]
    if not cells:
        message = f"no night of {asked.loaded.scenario.scenario} {profile} has measured such a cell"
        raise HostError(message, f"harness regress {asked.loaded.scenario.scenario}")
    night = cells[-1]
    good, bad = (
        git(asked.project.root, "rev-parse", each).strip() for each in asked.options.bisect
    )
    present = {(each.metric, canonical_json(each.where)) for each in night.figures}
    wanted = [
        Wanted(key=key, metric=asked.metrics[key[0]], shift=-0.02)
        for key in sorted(present)
        if key[0] in asked.metrics
    ]
    if not wanted:
        message = "that night measured none of these metrics"
        raise HostError(message, f"harness history {asked.loaded.scenario.scenario}")
    old = at_commit(asked.project.root, good, image_of(night), _trees())
    new = at_commit(asked.project.root, bad, image_of(night), _trees())
    try:
        ends = confirm(wanted, old, new, asked.bench(night), f"{good}{bad}")
    except VersionFailed as error:
        raise HostError(str(error)) from None
    worse = [each.wanted for each in ends if each.test and each.test.outcome is Outcome.REGRESSED]
    if not worse:
        said = {each.wanted.metric.name: each.test.outcome for each in ends if each.test}
        told = ", ".join(f"{name} {outcome}" for name, outcome in said.items())
        decided = set(said.values()) == {Outcome.NOT_REGRESSED}
        return print_said(
            asked.options,
            [f"{bad[:10]} is not shown to be slower than {good[:10]}: {told}"],
            ExitCode.OK if decided else ExitCode.INCONCLUSIVE,
        )
    first = _first_bad(asked, night, (good, bad), worse)
    if asked.options.json:
        answer = BisectAnswer(good=good, bad=bad, first_bad=tuple(first))
        print_answer(asked.options, answer, ExitCode.OUTSIDE)
        return ExitCode.OUTSIDE
    for commit in first:
        subject = git(asked.project.root, "log", "-1", "--format=%h %s", commit).strip()
        print(f"first bad commit{' may be' if len(first) > 1 else ''}: {subject}")
    return ExitCode.OUTSIDE


# --- accepting, showing, telling ------------------------------------------------------------------


def _accept(options: RegressOptions, loaded: Loaded, folder: Path) -> ExitCode:
    scenario = loaded.scenario.scenario
    if not options.why:
        problem = Problem(message="accepting needs a reason", key="--why", allowed="--why TEXT")
        raise InputError([problem])
    known: list[str] = []
    for profile in profiles_of(folder, scenario):
        path = path_of(folder, scenario, profile)
        rows = read_rows(path)
        known += [each.id for each in rows.findings]
        given = [each for each in rows.findings if each.id == options.accept]
        if given:
            row = Accepted(
                id=id_of("accepted", options.accept),
                time=now(),
                finding=given[0].id,
                why=options.why,
            )
            if row.id in rows.ids:
                return print_said(options, [f"{options.accept} is accepted already"])
            append_rows(path, [row])
            new = f"{given[0].new:.4g} {given[0].unit}"
            return print_said(options, [f"{given[0].metric}: the baseline begins anew at {new}"])
    raise InputError([unknown("finding", options.accept, known, path=folder, key="--accept")])


def _show(options: RegressOptions, report: RegressionReport) -> None:
    if options.json:
        print_answer(options, _answer(report), report.exit_code)
    else:
        print(regression_text(report, terminal_width()), end="")
    if options.junit is not None:
        atomic.write_text(options.junit, regression_junit(report))
    if options.summary is not None:
        try:
            with options.summary.open("a", encoding="utf-8") as file:
                file.write(regression_summary(report))
        except OSError as error:
            raise atomic.unwritable(options.summary, error) from None


def _answer(report: RegressionReport) -> RegressAnswer:
    return RegressAnswer(
        name=report.name,
        notes=report.notes,
        figures=tuple(
            FigureAnswer(
                metric=each.seen.series.metric,
                cell=each.seen.series.cell,
                where=each.seen.series.where,
                result=each.result,
                sees=each.seen.sees,
                is_new=each.is_new,
                finding=each.finding,
            )
            for each in report.judgements
        ),
    )


def _tell(options: RegressOptions, told: Notifier | None, report: RegressionReport) -> None:
    """Tell whoever wants to know of what is new; that it could not be done ends nothing."""
    new = told_of(report)
    if told is None or not new:
        return
    worst_ones = [each.id for each in alarms(report)]
    facts: dict[str, str | float | int | None] = {
        "exit_code": int(report.exit_code),
        "alarms": ", ".join(worst_ones),
    }
    message = Notice(
        happening=Happening.REGRESSED if worst_ones else Happening.SUSPECTED,
        title=report.headline,
        body=told_text(new),
        facts=facts,
    )
    if why := told.send(message):
        options.console.say(f"nobody was told: {why}")
