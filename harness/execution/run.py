"""Execute a plan: run what is not finished, measure it, store it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.errors import HostError, InputError
from harness.measure import came_to_its_end, device_of, measure, usage_measurements
from harness.plan.expand import Plan
from harness.records import Event, FinishedRun, Measurement, RunOutcome, RunSpec, Status, record
from harness.results.redact import redact
from harness.results.store import RunStore
from harness.runtime.base import Launch, Runtime
from harness.telemetry.log import TELEMETRY_FILE, read_samples
from harness.telemetry.reduce import run_measurements
from harness.telemetry.sampler import TelemetrySampler
from harness.workloads.api.emit import EVENTS_FILE, read_events


class RunStage(StrEnum):
    """What is happening to a run; for whoever shows progress."""

    REUSED = "finished before"
    STARTED = "started"
    ENDED = "ended"


@record
class RunProgress:
    """One step of one run.

    Attributes:
        number: its place in the plan, from 1.
        total: how many runs the plan has.
        finished: the result of a run that ended.
    """

    step: RunStage
    spec: RunSpec
    number: int
    total: int
    finished: FinishedRun | None = None


@record
class Surroundings:
    """Inputs of a run that are not in its spec."""

    runtime: Runtime
    store: RunStore
    evidence_dir: Path | None
    models_dir: Path | None = None
    environment: Callable[[RunSpec], Mapping[str, Any]]


Listener = Callable[[RunProgress], None]


def run_plan(plan: Plan, around: Surroundings, listen: Listener) -> None:
    """Execute every run of the plan that is not finished; the store has all of them afterwards.

    The caller holds the store's lock of the scenario's profile (`RunStore.locked`). A run that
    fails is data: it is stored with its cause, and the next one starts.

    Raises:
        HostError: this machine cannot execute the plan; nothing has been started.
    """
    with around.runtime as runtime:
        runtime.reap()
        owed = [spec for spec in plan.runs if not around.store.has(spec)]
        if owed:
            refuse(runtime.problems(owed[0]))
        total = len(plan.runs)
        for number, spec in enumerate(plan.runs, 1):
            progress = RunProgress(step=RunStage.REUSED, spec=spec, number=number, total=total)
            if not around.store.has(spec):
                listen(replace(progress, step=RunStage.STARTED))
                progress = replace(progress, step=RunStage.ENDED, finished=_run(spec, around))
            listen(progress)


def _run(spec: RunSpec, around: Surroundings) -> FinishedRun:
    staged = around.store.stage(spec)
    try:
        finished = _execute(spec, staged, around)
        around.store.commit(staged, finished)
    except BaseException:  # stopped half-way: only checkpoints are kept, it will be run again
        around.store.discard(staged)
        raise
    return finished


def _execute(spec: RunSpec, staged: Path, around: Surroundings) -> FinishedRun:
    launch = Launch(
        spec=spec,
        run_dir=staged,
        evidence_dir=around.evidence_dir,
        models_dir=around.models_dir,
        label=spec.label,
    )
    with TelemetrySampler(staged / TELEMETRY_FILE):
        outcome = around.runtime.run(launch)
        # what a program says last may hold a key
        said = tuple(redact(line) for line in outcome.log_tail)
        outcome = replace(outcome, cause=redact(outcome.cause), log_tail=said)
    events, damage = _events(staged)
    outcome = replace(_judged(outcome, events, damage), device=device_of(events))
    measured, damage = _measurements(spec, events)
    return FinishedRun(
        spec=spec,
        outcome=_judged(outcome, events, damage),
        measurements=(
            *measured,
            *usage_measurements(outcome.usage),
            *run_measurements(read_samples(staged / TELEMETRY_FILE)),
        ),
        environment=around.environment(spec),
    )


def _events(staged: Path) -> tuple[tuple[Event, ...], str]:
    try:
        return read_events(staged / EVENTS_FILE), ""
    except ValueError as error:
        return (), str(error)


def _measurements(spec: RunSpec, events: tuple[Event, ...]) -> tuple[tuple[Measurement, ...], str]:
    try:
        return measure(spec, events), ""
    except InputError as error:
        return (), str(error)


def _judged(outcome: RunOutcome, events: tuple[Event, ...], damage: str) -> RunOutcome:
    """Return the outcome; a run that exited well but left no whole story has failed."""
    if outcome.status is not Status.FINISHED:
        return outcome
    if not damage and not came_to_its_end(events):
        damage = "the workload exited before its last event"
    return replace(outcome, status=Status.FAILED, cause=damage) if damage else outcome


def refuse(problems: Iterable[HostError]) -> None:
    """Raise every problem at once, if there is one.

    Raises:
        HostError: all of them, each with its next command.
    """
    found = [str(problem) for problem in problems]
    if found:
        raise HostError("\n".join(found))
