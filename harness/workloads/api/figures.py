"""Figures computed from data: each declares name, unit, documentation and function in one place.

A `Figures` collects them. The metrics that a workload declares and the events that it writes both
follow from it, so neither can lack a figure that the other has::

    figure: Figures[Sweep] = Figures()

    figure("sweep.max_to_min", "x", "highest throughput / lowest")(
        lambda sweep: sweep.best.tokens_per_s / sweep.worst.tokens_per_s
    )

    cell = figure.each(lambda sweep: ((cell.where, cell) for cell in sweep.cells))
    cell("cell.wall_time", "s", "as recorded")(lambda cell: cell.wall_s)

    @figure.rows("sweep.plateau", "x", "largest batch / the next; where: precision")
    def _(sweep: Sweep) -> Iterator[Row]:
        for precision in sweep.precisions: ...

Modules that declare figures are imported to plan a run: they load no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

from harness.errors import nearest
from harness.records import Scalar, record
from harness.workloads.api.declare import Better, Metric
from harness.workloads.api.emit import EventWriter

D = TypeVar("D")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Counted:
    """A value, and how many observations it is of."""

    value: Scalar
    count: int


Value = Scalar | Counted
Where = Mapping[str, Scalar]
Row = tuple[Where, Value]


class Absent(Exception):  # noqa: N818 - not an error: the figure is recorded as absent
    """Raised where a figure cannot be computed; its text is the reason that is recorded."""


@record
class Figure:
    """One computed figure, in the unit that its metric declares.

    Attributes:
        where: row keys.
        count: how many observations it is of.
        absent: why there is no value.
    """

    metric: str
    value: Scalar
    where: Where
    count: int = 1
    absent: str = ""


class Figures(Generic[D]):
    """The figures computed from data of one type, in the order of their declaration.

    Args:
        shared: metrics that are declared elsewhere; a figure is one of them by its name alone.
        keys: the names of the row keys that it is reported under; they are added to each doc.
        absent: the reason recorded for a value of None.
    """

    def __init__(self, *shared: Metric, keys: str = "", absent: str = "") -> None:
        self._known = {metric.name: metric for metric in shared}
        self._used: dict[str, Metric] = {}
        self._absent = absent
        self._keys = keys
        self._steps: list[Callable[[D], Iterator[Figure]]] = []

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What a workload that reports these figures declares."""
        return tuple(self._used.values())

    def __call__(
        self,
        name: str,
        unit: str = "",
        doc: str = "",
        *,
        better: Better | None = None,
        timing: bool = False,
        optional: bool = False,
    ) -> Callable[[Callable[[D], Value]], Callable[[D], Value]]:
        """Declare the figure that the decorated function of the data returns.

        Args:
            name: of the metric; alone where it is shared or was declared before.
            unit: of `harness.units`.
            doc: what it is, in one line.
            better: as in `Metric`.
            timing: as in `Metric`.
            optional: None as value means no figure, and nothing is recorded.
        """

        def step(compute: Callable[[D], Value], data: D) -> Iterator[Figure]:
            value = _attempt(compute, data)
            if value is not None or not optional:
                yield self._figure(name, {}, value)

        doc = self._documented(doc)
        return self._declaring(name, unit, doc, better, step, timing=timing)

    def rows(
        self,
        name: str,
        unit: str = "",
        doc: str = "",
        *,
        keys: str = "",
        better: Better | None = None,
        timing: bool = False,
    ) -> Callable[[Callable[[D], Iterable[Row]]], Callable[[D], Iterable[Row]]]:
        """Declare the figure whose rows, each with its keys, the decorated function yields.

        Args:
            name: as of a single figure.
            unit: as of a single figure.
            doc: as of a single figure.
            keys: the names of the keys; they are added to `doc`.
            better: as in `Metric`.
            timing: as in `Metric`.
        """

        def step(compute: Callable[[D], Iterable[Row]], data: D) -> Iterator[Figure]:
            for where, value in compute(data):
                yield self._figure(name, where, value)

        doc = self._documented(doc, keys)
        return self._declaring(name, unit, doc, better, step, timing=timing)

    def each(
        self,
        rows: Callable[[D], Iterable[tuple[Where, R]]],
        *,
        keys: str = "",
        absent: str = "",
    ) -> Figures[R]:
        """Return a collector of figures that every row of the data has, under the row's keys.

        Args:
            rows: yields the keys of each row, and the row.
            keys: the names of the keys; they are added to the doc of each figure.
            absent: the reason recorded for a value of None.
        """
        child: Figures[R] = Figures(keys=self._all_keys(keys), absent=absent or self._absent)
        child._known, child._used = self._known, self._used  # one table of metrics
        self._nest(rows, child)
        return child

    def include(self, rows: Callable[[D], Iterable[tuple[Where, R]]], figures: Figures[R]) -> None:
        """Take in the figures of another collector, whole by now, for every row of the data."""
        self._known.update(figures._used)
        self._used.update(figures._used)
        self._nest(rows, figures)

    def of(self, part: Callable[[D], R], *, absent: str = "") -> Figures[R]:
        """Return a collector of figures of a part of the data."""
        return self.each(lambda data: [({}, part(data))], absent=absent)

    def found(self, data: D) -> Iterator[Figure]:
        """Yield every figure of `data`."""
        for step in self._steps:
            yield from step(data)

    def report(self, emit: EventWriter, data: D, where: Where | None = None) -> None:
        """Write every figure of `data` as an event, under the row keys given."""
        for each in self.found(data):
            row = {**(where or {}), **each.where}
            emit.measured(each.metric, each.value, where=row, count=each.count, absent=each.absent)

    def _figure(self, name: str, where: Where, value: Value | Absent) -> Figure:
        if isinstance(value, Absent):
            return Figure(metric=name, value=None, where=where, absent=str(value))
        number, count = (value.value, value.count) if isinstance(value, Counted) else (value, 1)
        absent = self._absent if number is None else ""
        return Figure(metric=name, value=number, where=where, count=count, absent=absent)

    def _nest(self, rows: Callable[[D], Iterable[tuple[Where, R]]], figures: Figures[R]) -> None:
        def step(data: D) -> Iterator[Figure]:
            for where, item in rows(data):
                for figure in figures.found(item):
                    yield replace(figure, where={**where, **figure.where})

        self._steps.append(step)

    def _all_keys(self, keys: str) -> str:
        return ", ".join(filter(None, (self._keys, keys)))

    def _documented(self, doc: str, keys: str = "") -> str:
        where = self._all_keys(keys)
        return "; ".join(filter(None, (doc, where and f"where: {where}")))

    def _declaring(
        self,
        name: str,
        unit: str,
        doc: str,
        better: Better | None,
        step: Callable[[F, D], Iterator[Figure]],
        *,
        timing: bool,
    ) -> Callable[[F], F]:
        def declare(compute: F) -> F:
            if unit:
                if name in self._known:
                    message = f"figure {name} is declared twice"
                    raise ValueError(message)
                self._known[name] = Metric(
                    name=name, unit=unit, doc=doc, better=better, timing=timing
                )
            elif name not in self._known:
                message = f"figure {name} has no unit; nearest: {nearest(name, self._known)}"
                raise ValueError(message)
            self._used[name] = self._known[name]
            self._steps.append(partial(step, compute))
            return compute

        return declare


def metrics_of(*figures: Figures[Any]) -> tuple[Metric, ...]:
    """Return the metrics of several collectors, each once."""
    return tuple({metric.name: metric for each in figures for metric in each.metrics}.values())


def _attempt(compute: Callable[[D], Value], data: D) -> Value | Absent:
    try:
        return compute(data)
    except Absent as reason:
        return reason
