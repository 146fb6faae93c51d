"""Which figures of which runs each expectation is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from harness.check.measured import Measured
from harness.check.rows import is_number
from harness.check.verdicts import elsewhere
from harness.records import FinishedRun, Profile, Scalar, Status, canonical_json, record
from harness.scenario.expectations import Cell, Entry, Expectation, Expectations
from harness.units import convert
from harness.workloads.api.declare import Metric


@record
class ComparedFigure:
    """One figure that a verdict rests on.

    Attributes:
        value: as it was measured; None where it is absent.
    """

    run_id: str
    point_id: str
    metric: str
    value: Scalar
    unit: str
    where: Mapping[str, Scalar]


def samples_by_entry(
    ledger: Expectations,
    runs: Sequence[FinishedRun],
    profile: Profile,
    metrics: Mapping[str, Metric],
) -> dict[str, tuple[ComparedFigure, ...]]:
    """Return the figures that each entry of a ledger is compared with, by its id.

    Args:
        ledger: the entries.
        runs: as `harness.check.verdicts.check` takes them.
        profile: the profile of the runs.
        metrics: what the workloads declare, by name.
    """
    here = [run for run in runs if run.spec.profile is profile]
    devices = [*dict.fromkeys(run.outcome.device for run in here if run.outcome.device)]
    finished = [run for run in here if run.outcome.status is Status.FINISHED]
    asked = {cell.metric for entry in ledger.expectations for cell in _cells(entry)}
    rows = Measured.of(finished, metrics, asked).rows
    found: dict[str, tuple[ComparedFigure, ...]] = {}
    for entry in ledger.expectations:
        is_here = not elsewhere(entry.binds, profile, devices)
        found[entry.id] = tuple(
            ComparedFigure(
                run_id=row.run.spec.run_id,
                point_id=row.run.spec.point_id,
                metric=row.measurement.metric,
                value=row.measurement.value,
                unit=row.measurement.unit,
                where=row.measurement.where,
            )
            for cell in (_cells(entry) if is_here else ())
            for row in rows.found(cell)
            if entry.binds.device in (None, row.run.outcome.device)
        )
    return found


def mean(entry: Expectation, samples: Sequence[ComparedFigure]) -> float | None:
    """Return the mean of an entry's own figures, in its unit; None where they have none.

    They have none where one is no number, or where they are of several places.
    """
    own = [each for each in samples if each.metric == entry.metric]
    values = [each.value for each in own if is_number(each.value)]
    places = {canonical_json(each.where) for each in own}
    cells = {each.point_id for each in own}
    if not values or len(values) < len(own) or len(places) > 1 or len(cells) > 1:
        return None
    return fmean(convert(value, own[0].unit, entry.unit) for value in values)


def _cells(entry: Expectation) -> Iterator[Cell | Entry]:
    """Yield what an entry selects, and what that is compared with where it is another figure."""
    yield entry
    expect = getattr(entry, "expect", None)
    for name in ("to", "than"):
        if isinstance(other := getattr(expect, name, None), Cell):
            yield other
