"""The measurements of stored runs, decoded when they are looked at."""

from __future__ import annotations

import json
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

from harness.records import FinishedRun, Measurement, Scalar

_NOWHERE: Mapping[str, Scalar] = {}


class StoredMeasurements(Sequence[Measurement]):
    """Measurements that are decoded while they are looked at, and not kept.

    Args:
        text: a JSON list of lists: metric, value, unit, where, count, absent.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __iter__(self) -> Iterator[Measurement]:
        return self._decoded(json.loads(self._text))

    def of(self, metrics: Container[str]) -> Iterator[Measurement]:
        """Yield the measurements of these metrics."""
        return self._decoded(each for each in json.loads(self._text) if each[0] in metrics)

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
        return len(json.loads(self._text))

    @overload
    def __getitem__(self, at: int) -> Measurement: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Measurement, ...]: ...
    def __getitem__(self, at: int | slice) -> Measurement | tuple[Measurement, ...]:
        return tuple(self)[at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(self._text)


def measured(run: FinishedRun, metrics: Container[str]) -> Iterator[Measurement]:
    """Yield a run's measurements of these metrics, in their order."""
    if isinstance(run.measurements, StoredMeasurements):
        return run.measurements.of(metrics)
    return (each for each in run.measurements if each.metric in metrics)
