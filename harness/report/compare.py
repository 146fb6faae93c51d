"""Two sets of runs, figure by figure: other machines, images, profiles, days, or another param.

Each figure of each cell is tested where there are replicates, and each metric over all cells, where
a shift that is small in every cell shows. Which test:

- Pairs where the two runs of a seed have something in common: figures that do not depend on the
  clock, and any figure of two variants that were run in blocks. The paired t-test.
- Else Welch's t-test for measured values, and a permutation test for counted ones
  (`harness.statistics.two_samples`).
- Over cells: the t-test of the logarithm of B / A, a value a cell.

Holm's correction is over all tests of the table that could be significant at all; the others have
too few runs. Intervals are 95 % each, without correction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from statistics import fmean
from typing import Any

from harness.errors import ExitCode, InputError, Problem
from harness.records import canonical_json, record
from harness.report.cells import Replicates, replicates, report_metrics, spoken
from harness.report.dossier import Origin, ScenarioReport
from harness.report.figures import figure
from harness.report.ledger import keys_text
from harness.report.readings import Place, PooledValue, cell_of, pool
from harness.report.tables import Align, Column, RowGroup, Table, TableCell, absent, words
from harness.statistics import (
    ALPHA,
    PERMUTATION,
    Interval,
    Sample,
    above_test,
    below_test,
    differs_test,
    holm,
    is_discrete,
    least_p,
    mean_interval,
    sample,
    two_samples,
    values_needed,
)
from harness.units import counted
from harness.workloads.api.declare import Better, Metric


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
        place: swept params and row keys; empty where it is over all cells.
        cells: over how many cells it is; 0 for a figure of one cell.
        apart: with Holm's correction, once all are known.
        p_value: with Holm's correction, once all are known; None where there was no test.
        change: the differences B - A of pairs, or what Welch's test makes of the means; over cells,
            the logarithms of B / A. None where there is no spread.
        interval: of its mean.
        needed: how many values the test needs to see what it did not; None where it did.
    """

    place: Mapping[str, Any]
    metric: Metric
    one: PooledValue
    other: PooledValue
    apart: Apart
    cells: int = 0
    p_value: float | None = None
    change: Sample | None = None
    interval: Interval | None = None
    needed: int | None = None


@record
class Allowance:
    """By how much a metric may be worse in B before a comparison fails.

    Attributes:
        metric: its name.
        share: of A's value, e.g. 0.03.
    """

    metric: str
    share: float


@record
class AllowanceVerdict:
    """What a comparison says of one limit, in one line."""

    code: ExitCode
    sentence: str


_LEAST_P = 1e-4  # below it the normality of a few replicates is doubtful, not the difference
_ENOUGH = 3  # values for a spread
_TESTS = (
    "Significant: t-tests, paired by seed where a pair has something in common, else Welch's; of "
    f"counts, permutations; Holm's correction, {ALPHA:g}. From, to: 95 % of B - A; over cells, of "
    "B / A. n needed: replicates, or cells, that see the difference with power 0.8."
)
_COLUMNS = (
    Column(key="where", header="where", names_row=True),
    Column(key="metric", header="metric", names_row=True),
    Column(key="unit", header="unit"),
    Column(key="a", header="A", align=Align.RIGHT),
    Column(key="b", header="B", align=Align.RIGHT),
    Column(key="difference", header="B - A", align=Align.RIGHT),
    Column(key="ratio", header="B / A", align=Align.RIGHT),
    Column(key="low", header="from", align=Align.RIGHT),
    Column(key="high", header="to", align=Align.RIGHT),
    Column(key="apart", header="significant?"),
    Column(key="p", header="p", align=Align.RIGHT),
    Column(key="n", header="n", align=Align.RIGHT),
    Column(key="needed", header="n needed", align=Align.RIGHT),
    Column(key="timing", header="timing"),
)


def compare_table(
    one: ScenarioReport,
    other: ScenarioReport,
    found: Sequence[FigureDifference] | None = None,
    names: tuple[str, str] = ("", ""),
) -> Table:
    """Return a row for each figure of either set, and one for each metric over all cells.

    Points are matched by their point id, or by their swept params where the profiles differ, since
    then every other param may differ too.

    Args:
        one: A.
        other: B.
        found: their differences, where they are known already.
        names: what A and B are, where that is not in their captions.

    Raises:
        InputError: a set holds one point from several devices, images or sources.
    """
    known = differences(one, other) if found is None else found
    rows = [(each, _row(each)) for each in known]
    sides = [
        (letter, text, side) for letter, text, side in zip("AB", names, (one, other), strict=True)
    ]
    groups = [RowGroup(rows=tuple(row for each, row in rows if not each.cells))]
    if over := tuple(row for each, row in rows if each.cells):
        groups.append(RowGroup(title="Over all cells", rows=over))
    return Table(
        title=f"{one.scenario.title}: two sets of runs",
        caption=(
            *(f"{letter}: {text}." for letter, text, _ in sides if text),
            *(f"{letter}: {line}" for letter, _, side in sides for line in side.caption),
            _TESTS,
        ),
        columns=_COLUMNS,
        groups=tuple(groups),
    )


def differences(
    one: ScenarioReport,
    other: ScenarioReport,
    *,
    in_blocks: bool = False,
    varied: Sequence[str] = (),
) -> tuple[FigureDifference, ...]:
    """Return every figure of either set, with whether replicates can tell them apart.

    Args:
        one: A.
        other: B.
        in_blocks: the two runs of each seed were done next to each other, so that they share the
            state of the machine too.
        varied: params that the two sets differ in; points are matched without them.

    Raises:
        InputError: see `compare_table`.
    """
    same_profile = one.profile is other.profile
    ours, theirs = (_by_point(each, same_profile, varied) for each in (one, other))
    found, by_metric = [], dict[str, list[list[FigureDifference]]]()
    for point in dict.fromkeys([*ours, *theirs]):
        pair = [ours.get(point), theirs.get(point)]
        of_cell: dict[str, list[FigureDifference]] = {}
        for metric, where in _figures(one, [each for each in pair if each]):
            each = _difference(metric, where, pair[0], pair[1], in_blocks=in_blocks)
            found.append(each)
            of_cell.setdefault(metric.name, []).append(each)
        for name, each_of in of_cell.items():
            by_metric.setdefault(name, []).append(each_of)
    over = (_over_cells(cells) for cells in by_metric.values())
    return tuple(_corrected([*found, *(each for each in over if each is not None)]))


def judge_allowance(limit: Allowance, found: Sequence[FigureDifference]) -> AllowanceVerdict:
    """Return whether a metric is worse in B by more than it may be.

    It fails where a test, corrected for how many there are, shows a change beyond the limit, in one
    cell or over all. It holds where the figure over all cells, or each cell where there is no such,
    is shown to lie within. Between the two it is inconclusive.
    """
    rows = [each for each in found if each.metric.name == limit.metric]
    tested = [(each, _relative(each)) for each in rows]
    known = [(each, seen) for each, seen in tested if seen is not None]
    allowed = f"{100 * limit.share:g} %"
    if not known:
        needs = f"it needs {_ENOUGH} replicates, or cells"
        sentence = f"{limit.metric}: nobody can tell whether it is worse by {allowed}; {needs}"
        return AllowanceVerdict(code=ExitCode.INCONCLUSIVE, sentence=sentence)
    beyond = holm([_beyond(seen, each.metric, limit.share) for each, seen in known])
    worst = min(range(len(known)), key=beyond.__getitem__)
    if beyond[worst] < ALPHA:
        each, seen = known[worst]
        place = keys_text(each.place) or (f"{each.cells} cells" if each.cells else "-")
        change = _percent(math.expm1(seen.mean))
        found_text = f"{change} at {place}, p = {beyond[worst]:.2g}"
        sentence = f"{limit.metric} is worse by more than {allowed}: {found_text}"
        return AllowanceVerdict(code=ExitCode.OUTSIDE, sentence=sentence)
    judges = [each for each in known if each[0].cells] or known
    within = holm([_within(seen, each.metric, limit.share) for each, seen in judges])
    if max(within) < ALPHA:
        sentence = f"{limit.metric} is not worse by {allowed} or more"
        return AllowanceVerdict(code=ExitCode.OK, sentence=sentence)
    noisiest = max((seen for _, seen in judges), key=lambda seen: seen.std)
    what = "cell" if judges[0][0].cells else "replicate"
    more = ""
    if noisiest.std:
        more = f"; that needs about {values_needed(limit.share, noisiest.std):,} {what}s"
    sentence = (
        f"{limit.metric}: {counted(noisiest.count, what)} cannot tell whether it is worse by "
        f"{allowed}{more}"
    )
    return AllowanceVerdict(code=ExitCode.INCONCLUSIVE, sentence=sentence)


def _beyond(seen: Sample, metric: Metric, share: float) -> float:
    """Return the p-value of "it is not worse than the limit"."""
    low, high = math.log1p(-share), math.log1p(share)
    if metric.better is Better.HIGHER:
        return below_test(seen, low)
    if metric.better is Better.LOWER:
        return above_test(seen, high)
    return min(1.0, 2 * min(below_test(seen, low), above_test(seen, high)))


def _within(seen: Sample, metric: Metric, share: float) -> float:
    """Return the p-value of "it is worse than the limit, or at it"."""
    low, high = math.log1p(-share), math.log1p(share)
    if metric.better is Better.HIGHER:
        return above_test(seen, low)
    if metric.better is Better.LOWER:
        return below_test(seen, high)
    return max(above_test(seen, low), below_test(seen, high))


def _relative(each: FigureDifference) -> Sample | None:
    """Return the change as logarithms of B / A; None where there is no such, or no spread."""
    if each.cells:
        return each.change
    one, other = each.one.numbers, each.other.numbers
    if not one or not other or min(*one, *other) <= 0:
        return None
    if each.apart is Apart.SAME:  # to the last bit: no spread is needed
        return Sample(count=_ENOUGH, mean=0.0, std=0.0)
    if each.change is None or min(len(one), len(other)) < _ENOUGH:
        return None
    # the delta method: B - A as a share of A's mean
    return replace(
        each.change,
        mean=math.log(each.other.mean / each.one.mean),
        std=each.change.std / each.one.mean,
    )


def _row(each: FigureDifference) -> tuple[TableCell, ...]:
    return (
        words(f"{each.cells} cells" if each.cells else keys_text(each.place) or "-"),
        words(each.metric.name),
        words(spoken(each.metric.unit)),
        absent("") if each.cells else cell_of(each.metric, each.one),
        absent("") if each.cells else cell_of(each.metric, each.other),
        *_distance(each),
        *_ends(each),
        words(each.apart),
        absent("")
        if each.p_value is None
        else TableCell(
            text="< 0.0001" if each.p_value < _LEAST_P else f"{each.p_value:.2g}",
            raw=each.p_value,
        ),
        absent("")
        if each.change is None
        else TableCell(text=str(each.change.count), raw=each.change.count),
        absent("") if each.needed is None else TableCell(text=f"{each.needed:,}", raw=each.needed),
        words("timing" if each.metric.timing else ""),
    )


def _ends(each: FigureDifference) -> tuple[TableCell, TableCell]:
    """Return the ends of the interval: of a ratio over cells, else of a difference."""
    if each.interval is None:
        return absent(""), absent("")
    low, high = each.interval.low, each.interval.high
    if each.cells:
        return _ratio(math.exp(low)), _ratio(math.exp(high))
    return TableCell(text=figure(low), raw=low), TableCell(text=figure(high), raw=high)


def _ratio(value: float) -> TableCell:
    return TableCell(text=f"{value:.4g}", raw=value)


def _by_point(
    dossier: ScenarioReport,
    same_profile: bool,  # noqa: FBT001 - one of two ways to match
    varied: Sequence[str],
) -> dict[str, Replicates]:
    points: dict[str, Replicates] = {}
    problems = []
    for each in replicates(dossier):
        if varied:
            left = {k: value for k, value in each.spec.params.items() if k not in varied}
            point = canonical_json(left)
        else:
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
    metric: Metric,
    where: Place,
    one: Replicates | None,
    other: Replicates | None,
    *,
    in_blocks: bool,
) -> FigureDifference:
    known = one or other
    assert known is not None
    pooled = [_pooled(metric, where, each) for each in (one, other)]
    apart, p_value = _told_apart(metric, *pooled)
    each = FigureDifference(
        place={**known.spec.cell, **dict(where)},
        metric=metric,
        one=pooled[0],
        other=pooled[1],
        apart=apart,
        p_value=p_value,
    )
    if p_value is None or one is None or other is None:
        return each
    pairs = _pairs(metric, where, one, other)
    step = metric.resolution or 1.0
    values = (*pooled[0].numbers, *pooled[1].numbers)
    if len(pairs) >= _ENOUGH and (in_blocks or not metric.timing) and not is_discrete(values, step):
        change = sample([b - a for a, b in pairs])
        return replace(
            each, change=change, interval=mean_interval(change), p_value=differs_test(change)
        )
    change = _unpaired(pooled[0].numbers, pooled[1].numbers)
    return replace(each, change=change, interval=mean_interval(change))


def _unpaired(one: Sequence[float], other: Sequence[float]) -> Sample:
    """Return the difference of two means as a sample of as many values as the smaller set has.

    Its standard error is that of the difference; its degrees of freedom are the smaller set's less
    one, with which the interval is no narrower than Welch's.
    """
    seen = [sample(one), sample(other)]
    count = min(each.count for each in seen)
    error = math.hypot(*(each.standard_error for each in seen))
    return Sample(count=count, mean=seen[1].mean - seen[0].mean, std=error * math.sqrt(count))


def _pairs(
    metric: Metric, where: Place, one: Replicates, other: Replicates
) -> list[tuple[float, float]]:
    """Return the numbers of each seed that both sets have."""
    sides = [
        {
            seed: pool(metric, where, [run]).numbers
            for seed, run in zip(each.seeds, each.readings, strict=True)
        }
        for each in (one, other)
    ]
    common = [seed for seed in sides[0] if sides[0][seed] and sides[1].get(seed)]
    return [(sides[0][seed][0], sides[1][seed][0]) for seed in common]


def _over_cells(cells: Sequence[Sequence[FigureDifference]]) -> FigureDifference | None:
    """Return the change of one metric over its cells; None where they are too few.

    A cell counts once, by the mean over its row keys: what one run measured hangs together.
    """
    logs = []
    for figures in cells:
        ratios = [
            math.log(each.other.mean / each.one.mean)
            for each in figures
            if each.one.numbers
            and each.other.numbers
            and min(*each.one.numbers, *each.other.numbers) > 0
        ]
        if ratios:
            logs.append(fmean(ratios))
    if len(logs) < _ENOUGH:
        return None
    nothing = PooledValue(values=())
    change = sample(logs)
    same = not any(logs)
    return FigureDifference(
        place={},
        metric=cells[0][0].metric,
        one=nothing,
        other=nothing,
        cells=len(logs),
        apart=Apart.SAME if same else Apart.NOT_APART,
        p_value=None if same else differs_test(change),
        change=change,
        interval=mean_interval(change),
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
    tests = [each.p_value for each in found if each.p_value is not None]
    corrected = iter(holm(tests))
    for each in found:
        if each.p_value is None:
            yield each
            continue
        p_value = next(corrected)
        if p_value < ALPHA:
            yield replace(each, apart=Apart.APART, p_value=p_value)
            continue
        change, needed = each.change, None
        if change is not None and change.mean and change.std:
            needed = values_needed(change.mean, change.std, ALPHA / len(tests))
        yield replace(each, apart=Apart.NOT_APART, p_value=p_value, needed=needed)


def _distance(each: FigureDifference) -> tuple[TableCell, TableCell]:
    """Return the difference and the ratio of the means."""
    if each.cells and each.change is not None:
        return absent(""), _ratio(math.exp(each.change.mean))
    if not each.one.numbers or not each.other.numbers:
        return absent(""), absent("")
    one, other = each.one.mean, each.other.mean
    shown = TableCell(text=figure(other - one), raw=other - one)
    if one == 0:
        return shown, absent("A is 0")
    return shown, _ratio(other / one)


def _percent(share: float) -> str:
    return f"{100 * share:+.2g} %"
