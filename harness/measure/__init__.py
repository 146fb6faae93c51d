"""From the events of a run to its measurements: one place, and none of it needs torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module

from harness.errors import InputError, Problem
from harness.records import Event, Measurement, RunSpec, Usage, from_json
from harness.scenario.schema import Scenario
from harness.workloads.api.declare import Metric
from harness.workloads.api.registry import workload
from harness.workloads.api.run_metrics import RUN_METRICS, USAGE_METRICS


def measure(spec: RunSpec, events: Sequence[Event]) -> tuple[Measurement, ...]:
    """Return a run's measurements: those the workload reported, then those derived from steps.

    Raises:
        InputError: the workload reported one figure twice; names both.
    """
    declared = workload(spec.workload)
    measured = [
        from_json(Measurement, dict(event.payload)) for event in events if event.kind == "measured"
    ]
    if declared.derivation:
        module, _, function = declared.derivation.partition(":")
        measured += getattr(import_module(module), function)(spec, events)
    if twice := [*_duplicates(measured)]:
        raise InputError(twice)
    return tuple(measured)


def device_of(events: Iterable[Event]) -> str:
    """Return the device a run says it computed on; ``unknown`` where it did not get to say."""
    devices = [str(event.payload["device"]) for event in events if event.kind == "started"]
    return devices[0] if devices else "unknown"


def came_to_its_end(events: Iterable[Event]) -> bool:
    """Return whether the workload wrote its last event."""
    return any(event.kind == "finished" for event in events)


def usage_measurements(usage: Usage) -> Iterator[Measurement]:
    """Yield what the operating system says a run used."""
    figures = (usage.wall_s, usage.cpu_s, usage.max_rss_gib)
    for metric, value in zip(USAGE_METRICS, figures, strict=True):
        absent = "" if value is not None else "the runtime could not read it"
        yield Measurement(metric=metric.name, value=value, unit=metric.unit, absent=absent)


def metrics_by_name(scenario: Scenario) -> Mapping[str, Metric]:
    """Return every metric that a run of any profile of the scenario can report."""
    names = sorted({scenario.workload_of(profile) for profile in scenario.profiles})
    declared = [metric for name in names for metric in workload(name).metrics]
    return {metric.name: metric for metric in (*declared, *RUN_METRICS)}


def _duplicates(measured: Iterable[Measurement]) -> Iterator[Problem]:
    seen = set()
    for each in measured:
        key = (each.metric, tuple(sorted(each.where.items(), key=lambda item: item[0])))
        if key in seen:
            yield Problem(message="figure reported twice", key=each.metric, value=str(each.where))
        seen.add(key)
