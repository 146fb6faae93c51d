"""The data of a declared plot: points with intervals, in named series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.check.rows import is_number
from harness.records import Profile, Scalar, record, to_json
from harness.report import intervals
from harness.report.cells import Replicates, replicates
from harness.report.dossier import ScenarioReport
from harness.report.figures import setting
from harness.report.readings import Place, PooledValue, pool
from harness.scenario.expectations import Expectation, TrajectoryTarget
from harness.scenario.schema import IntervalKind, Plot
from harness.statistics import Interval
from harness.units import UNITS, convert
from harness.workloads.api.declare import Metric

Coordinates = Mapping[str, Any]  # row keys, params and origin of one figure


@record
class Point:
    """One point.

    Attributes:
        y: the mean over replicates.
        interval: 95 %; None where nothing is known, as of one run.
        values: of each replicate.
    """

    x: Scalar
    y: float
    interval: Interval | None = None
    values: tuple[float, ...] = ()

    @property
    def count(self) -> int:
        """How many replicates it stands for."""
        return len(self.values)


@record
class Series:
    """Points that share all but x, in order of x.

    Attributes:
        keys: the keys that name it: series with the same keys share their colours between plots.
    """

    label: str
    points: tuple[Point, ...]
    keys: tuple[str, ...] = ()


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

    @property
    def points(self) -> tuple[Point, ...]:
        """The points of all series."""
        return tuple(point for series in self.series for point in series.points)

    @property
    def x_label(self) -> str:
        """What x is, in words."""
        return self.plot.x_label or in_words(self.plot.x)

    @property
    def y_label(self) -> str:
        """What y is, in words."""
        return self.plot.y_label or in_words(self.plot.y)


def in_words(name: str) -> str:
    """Return a metric, param or row key as people say it."""
    return name.replace(".", " ").replace("_", " ")


def curves(plot: Plot, dossier: ScenarioReport) -> Curves:
    """Return what `plot` shows of a dossier's finished runs.

    Points are distinguished by the plot's series keys, and by every other param, row key or origin
    that varies among them: figures of different settings or devices are never averaged.
    """
    metric = dossier.metrics[plot.y]
    placed: list[tuple[Coordinates, PooledValue, Interval | None]] = []
    for each in replicates(dossier):
        for where in dict.fromkeys(
            at for run in each.readings for name, at in run if name == plot.y
        ):
            own = {**dict(where), **each.spec.cell}  # swept params come first
            keys = {**own, **to_json(each.origin), **each.spec.params, **own}
            shown = all(key in keys and keys[key] == value for key, value in plot.where.items())
            if shown and plot.x in keys:
                pooled = pool(metric, where, each.readings)
                placed.append((keys, pooled, _interval(plot, metric, where, pooled, each)))
    # the keys that name a series: those declared, and what else tells points apart. A key that
    # follows from x, such as one that a sweep advances together with it, is not needed
    coordinates = [at for at, _, _ in placed]
    names = [*plot.series]
    for name in dict.fromkeys(name for at in coordinates for name in at):
        if name not in (plot.x, *names) and _splits(name, [plot.x, *names], coordinates):
            names.append(name)
    counts = all(_text(at, plot.x).isdecimal() for at in coordinates)  # also such as "007"
    together: dict[str, list[Point]] = {}
    missing: Counter[str] = Counter()
    for at, pooled, interval in placed:
        if pooled.numbers:
            label = _label(dossier, {name: at[name] for name in names if name in at})
            x = int(at[plot.x]) if counts else at[plot.x]
            together.setdefault(label, []).append(
                Point(x=x, y=pooled.mean, interval=interval, values=pooled.numbers)
            )
        missing.update(pooled.absences)
        missing.update(["no number"] * (len(pooled.values) - len(pooled.numbers)))
    return Curves(
        plot=plot,
        metric=metric,
        x_unit=dossier.param_unit(plot.x),
        series=_in_order(dossier, names, together),
        missing=missing,
    )


def article_curves(shown: Curves, dossier: ScenarioReport) -> Curves | None:
    """Return the article's own figures for the same plot; None where it has fewer than two.

    They are what it recorded, else what it prints. The evidence profile recomputes them, so it has
    no others.
    """
    if dossier.profile is Profile.EVIDENCE:
        return None
    plot, unit = shown.plot, shown.metric.unit
    together: dict[str, dict[str, Point]] = {}
    for entry in dossier.ledger.expectations:
        if entry.metric != plot.y or UNITS[entry.unit].dimension != UNITS[unit].dimension:
            continue
        if any(entry.where.get(key, value) != value for key, value in plot.where.items()):
            continue
        if not set(entry.where) <= {plot.x, *plot.series, *plot.where}:
            continue  # a figure of something else
        label = _label(
            dossier, {key: entry.where[key] for key in plot.series if key in entry.where}
        )
        for x, y in _printed_points(entry, plot.x):
            point = Point(x=x, y=convert(y, entry.unit, unit), values=())
            together.setdefault(label, {}).setdefault(setting(x), point)
    if sum(map(len, together.values())) < 2:  # noqa: PLR2004 - a figure has two points or more
        return None
    points = {label: [*found.values()] for label, found in together.items()}
    return replace(shown, series=_in_order(dossier, plot.series, points), missing={})


def _printed_points(entry: Expectation, x: str) -> Iterator[tuple[Scalar, float]]:
    if isinstance(entry.expect, TrajectoryTarget) and entry.expect.key == x:
        yield from entry.expect.points
        return
    given = entry.recorded or entry.claimed
    if given is not None and x in entry.where and is_number(given.value):
        yield entry.where[x], float(given.value)


def _interval(
    plot: Plot, metric: Metric, where: Place, pooled: PooledValue, each: Replicates
) -> Interval | None:
    numbers = pooled.numbers
    if not numbers:
        return None
    if plot.interval in (IntervalKind.RUNS, IntervalKind.SHARE):
        is_share = plot.interval is IntervalKind.SHARE
        return intervals.of_runs(numbers, metric.unit, is_share=is_share)
    if plot.interval is IntervalKind.WILSON:
        found = [run.get((metric.name, where)) for run in each.readings]
        trials = [one.count for one in found if one is not None and one.value is not None]
        return intervals.of_trials(numbers, trials, metric.unit)
    if len(numbers) > 1:
        return intervals.of_runs(numbers, metric.unit)
    ends = [run.get((name, where)) for name in plot.interval for run in each.readings]
    low, high = (
        convert(float(one.value), one.unit, metric.unit)
        if one is not None and is_number(one.value)
        else None
        for one in ends
    )
    return None if low is None or high is None else Interval(low=low, high=high)


def _label(dossier: ScenarioReport, values: Mapping[str, Any]) -> str:
    """Return the name of a series: words as they are, numbers and flags with their key."""
    headline = dossier.scenario.headline
    tables = [headline.table, headline.table_of(dossier.profile)] if headline else []
    names = {key: name for table in tables for key, name in table.names.items()}
    parts = []
    for key, value in values.items():
        text = setting(value)
        if isinstance(value, str):
            parts.append(names.get(text, text).strip())
        else:
            parts.append(f"{names.get(key, in_words(key))} {names.get(text, text)}")
    return ", ".join(parts)


def _in_order(
    dossier: ScenarioReport, keys: Sequence[str], together: Mapping[str, Sequence[Point]]
) -> tuple[Series, ...]:
    """Return the series as the headline table orders their names; else as they were measured."""
    headline = dossier.scenario.headline
    chosen = headline.table_of(dossier.profile).only.values() if headline else ()
    first = [_label(dossier, {"": value}) for values in chosen for value in values]
    order = {label: place for place, label in enumerate(dict.fromkeys([*first, *together]))}
    return tuple(
        Series(label=label, points=_along_x(together[label]), keys=tuple(keys))
        for label in sorted(together, key=order.__getitem__)
    )


def _splits(name: str, keys: Sequence[str], coordinates: Sequence[Coordinates]) -> bool:
    """Return whether points that agree in `keys` differ in `name`."""
    seen: dict[tuple[str, ...], str] = {}
    for at in coordinates:
        value = _text(at, name)
        if seen.setdefault(tuple(_text(at, key) for key in keys), value) != value:
            return True
    return False


def _along_x(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return points with numbers in order; words stay in the order of the runs."""
    numeric = all(is_number(point.x) for point in points)
    return tuple(sorted(points, key=lambda point: float(point.x or 0)) if numeric else points)


def _text(at: Coordinates, name: str) -> str:
    return setting(at[name]) if name in at else ""
