"""Figures that should vary and do not: the signs of an experiment that did not happen.

Replicates with different seeds that give the same figures say that the seed reaches nothing; two
variants with the same figures say that the variant does; a series of one value says that nothing
was trained. Only figures that are no whole numbers and do not depend on the clock are looked at:
two seeds may well pass the same number of tasks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import combinations

from harness.check.rows import frozen
from harness.check.wording import keys as keys_text
from harness.check.wording import several
from harness.records import FinishedRun, Measurement, Scalar, Status
from harness.workloads.api.declare import Metric

_MIN_FIGURES = 3  # fewer may agree by chance, or be a constant of the model
_MIN_POINTS = 4  # of a series

Twins = tuple[FinishedRun, FinishedRun]
_Figures = dict[Hashable, float]


def identical_replicates(
    runs: Sequence[FinishedRun], metrics: Mapping[str, Metric]
) -> tuple[Twins, ...]:
    """Return the pairs of replicates with different seeds whose every varying figure is equal.

    Args:
        runs: of one profile.
        metrics: what the workloads declare, by name.
    """
    by_point: dict[str, list[FinishedRun]] = defaultdict(list)
    for run in runs:
        if run.outcome.status is Status.FINISHED:
            by_point[run.spec.point_id].append(run)
    found = []
    for replicates in by_point.values():
        if len(replicates) == 1:
            continue
        figures = [_fractions(run.measurements, metrics) for run in replicates]
        for one, other in combinations(range(len(replicates)), 2):
            seeds = replicates[one].spec.seed, replicates[other].spec.seed
            enough = len(figures[one]) >= _MIN_FIGURES
            if enough and seeds[0] != seeds[1] and figures[one] == figures[other]:
                found.append((replicates[one], replicates[other]))
    return tuple(found)


def twins_text(twins: Twins) -> str:
    """Say which two replicates are the same."""
    one, other = twins
    cell = keys_text(one.spec.cell)
    seeds = f"seeds {one.spec.seed} and {other.spec.seed}"
    return f"{f'{cell}, ' if cell else ''}{seeds} gave the same figures: the seed reaches nothing"


def unvarying(runs: Sequence[FinishedRun], metrics: Mapping[str, Metric]) -> tuple[str, ...]:
    """Return a sentence for each sign that figures do not vary where they should.

    Identical replicates, variants of one run with the same figures, and series of one value.
    """
    finished = [run for run in runs if run.outcome.status is Status.FINISHED]
    found = [twins_text(each) for each in identical_replicates(finished, metrics)]
    for run in finished:
        label = "" if len(finished) == 1 else f" ({run.spec.label})"
        found += [f"{text}{label}" for text in _equal_variants(run, metrics)]
        found += [f"{text}{label}" for text in _constant_series(run, metrics)]
    return tuple(found)


def _fractions(rows: Sequence[Measurement], metrics: Mapping[str, Metric]) -> _Figures:
    """Return the figures of a run that should vary, by metric and row keys."""
    found: _Figures = {}
    for each in rows:
        declared, value = metrics.get(each.metric), each.value
        if declared is None or declared.timing or not isinstance(value, float):
            continue
        if not value.is_integer():
            found[each.metric, frozen(each.where)] = value
    return found


def _equal_variants(run: FinishedRun, metrics: Mapping[str, Metric]) -> Iterator[str]:
    """Yield each pair of values of a text key whose every shared figure is equal."""
    sides: dict[str, dict[str, dict[Hashable, Scalar]]] = defaultdict(lambda: defaultdict(dict))
    for each in run.measurements:
        declared = metrics.get(each.metric)
        if declared is None or declared.timing or not isinstance(each.value, int | float):
            continue
        for key, value in each.where.items():
            if isinstance(value, str):
                others = {name: item for name, item in each.where.items() if name != key}
                sides[key][value][each.metric, frozen(others)] = each.value
    for key, by_value in sides.items():
        for one, other in combinations(by_value, 2):
            common = by_value[one].keys() & by_value[other].keys()
            fractions = sum(_is_fraction(by_value[one][at]) for at in common)
            if fractions >= _MIN_FIGURES and all(
                by_value[one][at] == by_value[other][at] for at in common
            ):
                yield f"{key} {one} and {other} have the same {len(common)} figures"


def _constant_series(run: FinishedRun, metrics: Mapping[str, Metric]) -> Iterator[str]:
    """Yield each metric that has the same value, no whole number, at every step of a series."""
    series: dict[tuple[str, str, Hashable], list[Scalar]] = defaultdict(list)
    for each in run.measurements:
        declared = metrics.get(each.metric)
        if declared is None or declared.timing:
            continue
        for key, value in each.where.items():
            if isinstance(value, int) and not isinstance(value, bool):
                others = {name: item for name, item in each.where.items() if name != key}
                series[each.metric, key, frozen(others)].append(each.value)
    still: dict[tuple[str, str], list[Scalar]] = defaultdict(list)
    for (metric, key, _), values in series.items():
        if len(values) >= _MIN_POINTS and len(set(values)) == 1 and _is_fraction(values[0]):
            still[metric, key].append(values[0])
    for (metric, key), values in still.items():
        shown = several([f"{value:g}" for value in values if isinstance(value, float)])
        yield f"{metric} is the same at every {key}: {shown}"


def _is_fraction(value: Scalar) -> bool:
    return isinstance(value, float) and not value.is_integer()
