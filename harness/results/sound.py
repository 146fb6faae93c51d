"""Whether a stored run can mean what it says: what types cannot tell of its records."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, get_type_hints

from harness.records import (
    PROBE_UNITS,
    SCHEMA_VERSION,
    HostLog,
    Measurement,
    RunOutcome,
    RunSpec,
    Scalar,
    Segment,
    Status,
    Usage,
    from_json,
)
from harness.results.environment import RunEnvironment
from harness.units import UNITS

_BOOT = re.compile(r"|0{8}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # none where /proc is absent
_METRIC = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
_RUNTIMES = ("local", "docker")
_LONGEST_S = 1e9  # thirty years
_LARGEST_GIB = 1e9
_AT_START = ("gpu_temperature_c", "gpu_clock_mhz", "host_temperature_c")  # of `HostLog`
_COUNTED = ("took_s", "threads", "cores")  # of `HostProbe`, beside what has a unit
_RANGES = {  # unit -> what a machine can say
    "degC": (-100.0, 300.0),
    "%": (0.0, 100.0),
    "W": (0.0, 1e5),
    "MHz": (0.0, 1e5),
    "TFLOP/s": (0.0, 1e6),
    "GB/s": (0.0, 1e6),
    "count": (0.0, 1e6),
}


def spec_faults(spec: RunSpec) -> Iterator[tuple[str, str]]:
    """Yield (key, what is wrong) of a spec."""
    if absent := [axis for axis in spec.axes if axis not in spec.params]:
        yield "axes", f"{absent[0]!r} is no param"
    if len(set(spec.axes)) < len(spec.axes):
        yield "axes", "an axis occurs twice"
    if spec.replicate < 0 or spec.seed < 0:
        yield "seed", "seed and replicate are 0 and above"
    if spec.position is not None and spec.position < 1:
        yield "position", "turns are counted from 1"


def outcome_faults(outcome: RunOutcome) -> Iterator[tuple[str, str]]:
    """Yield (key, what is wrong) of an outcome."""
    if outcome.schema_version != SCHEMA_VERSION:
        yield "schema_version", f"is {outcome.schema_version}, that of the spec {SCHEMA_VERSION}"
    if outcome.runtime not in _RUNTIMES:
        yield "runtime", f"is none of {', '.join(_RUNTIMES)}"
    if outcome.status is Status.FINISHED and outcome.exit_code:
        yield "exit_code", f"is {outcome.exit_code}, but the run finished"
    if outcome.started_at and not _is_time(outcome.started_at):
        yield "started_at", "is no time"
    limits = {"wall_s": _LONGEST_S, "cpu_s": _LONGEST_S * 1e3, "max_rss_gib": _LARGEST_GIB}
    for each in fields(Usage):
        used = getattr(outcome.usage, each.name)
        if used is not None and not 0 <= used <= limits[each.name]:
            yield f"usage.{each.name}", "is out of range"
    for index, segment in enumerate(outcome.segments):
        yield from ((f"segments[{index}].{key}", why) for key, why in _segment_faults(segment))
    if outcome.shared_with < 0:
        yield "shared_with", "is below 0"
    if outcome.host is not None:
        yield from ((f"host.{key}", why) for key, why in _host_faults(outcome.host))


def _host_faults(host: HostLog) -> Iterator[tuple[str, str]]:
    readings = [(name, getattr(host, name), PROBE_UNITS[name]) for name in _AT_START]
    for index, probe in enumerate(host.probes):
        name = f"probes[{index}]"
        readings += [
            (f"{name}.{key}", getattr(probe, key), PROBE_UNITS[key]) for key in PROBE_UNITS
        ]
        readings += [(f"{name}.{key}", getattr(probe, key), "count") for key in _COUNTED]
        if not _is_time(probe.at):
            yield f"{name}.at", "is no time"
    for key, value, unit in readings:
        low, high = _RANGES[unit]
        if value is not None and not low <= value <= high:
            yield key, f"is no reading in {unit}"


def _segment_faults(segment: Segment) -> Iterator[tuple[str, str]]:
    if not _BOOT.fullmatch(segment.boot_id):
        yield "boot_id", f"{segment.boot_id!r} is no id of a boot"
    for name in ("began", "ended"):
        if (text := getattr(segment, name)) and not _is_time(text):
            yield name, "is no time"
    if not 0 <= segment.wall_s <= _LONGEST_S:
        yield "wall_s", "is out of range"
    for name in ("steps", "shared_with"):
        if getattr(segment, name) < 0:
            yield name, "is below 0"


def measurement_faults(measurements: Sequence[Measurement]) -> Iterator[tuple[str, str]]:
    """Yield (key, what is wrong) of figures: each one of them, and the same one twice."""
    seen: set[tuple[str, frozenset[tuple[str, Scalar]]]] = set()
    for index, each in enumerate(measurements):
        if not _METRIC.fullmatch(each.metric):
            yield f"[{index}].metric", f"{each.metric!r} is no name of a metric"
        if each.unit not in UNITS:
            yield f"[{index}].unit", f"{each.unit!r} is no unit"
        elif each.value is not None and not _fits(each.value, UNITS[each.unit].dimension):
            yield f"[{index}].value", f"is no figure in the unit {each.unit}"
        if (each.value is None) != bool(each.absent):
            yield f"[{index}].absent", "says why a value is missing, and nothing else"
        if each.count < 1 and each.value is not None:
            yield f"[{index}].count", "a figure covers at least one sample"
        name = each.metric, frozenset(each.where.items())
        if name in seen:
            yield f"[{index}]", f"{each.metric} is there twice for the same place"
        seen.add(name)


def environment_faults(environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key, what is wrong) of an environment; a key that is not ours says nothing of us."""
    for name, kind in get_type_hints(RunEnvironment).items():
        if name not in environment:
            continue
        try:
            from_json(kind, environment[name])
        except ValueError as error:
            yield name, str(error)


def _fits(value: Scalar, dimension: str) -> bool:
    if dimension == "text":
        return isinstance(value, str)
    if dimension == "flag":
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return "T" in text
