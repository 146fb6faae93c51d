"""Pins: what a scenario's runs came to on one class of machine, to the last bit.

A claim of an article leaves room; a pin leaves none. Runs of one seed on one platform are equal
from start to end, so whatever changes a batch, a gradient or a draw moves a pin, long before it
moves a claim out of its tolerance. A pin says nothing about truth: it says that something changed,
and a change needs a reason.

``scenarios/<id>/pins.json`` holds, for each platform and run, every figure that does not depend on
the clock and every value of the step events. A platform is what decides the order of sums: the
processor's maker, widest vectors and native bf16, torch, the engine that samples, and the number of
threads. On another one the last digits differ, so nothing is compared and the check says so.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import atomic
from harness.check.wording import several
from harness.errors import ExitCode, InputError, Problem
from harness.reading import read_json, read_regular_file
from harness.records import (
    Event,
    FinishedRun,
    Scalar,
    Status,
    canonical_json,
    from_json,
    record,
    to_json,
)
from harness.results.store import RunStore
from harness.units import counted
from harness.workloads.api.declare import Metric
from harness.workloads.api.emit import EVENTS_FILE, read_events
from harness.workloads.api.run_metrics import RUN_METRICS

PINS_FILE = "pins.json"
_ENGINE = "serve.engine"  # the figure that says what sampled, with its version
_CLOCK = ("_s", "_ms")  # ends of the names of step values that depend on it
_NOT_PINNED = frozenset(metric.name for metric in RUN_METRICS)


@record
class PinnedRun:
    """One run's values.

    Attributes:
        cell: its swept values, for people.
        point_id: of its spec.
        values: name of a metric, or ``step NAME`` of a step event's value -> values in the order of
            their row keys, or of the steps.
    """

    cell: Mapping[str, Any]
    point_id: str
    seed: int
    values: Mapping[str, tuple[Scalar, ...]]


@record
class Change:
    """When pins were recorded, and why they are not as before."""

    commit: str
    why: str


@record
class PlatformPins:
    """The pins of one platform.

    Attributes:
        platform: see `platform_of`.
        ulps: how many units in the last place a number may be off; 0 but where a platform needs it.
        unpinned: metrics left out, as two runs of one seed did not agree in them.
        changes: the first recording first.
    """

    platform: str
    ulps: int
    unpinned: tuple[str, ...]
    changes: tuple[Change, ...]
    runs: tuple[PinnedRun, ...]


@record
class Difference:
    """A value that is not as pinned."""

    run: str
    name: str
    place: int
    pinned: Scalar
    found: Scalar

    def __str__(self) -> str:
        return f"{self.name}[{self.place}] of {self.run}: pinned {self.pinned}, is {self.found}"


@record
class PinsReport:
    """What the pins of a scenario say of some runs.

    Attributes:
        compared: how many values.
        runs: how many runs have pins.
        differences: in the order of the runs.
        missing: platforms of the other runs, which have none.
    """

    compared: int
    runs: int
    differences: tuple[Difference, ...]
    missing: tuple[str, ...]

    @property
    def exit_code(self) -> ExitCode:
        """1 where a value is not as pinned; a platform without pins says nothing."""
        return ExitCode.OUTSIDE if self.differences else ExitCode.OK

    def __str__(self) -> str:
        said = []
        values = f"{counted(self.compared, 'value')} of {counted(self.runs, 'run')}"
        if self.differences:
            shown = several([str(each) for each in self.differences])
            said.append(f"{len(self.differences)} of {values} are not as pinned: {shown}")
        elif self.runs:
            said.append(f"{values} as pinned")
        if self.missing:
            said.append(f"none for {several(list(self.missing))}")
        return f"pins: {'; '.join(said) or 'none recorded'}"


def platform_of(run: FinishedRun) -> str:
    """Return the platform of a run; empty where its record does not say."""
    host: Mapping[str, Any] = run.environment.get("host", {})
    if not host.get("cpu_isa"):
        return ""
    interpreter: Mapping[str, Any] = run.environment.get("interpreter", {})
    packages: Mapping[str, str] = interpreter.get("packages", {})
    variables: Mapping[str, str] = run.environment.get("variables", {})
    threads = run.spec.params.get("num_threads") or variables.get("OMP_NUM_THREADS")
    parts = [f"{host['architecture']} {host['cpu_isa']}"]
    if "torch" in packages:
        parts.append(f"torch {packages['torch']}")
    parts += [str(each.value) for each in run.measurements if each.metric == _ENGINE]
    parts.append(f"threads {threads or host.get('cores')}")
    return ", ".join(parts)


def values_of(
    run: FinishedRun, events: Iterable[Event], metrics: Mapping[str, Metric]
) -> dict[str, tuple[Scalar, ...]]:
    """Return what is pinned of a run, by name.

    Args:
        run: a finished one.
        events: all that it wrote.
        metrics: what the workloads declare, by name.
    """
    rows: dict[str, list[tuple[str, Scalar]]] = defaultdict(list)
    for each in run.measurements:
        declared = metrics.get(each.metric)
        if declared is not None and not declared.timing and each.metric not in _NOT_PINNED:
            rows[each.metric].append((canonical_json(each.where), each.value))
    values = {name: tuple(value for _, value in sorted(some)) for name, some in rows.items()}
    series: dict[str, list[Scalar]] = defaultdict(list)
    for event in events:
        if event.kind == "step":
            for name, value in event.payload["values"].items():
                if not name.endswith(_CLOCK):
                    series[f"step {name}"].append(value)
    return dict(sorted({**values, **{name: tuple(some) for name, some in series.items()}}.items()))


def check_pins(
    pins: Sequence[PlatformPins],
    runs: Sequence[FinishedRun],
    store: RunStore,
    metrics: Mapping[str, Metric],
) -> PinsReport:
    """Compare stored runs with the pins of their platforms."""
    by_platform = {each.platform: each for each in pins}
    runs = runs if pins else ()
    compared, num_runs = 0, 0
    differences: list[Difference] = []
    missing: dict[str, None] = {}
    for run in runs:
        if run.outcome.status is not Status.FINISHED:
            continue
        platform = platform_of(run)
        here = by_platform.get(platform)
        pinned = None if here is None else _pinned(here, run)
        if here is None or pinned is None:
            missing[platform or "a machine whose record does not say which"] = None
            continue
        found = values_of(run, read_events(store.folder(run.spec) / EVENTS_FILE), metrics)
        num_runs += 1
        compared += sum(len(values) for values in pinned.values.values())
        differences += _differences(run.spec.label, pinned.values, found, here.ulps)
    return PinsReport(
        compared=compared,
        runs=num_runs,
        differences=tuple(differences),
        missing=tuple(missing),
    )


def _pinned(pins: PlatformPins, run: FinishedRun) -> PinnedRun | None:
    identity = run.spec.point_id, run.spec.seed
    return next((each for each in pins.runs if (each.point_id, each.seed) == identity), None)


def _differences(
    label: str,
    pinned: Mapping[str, tuple[Scalar, ...]],
    found: Mapping[str, tuple[Scalar, ...]],
    ulps: int,
) -> Iterator[Difference]:
    """Yield each value that differs; of a name with more or fewer values, the counts."""
    for name, values in pinned.items():
        now = found.get(name, ())
        if len(now) != len(values):
            yield Difference(
                run=label, name=f"number of {name}", place=0, pinned=len(values), found=len(now)
            )
            continue
        for place, (one, other) in enumerate(zip(values, now, strict=True)):
            if not same(one, other, ulps):
                yield Difference(run=label, name=name, place=place, pinned=one, found=other)


def same(one: Scalar, other: Scalar, ulps: int = 0) -> bool:
    """Return whether two values are equal, or numbers at most so many ulps apart."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= ulps * math.ulp(max(abs(one), abs(other)))
    return type(one) is type(other) and one == other


# --- recording ------------------------------------------------------------------------------------


def recorded(
    before: PlatformPins | None,
    runs: Sequence[FinishedRun],
    values: Sequence[Mapping[str, tuple[Scalar, ...]]],
    again: Sequence[Mapping[str, tuple[Scalar, ...]]] | None,
    change: Change,
) -> PlatformPins:
    """Return the pins of one platform.

    Args:
        before: its pins so far.
        runs: finished, all of this platform.
        values: of each run.
        again: of a second execution of each; names in which the two differ are not pinned. None
            keeps what was left out before.
        change: the commit and the reason.
    """
    ulps = before.ulps if before else 0
    unpinned = {*before.unpinned} if before and again is None else set[str]()
    for one, other in zip(values, again or values, strict=True):
        unpinned |= {
            name
            for name, some in one.items()
            if len(some) != len(other.get(name, ()))
            or not all(same(a, b, ulps) for a, b in zip(some, other[name], strict=True))
        }
    return PlatformPins(
        platform=platform_of(runs[0]),
        ulps=ulps,
        unpinned=tuple(sorted(unpinned)),
        changes=(*(before.changes if before else ()), change),
        runs=tuple(
            PinnedRun(
                cell=run.spec.cell,
                point_id=run.spec.point_id,
                seed=run.spec.seed,
                values={name: some for name, some in found.items() if name not in unpinned},
            )
            for run, found in zip(runs, values, strict=True)
        ),
    )


# --- the file -------------------------------------------------------------------------------------


def read_pins(folder: Path) -> tuple[PlatformPins, ...]:
    """Return the pins of a scenario's folder; none where it has no such file.

    Raises:
        InputError: the file is damaged; names it.
    """
    path = folder / PINS_FILE
    if not path.is_file():
        return ()
    try:
        document = read_json(read_regular_file(path))
        return from_json(tuple[PlatformPins, ...], document)
    except (OSError, ValueError) as error:
        raise InputError([Problem(message=f"is damaged: {error}", path=path)]) from None


def write_pins(folder: Path, pins: Sequence[PlatformPins]) -> Path:
    """Write the pins of a scenario, a line for each name, so that a change is a line of a diff."""
    platforms = []
    for each in sorted(pins, key=lambda one: one.platform):
        document = to_json(each)
        runs = []
        for run in document.pop("runs"):
            values = ",\n".join(
                f"    {json.dumps(name)}: {json.dumps(some)}"
                for name, some in run.pop("values").items()
            )
            head = json.dumps(run)[:-1]
            runs.append(f'  {head}, "values": {{\n{values}}}}}')
        head = json.dumps(document, indent=1)[:-2].replace("\n", "\n ")
        platforms.append(f' {head},\n  "runs": [\n' + ",\n".join(runs) + "]}")
    path = folder / PINS_FILE
    atomic.write_text(path, "[\n" + ",\n".join(platforms) + "\n]\n")
    return path
