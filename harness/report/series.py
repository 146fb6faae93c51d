"""The data of a declared plot: points with error bars, in named series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.records import Scalar, record, to_json
from harness.report.cells import replicates
from harness.report.dossier import ScenarioReport
from harness.report.figures import setting
from harness.report.readings import PooledValue, pool
from harness.scenario.schema import Plot
from harness.workloads.api.declare import Metric

Coordinates = Mapping[str, Any]  # row keys, params and origin of one figure


@record
class Point:
    """One point; `spread` is the standard deviation over replicates, None for one run."""

    x: Scalar
    y: float
    spread: float | None
    count: int


@record
class Series:
    """Points that share all but x; in order of x."""

    label: str
    points: tuple[Point, ...]


@record
class Curves:
    """Everything a plot shows.

    Attributes:
        plot: as the scenario declares it.
        metric: the declaration of its y.
        x_unit: the unit of its x, empty where it has none.
        missing: why points that were asked for are not there, with how many.
    """

    plot: Plot
    metric: Metric
    x_unit: str
    series: tuple[Series, ...]
    missing: Mapping[str, int]


def curves(plot: Plot, dossier: ScenarioReport) -> Curves:
    """Return what `plot` shows of a dossier's finished runs.

    Points are distinguished by the plot's series keys, and by every other param, row key or origin
    that varies among them: figures of different settings or devices are never averaged.
    """
    metric = dossier.metrics[plot.y]
    placed: list[tuple[Coordinates, PooledValue]] = []
    for each in replicates(dossier):
        for where in dict.fromkeys(
            at for run in each.readings for name, at in run if name == plot.y
        ):
            own = {**dict(where), **each.spec.cell}  # swept params come first
            keys = {**own, **to_json(each.origin), **each.spec.params, **own}
            shown = all(key in keys and keys[key] == value for key, value in plot.where.items())
            if shown and plot.x in keys:
                placed.append((keys, pool(metric, where, each.readings)))
    # the keys that name a series: those declared, and what else tells points apart. A key that
    # follows from x, such as one that a sweep advances together with it, is not needed
    coordinates = [at for at, _ in placed]
    names = [*plot.series]
    for name in dict.fromkeys(name for at in coordinates for name in at):
        if name not in (plot.x, *names) and _splits(name, [plot.x, *names], coordinates):
            names.append(name)
    together: dict[str, list[Point]] = {}
    missing: dict[str, int] = {}
    for at, pooled in placed:
        if pooled.numbers:
            label = ", ".join(f"{name} {setting(at[name])}" for name in names if name in at)
            together.setdefault(label, []).append(
                Point(x=at[plot.x], y=pooled.mean, spread=pooled.std, count=len(pooled.numbers))
            )
        not_drawable = ["no number"] * (len(pooled.values) - len(pooled.numbers))
        for reason in (*pooled.absences, *not_drawable):
            missing[reason] = missing.get(reason, 0) + 1
    return Curves(
        plot=plot,
        metric=metric,
        x_unit=dossier.param_unit(plot.x),
        series=tuple(_ordered(label, points) for label, points in together.items()),
        missing=missing,
    )


def _splits(name: str, keys: Sequence[str], coordinates: Sequence[Coordinates]) -> bool:
    """Return whether points that agree in `keys` differ in `name`."""
    seen: dict[tuple[str, ...], str] = {}
    for at in coordinates:
        value = _text(at, name)
        if seen.setdefault(tuple(_text(at, key) for key in keys), value) != value:
            return True
    return False


def _ordered(label: str, points: Sequence[Point]) -> Series:
    """Return the series with numbers in order; words stay in the order of the runs."""
    numeric = all(is_number(point.x) for point in points)
    ordered = sorted(points, key=lambda point: float(point.x or 0)) if numeric else points
    return Series(label=label, points=tuple(ordered))


def _text(at: Coordinates, name: str) -> str:
    return setting(at[name]) if name in at else ""


def is_number(value: Scalar) -> bool:
    """Return whether `value` has a place on an axis of numbers; a flag has not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def x_values(shown: Curves) -> Iterator[Scalar]:
    """Yield the x of every point, series by series."""
    for series in shown.series:
        for point in series.points:
            yield point.x
