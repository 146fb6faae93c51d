"""``harness plan``: what a run would do, cost and reuse. It runs and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from harness.errors import ExitCode, HostError
from harness.execution.prepare import Preparation, prepare
from harness.execution.services import ServiceAnswer
from harness.plan.expand import Skipped
from harness.plan.spread import memory_of_each_node
from harness.records import Profile, record
from harness.results.selection import Pending, Reuse, pending
from harness.runtime.evidence import statuses
from harness.scenario.folders import find_all
from harness.session.options import PlanOptions
from harness.session.project import open_project
from harness.session.several import Answer, answer_each
from harness.units import duration
from harness.workloads.api.declare import StepMemory

_S_PER_HOUR = 3600.0


@record
class PlannedRun:
    """A run of a plan, and what the store says of it (`harness.results.selection.Pending`)."""

    run_id: str
    point_id: str
    cell: Mapping[str, Any]
    params: Mapping[str, Any]
    seed: int
    replicate: int
    position: int | None
    state: Reuse
    reason: str


@record
class PlanAnswer:
    """The answer of ``harness plan --json``.

    Attributes:
        where: the runtime, in words.
        estimate: as the scenario gives it; None where it gives none.
        memory: what each step takes; none where the workload does not say.
        services: the model servers that its runs ask, and what each says now.
        obstacles: why this machine cannot execute it.
    """

    scenario: str
    profile: Profile
    where: str
    runs: tuple[PlannedRun, ...]
    skipped: tuple[Skipped, ...]
    estimate: Mapping[str, Any] | None
    memory: tuple[StepMemory, ...]
    services: tuple[ServiceAnswer, ...]
    obstacles: tuple[str, ...]


def main(options: PlanOptions) -> ExitCode:
    """Print the plans; the exit code says whether this machine can execute them."""
    project = open_project(options)

    def plan(folder: Path) -> Answer:
        ready = prepare(folder, project, options, builds=False)
        states = list(pending(ready.store, ready.plan.runs))
        found = [*ready.problems(), *ready.choice.runtime.problems(ready.plan.runs[0])]
        spread = ""
        if ready.plan.runs[0].limits.nodes > 1:
            try:
                spread = memory_of_each_node(ready.plan.runs[0])
            except HostError as error:
                found.append(error)
        obstacles = [str(problem.about(ready.plan.scenario)) for problem in found]
        code = ExitCode.INFRASTRUCTURE if obstacles else ExitCode.OK
        if options.json:
            return Answer(code=code, document=_document(ready, states, obstacles))
        lines = _lines(ready, states, obstacles, spread)
        return Answer(code=code, text="\n".join([*lines, ""]))

    return answer_each(find_all(project.scenarios, options.scenarios), plan, options)


def _lines(
    ready: Preparation, states: Sequence[Pending], obstacles: Sequence[str], spread: str
) -> Iterator[str]:
    plan = ready.plan
    yield f"plan: {plan.scenario}, profile {plan.profile}, {ready.where}"
    rows = [
        (each.spec.position, each.spec.label, each.spec.run_id, each.reuse.value, each.reason)
        for each in states
    ]
    headers = ("turn", "cell", "run", "state", "why not reused")
    yield tabulate(rows, headers=headers, tablefmt="simple")
    for skipped in plan.skipped:
        cell = " ".join(f"{axis}={value}" for axis, value in skipped.cell.items())
        yield f"skipped  {cell}: {skipped.reason}"
    finished, to_run = (
        sum(each.reuse is reuse for each in states) for reuse in (Reuse.FINISHED, Reuse.PENDING)
    )
    yield (
        f"{plan.num_declared} declared = {len(plan.runs)} planned + {len(plan.skipped)} skipped; "
        f"{len(plan.runs)} planned = {finished} finished + {to_run} to run"
    )
    if plan.estimate is None:
        yield "estimated time: not given by the scenario"
    else:
        time = duration(plan.estimate.hours * _S_PER_HOUR)
        yield f"estimated time: {time} ({plan.estimate.source})"
        for name, value, unit in (
            ("peak memory", plan.estimate.peak_memory_gib, "GiB"),
            ("energy", plan.estimate.energy_wh, "Wh"),
            ("download", plan.estimate.download_gib, "GiB"),
        ):
            if value is not None:
                yield f"estimated {name}: {value:g} {unit}"
    if plan.runs[0].limits.nodes > 1:
        yield "the server of each run: vLLM's Ray executor, which nobody has run from here"
    if spread:
        yield f"its memory: {spread}"
    for file in statuses(ready.evidence_files, ready.evidence_dir):
        yield f"published file {file.file}: {file.state.value}"
    yield from (f"memory of step {step}" for step in ready.steps_memory)
    yield from (
        f"service {each.service.role}: {each.service.model} at {each.service.address} answers in "
        f"{each.took_s:.1f} s"
        for each in ready.services
        if not each.problem
    )
    for obstacle in obstacles:
        yield f"this machine cannot run it: {obstacle}"


def _document(
    ready: Preparation, states: Sequence[Pending], obstacles: Sequence[str]
) -> PlanAnswer:
    plan = ready.plan
    return PlanAnswer(
        scenario=plan.scenario,
        profile=plan.profile,
        where=ready.where,
        runs=tuple(
            PlannedRun(
                run_id=each.spec.run_id,
                point_id=each.spec.point_id,
                cell=each.spec.cell,
                params=each.spec.params,
                seed=each.spec.seed,
                replicate=each.spec.replicate,
                position=each.spec.position,
                state=each.reuse,
                reason=each.reason,
            )
            for each in states
        ),
        skipped=plan.skipped,
        estimate=plan.estimate.model_dump() if plan.estimate else None,
        memory=ready.steps_memory,
        services=ready.services,
        obstacles=tuple(obstacles),
    )
