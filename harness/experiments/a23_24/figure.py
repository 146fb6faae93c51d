"""What a calculator yields, and how it is reported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from harness.records import Scalar
from harness.workloads.api.emit import EventWriter

Row = Mapping[str, Scalar]


class Figure(NamedTuple):
    """A metric, its value and the row it belongs to."""

    metric: str
    value: Scalar
    where: Row = MappingProxyType({})


def report(emit: EventWriter, figures: Iterable[Figure]) -> None:
    """Write every figure as a measurement."""
    for figure in figures:
        emit.measured(figure.metric, figure.value, where=figure.where)
