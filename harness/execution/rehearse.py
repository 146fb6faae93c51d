"""Rehearse a plan: two passes of each loop at the real sizes, one kill, and a forecast.

Everything that a run needs is used as the run will use it: the runtime with its options, the
sandboxes, the models, the servers. What a rehearsal leaves lies in a folder of its own below the
store, `FOLDER`, and is deleted when it has ended; nothing of it is a result.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

from harness.errors import HostError
from harness.execution.forecast import (
    MEMORY_MARGIN,
    TIME_RESIDUAL,
    Expected,
    LoopForecast,
    expected_s,
    loops,
    noise,
    of_plan,
    outside_s,
    read_passes,
)
from harness.execution.prepare import Preparation
from harness.execution.run import RunProgress, RunStage, Surroundings, run_plan
from harness.plan.expand import Plan
from harness.probes.channels import Channel, TelemetrySample
from harness.probes.reading import NotSupported
from harness.records import (
    FinishedRun,
    Measurement,
    Profile,
    Rehearsal,
    RunSpec,
    Scalar,
    Status,
    record,
)
from harness.results.store import RunStore, segment_folders
from harness.runtime.memory import free_gib
from harness.runtime.watch import host_problems
from harness.telemetry.log import TELEMETRY_FILE, read_samples
from harness.telemetry.reduce import run_measurements
from harness.units import counted, duration
from harness.workloads.api.passes import PASSES_FILE

FOLDER = ".rehearsal"
_S_PER_HOUR = 3600.0
_RAILS = ("node", "gpu", "cpu")  # from all of the machine to a part of it


class Quantity(StrEnum):
    """What is forecast."""

    TIME = "time"
    MEMORY = "memory"
    ENERGY = "energy"


@record
class ForecastFigure:
    """One figure of a forecast.

    Attributes:
        value: None where nothing here measures it.
        low: lower end of the 80 % interval.
        high: upper end.
        limit: what it may come to; None where nothing limits it.
        note: what the figure or its limit is of; why there is none.
    """

    quantity: Quantity
    unit: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    note: str = ""


@record
class RehearsalCheck:
    """One thing that the rehearsal tried.

    Attributes:
        what: in a clause.
        is_good: None where there was nothing to try.
        said: how it went.
        remedy: the command to type, or what to change, where it did not go well.
    """

    what: str
    is_good: bool | None
    said: str
    remedy: str = ""


@record
class RunForecast:
    """One run that was rehearsed, forecast.

    Attributes:
        run: its cell, in words.
        point_id: its cell.
        wall_s: what it will take, seconds.
        low_s: lower end of the 80 % interval.
        high_s: upper end.
        memory_gib: its peak; None where nothing here says it.
        repeats: what of it was made in part.
    """

    run: str
    point_id: str
    wall_s: float
    low_s: float
    high_s: float
    memory_gib: float | None
    repeats: tuple[LoopForecast, ...]


@record
class RehearsedPlan:
    """What a rehearsal has found.

    Attributes:
        runs: how many runs the plan has.
        rehearsed: how many were rehearsed.
        each: the runs that were rehearsed.
        wall_s: what the rehearsal took.
        cpu_s: of it, on processors, by this process and what it started on this machine.
    """

    scenario: str
    profile: Profile
    where: str
    runs: int
    rehearsed: int
    checks: tuple[RehearsalCheck, ...]
    figures: tuple[ForecastFigure, ...]
    each: tuple[RunForecast, ...]
    wall_s: float
    cpu_s: float

    @property
    def goes(self) -> bool:
        """Whether nothing speaks against the run."""
        return all(check.is_good is not False for check in self.checks)


@record
class _Observed:
    """One run that was rehearsed.

    Attributes:
        expected: of the whole run, seconds.
        start_s: what it took outside all loops.
        memory_gib: the most that it held.
        power_w: mean, by the first rail that is measured; None without one.
        energy_said: that rail, or why there is none.
    """

    finished: FinishedRun
    expected: Expected
    start_s: float
    memory_gib: float | None
    power_w: float | None
    energy_said: str
    loops: tuple[LoopForecast, ...]


def rehearse(ready: Preparation, budget_s: float) -> RehearsedPlan:
    """Rehearse a plan.

    Args:
        ready: the plan.
        budget_s: no further cell is begun after so long.

    Raises:
        HostError: another rehearsal of the profile is at work; or the disk cannot be written to.
    """
    began, began_cpu_s = time.monotonic(), _cpu_s()
    if obstacles := _obstacles(ready):
        ready = replace(ready, builds=False)
    plan = ready.plan
    checks = [_obstacle(each, plan.scenario) for each in obstacles]
    observed: dict[str, _Observed] = {}
    if not checks:
        checks.append(_good("machine", "profile, data, models, runtime and sandbox are here"))
        load, cores = os.getloadavg()[0], ready.machine.cores
        if cores is not None and load > cores:
            said = f"{load:.0f} programs want the machine's {cores} cores: times are of that load"
            checks.append(RehearsalCheck(what="load", is_good=None, said=said))
        observed = _rehearsed(ready, budget_s, checks)
    figures = [*_figures(ready, observed, checks)] if observed else []
    return RehearsedPlan(
        scenario=plan.scenario,
        profile=plan.profile,
        where=ready.where,
        runs=len(plan.runs),
        rehearsed=len(observed),
        checks=tuple(checks),
        figures=tuple(figures),
        each=tuple(_of_run(one, _residual(observed)) for one in observed.values()),
        wall_s=time.monotonic() - began,
        cpu_s=_cpu_s() - began_cpu_s,
    )


def _obstacles(ready: Preparation) -> list[HostError]:
    """Return what keeps this machine from the plan; an image is built where nothing else does."""
    asked = replace(ready, builds=False)
    found = [*asked.problems(), *host_problems(asked.plan.runs[0].limits, asked.machine)]
    if found:
        return found
    try:
        return [*ready.choice.runtime.problems(ready.plan.runs[0])]
    except HostError as error:  # the image cannot be had
        return [error]


def _rehearsed(
    ready: Preparation, budget_s: float, checks: list[RehearsalCheck]
) -> dict[str, _Observed]:
    """Rehearse one run of each cell, and kill the first of them once; add how it went."""
    plan = ready.plan
    root = ready.store.root / FOLDER / f"{plan.scenario}.{plan.profile}"
    store = RunStore(root)
    observed: dict[str, _Observed] = {}
    first = [spec for spec in plan.in_order if spec.replicate == plan.runs[0].replicate]
    with store.locked(plan.scenario, plan.profile):
        try:
            _forget(store)  # what one that was killed has left
            deadline = time.monotonic() + budget_s
            for number, spec in enumerate(first):
                if number and time.monotonic() > deadline:
                    said = f"{counted(len(first) - number, 'cell')} not rehearsed: no time left"
                    checks.append(RehearsalCheck(what="cells", is_good=None, said=said))
                    break
                ready.options.console.say(f"rehearsing {number + 1} of {len(first)}: {spec.label}")
                if number == 0:
                    died = _attempt(ready, store, spec, dies=True)
                    again = died.outcome.status is not Status.FINISHED
                    found = _attempt(ready, store, spec) if again else died
                    checks.append(_resumed(died, found))
                else:
                    found = _attempt(ready, store, spec)
                if found.outcome.status is not Status.FINISHED:
                    checks.append(_failed(found))
                    return {}
                observed[spec.point_id] = _observed(store, found)
        finally:
            shutil.rmtree(root, ignore_errors=True)
    return observed


def _attempt(
    ready: Preparation, store: RunStore, spec: RunSpec, *, dies: bool = False
) -> FinishedRun:
    """Make one attempt at rehearsing a run."""
    spec = replace(spec, rehearsal=Rehearsal(dies=dies))
    plan = Plan(
        scenario=spec.scenario,
        profile=spec.profile,
        runs=(spec,),
        skipped=(),
        estimate=None,
        changed=True,
    )
    around = Surroundings(
        runtime=ready.choice.runtime,
        store=store,
        evidence_dir=ready.evidence_dir if ready.evidence_files else None,
        models_dir=ready.models_dir if ready.models else None,
        environment=lambda *_: {},
    )
    ended: list[FinishedRun] = []

    def listen(progress: RunProgress) -> None:
        if progress.step is RunStage.ENDED and progress.finished is not None:
            ended.append(progress.finished)

    run_plan(plan, around, listen)
    return ended[0]


def _observed(store: RunStore, found: FinishedRun) -> _Observed:
    folder = store.folder(found.spec)
    folders = (*segment_folders(folder), folder)
    attempts = [read_passes(each / PASSES_FILE) for each in folders]
    wall_s = found.outcome.segments[-1].wall_s
    peaks, energies = [found.outcome.usage.max_rss_gib], dict[Scalar, Measurement]()
    for each in folders:  # energies are those of the last attempt
        samples = read_samples(each / TELEMETRY_FILE)
        if found.spec.limits.gpus:  # no process has a GPU's memory among its own
            peaks.append(_rise_gib(samples))
        for figure in run_measurements(samples):
            if figure.metric == "memory.processes_peak" and isinstance(figure.value, float):
                peaks.append(figure.value)
            if figure.metric == "energy":
                energies[figure.where["rail"]] = figure
    known = [rail for rail in _RAILS if isinstance(energies[rail].value, float)]
    power_w = None
    if known:
        used_wh = energies[known[0]].value
        assert isinstance(used_wh, float), "it is known"
        power_w = used_wh * _S_PER_HOUR / wall_s
    return _Observed(
        finished=found,
        expected=expected_s(attempts, wall_s),
        start_s=outside_s(attempts[-1], wall_s),
        memory_gib=max((each for each in peaks if each is not None), default=None),
        power_w=power_w,
        energy_said=f"rail {known[0]}" if known else energies[_RAILS[-1]].absent,
        loops=tuple(loops(attempts)),
    )


def _rise_gib(samples: Sequence[TelemetrySample]) -> float | None:
    """Return by how much the machine's used memory rose; None where it does not say."""
    used = [
        value
        for sample in samples
        if not isinstance(value := sample.readings[Channel.MEMORY_USED_GIB], NotSupported)
    ]
    return max(used) - used[0] if used else None


def _residual(observed: dict[str, _Observed]) -> float:
    """Return the relative residual of the time of one run."""
    return math.hypot(TIME_RESIDUAL, noise([one.start_s for one in observed.values()]))


def _of_run(one: _Observed, residual: float) -> RunForecast:
    low_s, high_s = one.expected.interval(residual)
    memory_gib = None if one.memory_gib is None else one.memory_gib * (1 + MEMORY_MARGIN)
    return RunForecast(
        run=one.finished.spec.label,
        point_id=one.finished.spec.point_id,
        wall_s=one.expected.mean,
        low_s=low_s,
        high_s=high_s,
        memory_gib=memory_gib,
        repeats=one.loops,
    )


def _figures(
    ready: Preparation, observed: dict[str, _Observed], checks: list[RehearsalCheck]
) -> Iterator[ForecastFigure]:
    """Yield the forecast of the plan, and add what of it is above a limit."""
    plan = ready.plan
    counts = Counter(spec.point_id for spec in plan.runs)
    total = of_plan({cell: one.expected for cell, one in observed.items()}, counts)
    residual = _residual(observed)
    # noise averages out over runs; what no rehearsal sees does not
    low, high = total.interval(max(TIME_RESIDUAL, residual / math.sqrt(len(observed))))
    limits = plan.runs[0].limits
    longest = max(one.expected.interval(residual)[1] for one in observed.values())
    yield ForecastFigure(
        quantity=Quantity.TIME,
        unit="h",
        value=total.mean / _S_PER_HOUR,
        low=low / _S_PER_HOUR,
        high=high / _S_PER_HOUR,
        limit=limits.timeout_s * len(plan.runs) / _S_PER_HOUR,
        note=f"{counted(len(plan.runs), 'run')}, one after the other; "
        f"a run may take {duration(limits.timeout_s)}",
    )
    said = f"the longest run takes up to {duration(longest)} of {duration(limits.timeout_s)}"
    hours = f"{longest / _S_PER_HOUR * 2:.0f}h"
    checks.append(_within("time", longest, limits.timeout_s, said, f"--timeout {hours}"))
    yield _memory(ready, observed, checks)
    powers = [one.power_w for one in observed.values() if one.power_w is not None]
    energy_wh = [
        (one.power_w or 0.0) * one.expected.mean * counts[cell] / _S_PER_HOUR
        for cell, one in observed.items()
    ]
    if len(powers) < len(observed):
        note = next(one.energy_said for one in observed.values() if one.power_w is None)
        yield ForecastFigure(quantity=Quantity.ENERGY, unit="Wh", note=note)
        return
    rehearsed_s = sum(one.expected.mean * counts[cell] for cell, one in observed.items())
    value = sum(energy_wh) * total.mean / rehearsed_s
    yield ForecastFigure(
        quantity=Quantity.ENERGY,
        unit="Wh",
        value=value,
        low=value * low / total.mean,
        high=value * high / total.mean,
        note=next(one.energy_said for one in observed.values()),
    )


def _memory(
    ready: Preparation, observed: dict[str, _Observed], checks: list[RehearsalCheck]
) -> ForecastFigure:
    """Return the forecast of a run's peak; it is held against the limit and what is free."""
    limit, free = ready.plan.runs[0].limits.memory_gib, free_gib(ready.machine)
    peaks = [one.memory_gib for one in observed.values() if one.memory_gib is not None]
    if not peaks:
        note = "neither the kernel nor the telemetry says it"
        return ForecastFigure(quantity=Quantity.MEMORY, unit="GiB", limit=limit, note=note)
    low = max(peaks)
    value, high = low * (1 + MEMORY_MARGIN), low * (1 + 2 * MEMORY_MARGIN)
    for what, has, remedy in (
        ("the run's limit", limit, "raise limits.memory_gib in the scenario"),
        ("what is free", free, "ps -eo pid,rss,args --sort=-rss | head"),
    ):
        if has is not None:
            said = f"up to {high:.3g} GiB of {has:.4g}, {what}"
            checks.append(_within("memory", high, has, said, remedy))
    return ForecastFigure(
        quantity=Quantity.MEMORY,
        unit="GiB",
        value=value,
        low=low,
        high=high,
        limit=limit,
        note="peak of the largest run",
    )


def _obstacle(error: HostError, scenario: str) -> RehearsalCheck:
    told = error.about(scenario)
    return RehearsalCheck(what="machine", is_good=False, said=told.message, remedy=told.remedy)


def _good(what: str, said: str) -> RehearsalCheck:
    return RehearsalCheck(what=what, is_good=True, said=said)


def _within(what: str, value: float, limit: float, said: str, remedy: str) -> RehearsalCheck:
    is_good = value <= limit
    return RehearsalCheck(what=what, is_good=is_good, said=said, remedy="" if is_good else remedy)


def _failed(found: FinishedRun) -> RehearsalCheck:
    outcome = found.outcome
    said = f"{found.spec.label}: {outcome.status}: {outcome.cause}"
    return RehearsalCheck(what="run", is_good=False, said=said, remedy="harness doctor")


def _resumed(died: FinishedRun, found: FinishedRun) -> RehearsalCheck:
    """Say whether a run that was killed went on."""
    what = "kill"
    if found is died:
        said = "the run ends before there is anything to lose: not killed"
        return RehearsalCheck(what=what, is_good=None, said=said)
    at_s = died.outcome.usage.wall_s
    if found.outcome.status is not Status.FINISHED:
        said = f"killed after {at_s:.1f} s; the next attempt failed"
        return RehearsalCheck(what=what, is_good=False, said=said, remedy="harness doctor")
    taken = sum(not step.made_now for step in found.outcome.steps)
    on = f"the next attempt took {counted(taken, 'step')}" if taken else "it began anew and ended"
    return _good(what, f"killed after {at_s:.1f} s by SIGKILL; {on}")


def _forget(store: RunStore) -> None:
    for each in store.root.iterdir():
        if each.name != ".staging":  # its lock is held
            shutil.rmtree(each, ignore_errors=True)
    for each in (store.root / ".staging").iterdir():
        if each.is_dir():
            shutil.rmtree(each, ignore_errors=True)


def _cpu_s() -> float:
    used = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
    return sum(each.ru_utime + each.ru_stime for each in used)
