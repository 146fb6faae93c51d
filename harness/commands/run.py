"""``harness run``: run what is not finished, check it, print the tables, exit by verdict."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from harness.check.pins import PinsReport, check_pins, read_pins
from harness.errors import ExitCode, HarnessError, HostError, Interrupted, worst
from harness.execution.environment import EnvironmentRecorder
from harness.execution.jobs import crew_for, room
from harness.execution.prepare import Preparation, prepare
from harness.execution.progress import Narrator, described
from harness.execution.run import Surroundings, refuse, run_plan
from harness.follow.notify import Happening, Notice, Notifier, notifier
from harness.records import Profile
from harness.report.cells import cells_table
from harness.report.dossier import ScenarioReport, assemble
from harness.report.files import tables_of, write_for_ci
from harness.report.last_screen import answer_document, last_screen, meaning, next_steps
from harness.report.ledger import brief_table, judged
from harness.report.render import json_document, render_text
from harness.results.selection import pending
from harness.results.trials import write_trials
from harness.runtime.evidence import fetch
from harness.scenario.folders import find_all
from harness.session.console import Console, terminal_width
from harness.session.options import RunOptions, as_typed
from harness.session.project import open_project
from harness.session.several import Answer, answer_each
from harness.units import counted
from harness.workloads.api.registry import workload


def main(options: RunOptions) -> ExitCode:
    """Run each scenario at the profile asked for, and its published data too where asked."""
    project = open_project(options)
    _ = options.most_jobs  # refused before anything is done where it is no number
    every: list[ScenarioReport] = []
    told = notifier(options.notify) if options.notify else None

    def run(folder: Path) -> Answer:
        try:
            return reproduced(folder)
        except Interrupted:
            raise
        except (HarnessError, OSError) as error:
            _tell(told, options.console, Happening.FAILED, f"{folder.name}: {error}", "")
            raise

    def reproduced(folder: Path) -> Answer:
        began = time.monotonic()
        ready = prepare(folder, project, options, builds=True)
        if options.with_evidence and ready.profile is Profile.EVIDENCE:
            fetch(ready.evidence_files, ready.evidence_dir)
        dossiers = [reproduce(ready, options, told)]
        if options.with_evidence and ready.profile is not Profile.EVIDENCE:
            dossiers += _recomputed(ready, options, told)
        every.extend(dossiers)
        pins = [
            check_pins(read_pins(folder), each.runs, ready.store, each.metrics) for each in dossiers
        ]
        code = worst([*(each.exit_code for each in dossiers), *(each.exit_code for each in pins)])
        steps = next_steps(dossiers, as_typed(options))
        screen = last_screen(
            dossiers,
            ready.store,
            () if options.quiet else steps,
            pins=pins,
            width=terminal_width(),
            took_s=time.monotonic() - began,
            place=_place(ready),
            whole=options.all,
        )
        title = f"{folder.name} {ready.profile}: exit {code:d}, {meaning(code)}"
        _tell(told, options.console, Happening.ENDED, title, screen)
        if options.json:
            tables = [json_document(table) for each in dossiers for table in tables_of(each)]
            document = {**answer_document(dossiers, steps), "tables": tables, "exit_code": code}
            return Answer(code=code, document=document)
        text = f"{_tables(dossiers, pins)}\n{screen}" if options.all else screen
        return Answer(code=code, text=text)

    code = answer_each(find_all(project.scenarios, options.scenarios), run, options)
    write_for_ci(every, options.junit, options.summary, project.root)
    return code


def _tell(
    told: Notifier | None, console: Console, happening: Happening, title: str, body: str
) -> None:
    """Tell whoever wants to know; that it could not be done ends nothing."""
    if told is not None:
        message = Notice(happening=happening, title=title, body=body, facts={})
        if why := told.send(message):
            console.say(f"nobody was told: {why}")


def reproduce(
    ready: Preparation, options: RunOptions, told: Notifier | None = None
) -> ScenarioReport:
    """Execute what is not finished of a plan and return its dossier.

    Args:
        ready: the plan.
        options: how many runs go side by side, and what to do with those begun before.
        told: is told of a run that fails or shows no sign of life.

    Raises:
        HostError: this machine cannot execute it.
    """
    refuse(ready.problems())
    console, store = ready.options.console, ready.store
    # locked before an image is built, so that a second harness stops before it changes anything
    with store.locked(ready.loaded.scenario.scenario, ready.profile):
        owed = [spec for spec in ready.plan.runs if not store.has(spec)]
        nodes = None
        if ready.cluster is not None and owed:  # a node that cannot is named before anything starts
            refuse(ready.cluster.problems(owed[0]))
            nodes = len(ready.cluster.fitting(owed[0]))
        side_by_side = room(options.most_jobs, owed, ready.machine)
        if ready.cluster is not None:
            ready.cluster.per_node = side_by_side.jobs
        if options.most_jobs != 1 and owed:
            where = "" if nodes is None else " on each node"
            at_once = f"{counted(side_by_side.jobs, 'run')} at a time{where}"
            console.say(f"{at_once}: {side_by_side.reason}")
        around = Surroundings(
            runtime=ready.choice.runtime,
            store=store,
            evidence_dir=ready.evidence_dir if ready.evidence_files else None,
            models_dir=ready.models_dir if ready.models else None,
            environment=EnvironmentRecorder(ready),
            crew=crew_for(side_by_side, nodes, ready.plan.runs),
            across_changes=options.continue_across_changes,
            restart=options.restart,
        )
        for each in pending(store, ready.plan.runs):
            if each.reason:
                console.explain(f"{described(each.spec)} runs again: {each.reason}")
        store.keep_ledger(ready.ledger)
        what = f"{ready.plan.scenario} {ready.profile}, {ready.where}"
        with Narrator(what, len(ready.plan.runs), console, store, told) as narrator:
            run_plan(ready.plan, around, narrator)
        # add the runs to the scenario's record of trials, where it has one for this profile
        scenario = ready.loaded.scenario
        score, program = scenario.report.lineage, workload(scenario.workload_of(ready.profile))
        is_scored = any(metric.name == score for metric in program.metrics)
        if score is not None and is_scored and not ready.plan.changed:
            write_trials(ready.plan, ready.store, score)
    return assemble(ready.loaded, ready.ledger, ready.plan, store)


def _recomputed(
    ready: Preparation, options: RunOptions, told: Notifier | None
) -> list[ScenarioReport]:
    evidence = ready.of_evidence()
    if evidence is None:
        return []
    try:
        fetch(evidence.evidence_files, evidence.evidence_dir)
        return [reproduce(evidence, options, told)]
    except HostError as error:
        ready.options.console.say(f"published data is not recomputed here: {error}")
        return []


def _place(ready: Preparation) -> str:
    """Return the folder of a profile's runs as a user would name it from here."""
    folder = ready.store.root / ready.loaded.scenario.scenario / ready.profile
    here = Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)


def _tables(dossiers: Sequence[ScenarioReport], pins: Sequence[PinsReport]) -> str:
    """Return cells, claims and counts."""
    width = terminal_width()
    lines = [
        render_text(table, width)
        for dossier in dossiers
        for table in (cells_table(dossier), brief_table(dossier))
    ]
    for dossier, pinned in zip(dossiers, pins, strict=True):
        name = f"{dossier.scenario.scenario} {dossier.profile}"
        lines += [f"{name}: {dossier.counts}", f"{name}: {judged(dossier)}", f"{name}: {pinned}"]
    return "\n".join([*lines, ""])
