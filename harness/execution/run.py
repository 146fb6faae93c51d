"""Execute a plan: run what is not finished, measure it, store it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import field, replace
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import Any

from harness.errors import HostError, InputError, Interrupted
from harness.execution import segments
from harness.execution.jobs import Crew, node_blocks
from harness.execution.segments import Attempts
from harness.measure import came_to_its_end, device_of, measure, usage_measurements
from harness.plan.expand import Plan
from harness.probes.channels import Channel, TelemetrySample
from harness.probes.reading import NotSupported
from harness.records import (
    Event,
    FinishedRun,
    HostLog,
    HostProbe,
    Measurement,
    RunOutcome,
    RunSpec,
    Segment,
    Status,
    Usage,
    record,
)
from harness.results.redact import redact, redact_logs
from harness.results.store import HOST_PROBE_FILE, RunStore
from harness.runtime.base import Launch, NodeLostError, Runtime
from harness.runtime.host_probe import HostProber
from harness.session.project import compiled_folder
from harness.telemetry.log import TELEMETRY_FILE, read_samples
from harness.telemetry.reduce import run_measurements, summed
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
        number: its turn in the plan, from 1.
        total: how many runs the plan has.
        finished: the result of a run that ended.
        earlier: what attempts before this one left of a run that starts.
    """

    step: RunStage
    spec: RunSpec
    number: int
    total: int
    finished: FinishedRun | None = None
    earlier: Attempts | None = None


@record
class Surroundings:
    """Inputs of a run that are not in its spec.

    Attributes:
        environment: of a run that has ended, on the node that it names.
        crew: how many runs are done side by side.
        across_changes: whether a run that was ended half-way goes on with steps of other code.
        restart: whether it begins anew.
        prober: probes the machine around runs; None for no probes.
    """

    runtime: Runtime
    store: RunStore
    evidence_dir: Path | None
    models_dir: Path | None = None
    environment: Callable[[RunSpec, str], Mapping[str, Any]]
    crew: Crew = field(default_factory=Crew)
    across_changes: bool = False
    restart: bool = False
    prober: HostProber | None = None


Listener = Callable[[RunProgress], None]


def run_plan(plan: Plan, around: Surroundings, listen: Listener) -> None:
    """Execute every run of the plan that is not finished; the store has all of them afterwards.

    The caller holds the store's lock of the scenario's profile (`RunStore.locked`). A run that
    fails is data: it is stored with its cause, and the next one starts. `listen` is called by one
    thread at a time.

    Raises:
        HostError: this machine cannot execute the plan; nothing has been started.
        InputError: the code of a step has changed that a run which was ended half-way goes on from.
    """
    store = around.store
    with around.runtime as runtime:
        runtime.reap()
        owed = [spec for spec in plan.runs if not store.has(spec) and not store.store_ended(spec)]
        if owed:
            refuse(runtime.problems(owed[0]))
            segments.go_on(store, owed, across=around.across_changes, restart=around.restart)
        total, listening = len(plan.runs), Lock()

        def tell(progress: RunProgress) -> None:
            with listening:
                listen(progress)

        def do(block: Sequence[tuple[int, RunSpec]]) -> None:
            node = ""
            for number, spec in block:
                progress = RunProgress(step=RunStage.REUSED, spec=spec, number=number, total=total)
                if not store.has(spec):
                    started = replace(progress, step=RunStage.STARTED)
                    finished = _run(spec, around, started, tell, node)
                    progress = replace(progress, step=RunStage.ENDED, finished=finished)
                    node = finished.outcome.node
                elif len(block) > 1:
                    node = store.load(spec).outcome.node
                tell(progress)
                if around.crew.stop.is_set():
                    return

        singly = [[each] for each in enumerate(plan.in_order, 1)]
        around.crew.each(do, singly if runtime.is_here else node_blocks(plan.in_order))


def _run(
    spec: RunSpec, around: Surroundings, progress: RunProgress, listen: Listener, node: str
) -> FinishedRun:
    """Execute one run and store it; one whose node is lost goes on from its last step elsewhere."""
    while True:
        try:
            return _attempt(spec, around, progress, listen, node)
        except NodeLostError:
            node = ""


def _attempt(
    spec: RunSpec, around: Surroundings, progress: RunProgress, listen: Listener, node: str
) -> FinishedRun:
    staged = around.store.stage(spec)
    earlier = segments.begin(
        staged, around.store, across=around.across_changes, shared_with=around.crew.beside
    )
    listen(replace(progress, earlier=earlier))
    launch = _launch(spec, staged, around, node)
    try:
        finished = _execute(launch, around, earlier)
    except BaseException as error:  # what is done is kept, and the next attempt goes on from it
        first = around.crew.ended_by or error
        cause = segments.said_of(first)
        if first is not error and not isinstance(first, KeyboardInterrupt | Interrupted):
            cause = f"another run of the plan ended all: {cause}"
        with suppress(HostError):  # a full disk must not take the place of what ended the run
            segments.end(staged, cause)
        raise
    try:
        finished = _probed_after(finished, launch, around)
    finally:  # whatever ends the probe, the run is done and is kept
        around.store.commit(staged, finished, goes_on=segments.goes_on(staged, around.store))
    return finished


def _launch(spec: RunSpec, staged: Path, around: Surroundings, node: str) -> Launch:
    return Launch(
        spec=spec,
        run_dir=staged,
        evidence_dir=around.evidence_dir,
        models_dir=around.models_dir,
        artefacts_dir=around.store.artefacts.root,
        # only a GPU's kernels are compiled
        compiled_dir=compiled_folder() if spec.limits.gpus else None,
        label=spec.label,
        stop=around.crew.stop,
        node=node,
        placed=lambda name, boot_id: segments.placed(staged, name, boot_id),
    )


def _execute(launch: Launch, around: Surroundings, earlier: Attempts) -> FinishedRun:
    spec, staged, is_here = launch.spec, launch.run_dir, around.runtime.is_here
    around.store.artefacts.make_folder()
    if around.prober and is_here:
        segments.keep_probes(staged, around.prober.before(launch, around.runtime))
    with (
        around.crew.joined(spec.run_id) as others,
        TelemetrySampler(staged / TELEMETRY_FILE) if is_here else nullcontext(),
    ):
        outcome = around.runtime.run(launch)
    # what a program says last may hold a key
    said = tuple(redact(line) for line in outcome.log_tail)
    outcome = replace(outcome, cause=redact(outcome.cause), log_tail=said)
    redact_logs(staged)
    events, damage = _events(staged)
    outcome = replace(_judged(outcome, events, damage), device=device_of(events))
    if spec.rehearsal is None:  # else there are not enough passes for any figure
        measured, damage = _measurements(spec, events)
        outcome = _judged(outcome, events, damage)
    else:
        measured = ()
    this = segments.end(staged, outcome.cause, outcome.usage.wall_s)
    samples = [_samples(folder) for folder in (*earlier.folders, staged)]
    parts = [run_measurements(each) for each in samples]
    probes = (*segments.probes_of(staged), *(outcome.host.probes if outcome.host else ()))
    if around.prober and not is_here:  # a node of a cluster has taken them, and told nobody
        for each in probes:
            around.prober.tell(each, outcome.node)
    before = [each for folder in earlier.folders for each in segments.probes_of(folder)]
    outcome = replace(
        outcome,
        usage=_of_all(outcome.usage, earlier.segments),
        # times are of all segments, so one of them that shared the machine is enough
        shared_with=max(
            [others(), outcome.shared_with, *(each.shared_with for each in earlier.segments)]
        ),
        segments=(*earlier.segments, this),
        steps=tuple(segments.steps_of(staged)),
        host=_host((*before, *probes), samples[0], around),
    )
    if outcome.status is Status.FINISHED:  # else the next attempt may go on from this one
        (staged / HOST_PROBE_FILE).unlink(missing_ok=True)
    return FinishedRun(
        spec=spec,
        outcome=outcome,
        measurements=(*measured, *usage_measurements(outcome.usage), *summed(parts)),
        environment=around.environment(spec, outcome.node),
    )


def _host(
    probes: tuple[HostProbe, ...], samples: Sequence[TelemetrySample], around: Surroundings
) -> HostLog:
    """Return the machine of a run: its probes, and what its first sample says."""
    readings = samples[0].readings if samples else {}

    def known(channel: Channel) -> float | None:
        value = readings.get(channel)
        return None if isinstance(value, NotSupported) else value

    return HostLog(
        probes=probes,
        skipped=around.prober.skipped if around.prober else "not asked for",
        gpu_temperature_c=known(Channel.GPU_TEMPERATURE_C),
        gpu_clock_mhz=known(Channel.GPU_CLOCK_MHZ),
        host_temperature_c=known(Channel.HOST_TEMPERATURE_C),
    )


def _probed_after(finished: FinishedRun, launch: Launch, around: Surroundings) -> FinishedRun:
    host = finished.outcome.host
    if around.prober is None or not around.runtime.is_here or host is None:
        return finished
    found = around.prober.after(launch, around.runtime)
    host = replace(host, probes=(*host.probes, *found))
    return replace(finished, outcome=replace(finished.outcome, host=host))


def _of_all(usage: Usage, earlier: Sequence[Segment]) -> Usage:
    """Return what all segments used: a killed one has told no more than how long it ran."""
    if not earlier:
        return usage
    wall_s = usage.wall_s + math.fsum(segment.wall_s for segment in earlier)
    return replace(usage, wall_s=wall_s, cpu_s=None)


def _events(staged: Path) -> tuple[tuple[Event, ...], str]:
    try:
        return read_events(staged / EVENTS_FILE), ""
    except ValueError as error:
        return (), str(error)


def _samples(attempt: Path) -> tuple[TelemetrySample, ...]:
    """Return the telemetry of an attempt; none if the disk damaged it, as that loses no run."""
    try:
        return read_samples(attempt / TELEMETRY_FILE)
    except ValueError:
        return ()


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
