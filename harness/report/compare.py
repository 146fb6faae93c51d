"""Two sets of runs, figure by figure: other machines, images, profiles or days.

Whether replicates can tell two means apart is decided by Welch's t-test for measured values, and by
a permutation test for counted ones and for pairs of values, whose spread says nothing
(`harness.statistics.two_samples`). Holm's correction is over all tests of the table that could be
significant at all; the others have too few runs. Replicates share their seeds between the sets;
leaving that out makes the test the more careful one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

from harness.errors import InputError, Problem
from harness.records import canonical_json, record
from harness.report.cells import Replicates, replicates, report_metrics, spoken
from harness.report.dossier import Origin, ScenarioReport
from harness.report.figures import figure
from harness.report.ledger import keys_text
from harness.report.readings import Place, PooledValue, cell_of, pool
from harness.report.tables import Align, Column, RowGroup, Table, TableCell, absent, words
from harness.statistics import ALPHA, PERMUTATION, holm, least_p, two_samples
from harness.workloads.api.declare import Metric


class Apart(StrEnum):
    """Whether two sets of replicates differ."""

    SAME = "identical"
    APART = "yes"
    NOT_APART = "no"
    TOO_FEW = "too few runs"
    DIFFERENT = "different"  # words or flags
    ONE_SIDED = "in one set only"
    NOWHERE = "in neither set"


@record
class FigureDifference:
    """One figure in both sets.

    Attributes:
        place: swept params and row keys.
        apart: with Holm's correction, once all are known.
        p_value: with Holm's correction, once all are known; None where there was no test.
    """

    place: Mapping[str, Any]
    metric: Metric
    one: PooledValue
    other: PooledValue
    apart: Apart
    p_value: float | None = None


_LEAST_P = 1e-4  # below it the normality of a few replicates is doubtful, not the difference
_COLUMNS = (
    Column(key="where", header="where", names_row=True),
    Column(key="metric", header="metric", names_row=True),
    Column(key="unit", header="unit"),
    Column(key="a", header="A", align=Align.RIGHT),
    Column(key="b", header="B", align=Align.RIGHT),
    Column(key="difference", header="B - A", align=Align.RIGHT),
    Column(key="ratio", header="B / A", align=Align.RIGHT),
    Column(key="apart", header="significant?"),
    Column(key="p", header="p", align=Align.RIGHT),
    Column(key="timing", header="timing"),
)


def compare_table(one: ScenarioReport, other: ScenarioReport) -> Table:
    """Return a row for each figure of either set.

    Points are matched by their point id, or by their swept params where the profiles differ, since
    then every other param may differ too.

    Raises:
        InputError: a set holds one point from several devices, images or sources.
    """
    rows = tuple(
        (
            words(keys_text(each.place) or "-"),
            words(each.metric.name),
            words(spoken(each.metric.unit)),
            cell_of(each.metric, each.one),
            cell_of(each.metric, each.other),
            *_distance(each),
            words(each.apart),
            absent("")
            if each.p_value is None
            else TableCell(
                text="< 0.0001" if each.p_value < _LEAST_P else f"{each.p_value:.2g}",
                raw=each.p_value,
            ),
            words("timing" if each.metric.timing else ""),
        )
        for each in differences(one, other)
    )
    return Table(
        title=f"{one.scenario.title}: two sets of runs",
        caption=(
            *(f"A: {line}" for line in one.caption),
            *(f"B: {line}" for line in other.caption),
            f"Significant: Welch's t-test; of counts, permutations; Holm's correction, {ALPHA:g}.",
        ),
        columns=_COLUMNS,
        groups=(RowGroup(rows=rows),),
    )


def differences(one: ScenarioReport, other: ScenarioReport) -> tuple[FigureDifference, ...]:
    """Return every figure of either set, with whether replicates can tell them apart.

    Raises:
        InputError: see `compare_table`.
    """
    same_profile = one.profile is other.profile
    ours, theirs = _by_point(one, same_profile), _by_point(other, same_profile)
    found = []
    for point in dict.fromkeys([*ours, *theirs]):
        pair = [ours.get(point), theirs.get(point)]
        for metric, where in _figures(one, [each for each in pair if each]):
            found.append(_difference(metric, where, *pair))
    return tuple(_corrected(found))


def _by_point(dossier: ScenarioReport, same_profile: bool) -> dict[str, Replicates]:  # noqa: FBT001 - one of two ways to match
    points: dict[str, Replicates] = {}
    problems = []
    for each in replicates(dossier):
        point = each.spec.point_id if same_profile else canonical_json(each.spec.cell)
        if point in points:
            problems.append(
                Problem(
                    message="one store has this point from several devices, images or sources",
                    key=each.spec.label,
                    value=f"{_named(points[point].origin)} and {_named(each.origin)}",
                )
            )
        points[point] = each
    if problems:
        raise InputError(problems)
    return points


def _named(one: Origin) -> str:
    return ", ".join(part for part in (one.device, one.runtime, one.image, one.source) if part)


def _figures(dossier: ScenarioReport, pair: Sequence[Replicates]) -> Iterator[tuple[Metric, Place]]:
    """Yield every metric of the report with each place that either set measured it at."""
    measured: dict[str, dict[Place, None]] = {}
    for run in (run for each in pair for run in each.readings):
        for name, where in run:
            measured.setdefault(name, {})[where] = None
    for metric in report_metrics(dossier):
        for where in measured.get(metric.name, {}):
            yield metric, where


def _difference(
    metric: Metric, where: Place, one: Replicates | None, other: Replicates | None
) -> FigureDifference:
    known = one or other
    assert known is not None
    pooled = [_pooled(metric, where, each) for each in (one, other)]
    apart, p_value = _told_apart(metric, *pooled)
    return FigureDifference(
        place={**known.spec.cell, **dict(where)},
        metric=metric,
        one=pooled[0],
        other=pooled[1],
        apart=apart,
        p_value=p_value,
    )


def _pooled(metric: Metric, where: Place, each: Replicates | None) -> PooledValue:
    if each is None:
        return PooledValue(values=(), absences=("no finished run",))
    return pool(metric, where, each.readings)


def _told_apart(metric: Metric, one: PooledValue, other: PooledValue) -> tuple[Apart, float | None]:
    """Return the answer before correction, and the p-value where a test gave it."""
    if not one.values or not other.values:
        return (Apart.ONE_SIDED if one.values or other.values else Apart.NOWHERE), None
    if one.values == other.values or len({*one.values, *other.values}) == 1:
        return Apart.SAME, None
    if not one.numbers or not other.numbers:
        return Apart.DIFFERENT, None
    if min(len(one.numbers), len(other.numbers)) < 2:  # noqa: PLR2004 - one value has no spread
        return Apart.TOO_FEW, None
    p_value, test = two_samples(one.numbers, other.numbers, metric.resolution or 1.0)
    if test == PERMUTATION and least_p(len(one.numbers), len(other.numbers)) > ALPHA:
        return Apart.TOO_FEW, None
    return Apart.NOT_APART, p_value


def _corrected(found: Sequence[FigureDifference]) -> Iterator[FigureDifference]:
    """Yield the differences with p-values corrected for how many there are."""
    corrected = iter(holm([each.p_value for each in found if each.p_value is not None]))
    for each in found:
        if each.p_value is None:
            yield each
        else:
            p_value = next(corrected)
            apart = Apart.APART if p_value < ALPHA else Apart.NOT_APART
            yield replace(each, apart=apart, p_value=p_value)


def _distance(each: FigureDifference) -> tuple[TableCell, TableCell]:
    """Return the difference and the ratio of the means."""
    if not each.one.numbers or not each.other.numbers:
        return absent(""), absent("")
    one, other = each.one.mean, each.other.mean
    shown = TableCell(text=figure(other - one), raw=other - one)
    if one == 0:
        return shown, absent("A is 0")
    return shown, TableCell(text=f"{other / one:.4g}", raw=other / one)
