"""The measurements of stored runs, as tables and verdicts may use them.

They are decoded when they are looked at. A figure that depends on the clock counts only where its
run had the machine to itself, and the machine was itself.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, overload

from harness.probes.machine_state import degraded
from harness.records import (
    FinishedRun,
    Measurement,
    Profile,
    RunSpec,
    Scalar,
    VerdictKind,
    to_json,
)
from harness.units import counted
from harness.workloads.api.registry import workload
from harness.workloads.api.run_metrics import RUN_METRICS

_FIELDS = ("metric", "value", "unit", "where", "count", "absent")
_NOWHERE: Mapping[str, Scalar] = {}


class StoredMeasurements(Sequence[Measurement]):
    """Measurements that are decoded while they are looked at, and not kept.

    Args:
        text: a JSON list of lists: metric, value, unit, where, count, absent.
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def packed(cls, measurements: Iterable[Measurement]) -> StoredMeasurements:
        """Return the same measurements in this form."""
        rows = [[getattr(each, name) for name in _FIELDS] for each in measurements]
        return cls(json.dumps(to_json(rows), separators=(",", ":"), ensure_ascii=False))

    def __iter__(self) -> Iterator[Measurement]:
        return self._decoded(json.loads(self.text))

    def of(self, metrics: Container[str]) -> Iterator[Measurement]:
        """Yield the measurements of these metrics."""
        return self._decoded(each for each in json.loads(self.text) if each[0] in metrics)

    def _decoded(self, rows: Iterable[list[Any]]) -> Iterator[Measurement]:
        for metric, value, unit, where, count, absent in rows:
            yield Measurement(
                metric=sys.intern(metric),
                value=value,
                unit=sys.intern(unit),
                where=where or _NOWHERE,
                count=count,
                absent=sys.intern(absent),
            )

    def __len__(self) -> int:
        return len(json.loads(self.text))

    @overload
    def __getitem__(self, at: int) -> Measurement: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Measurement, ...]: ...
    def __getitem__(self, at: int | slice) -> Measurement | tuple[Measurement, ...]:
        return tuple(self)[at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(self.text)


def measured(run: FinishedRun, metrics: Container[str]) -> Iterator[Measurement]:
    """Yield a run's measurements of these metrics, in their order.

    What depends on the clock is absent where other runs shared the machine, or it was not itself.
    """
    if isinstance(run.measurements, StoredMeasurements):
        found = run.measurements.of(metrics)
    else:
        found = (each for each in run.measurements if each.metric in metrics)
    if run.outcome.shared_with:
        others = counted(run.outcome.shared_with, "other run")
        why = f"not compared: the run shared the machine with {others} (--jobs)"
        return _without_clock(run.spec, found, lambda _: why)
    if state := degraded(run.outcome.host):
        why = f"{VerdictKind.HOST_DEGRADED}: {state.signature}"
        return _without_clock(run.spec, found, lambda each: f"{why} ({_shown(each)})")
    return found


def _without_clock(
    spec: RunSpec, found: Iterable[Measurement], why: Callable[[Measurement], str]
) -> Iterator[Measurement]:
    """Yield measurements, of which those that depend on the clock are absent."""
    by_clock = clocked(spec)
    for each in found:
        is_lost = each.metric in by_clock and not each.absent
        yield replace(each, value=None, absent=why(each)) if is_lost else each


def _shown(each: Measurement) -> str:
    """Return a value that is no figure, for people: four digits of it."""
    return f"{each.value:.4g}" if isinstance(each.value, float) else str(each.value)


def clocked(spec: RunSpec) -> frozenset[str]:
    """Return the metrics that the machine, and another run on it, changes.

    Published data was timed elsewhere: recomputing it side by side changes none of its figures.
    """
    own = () if spec.profile is Profile.EVIDENCE else workload(spec.workload).metrics
    return frozenset(each.name for each in (*own, *RUN_METRICS) if each.timing)
