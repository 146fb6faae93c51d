"""The relations that laws name, each with the record of its parameters.

Every one takes the rows that an entry selects, in the entry's unit, and says whether it holds and
by how much.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any, NoReturn

from harness.check import wording
from harness.check.finding import SignificanceTest, call_invalid, call_missing
from harness.check.measured import Measured
from harness.check.rows import Mean, MeasurementRow, frozen, in_unit, is_number, matches, means
from harness.check.tolerance import ROUND_OFF, shortfall, slack
from harness.records import Scalar, record
from harness.scenario import expectations as ledger
from harness.statistics import Interval, least_squares
from harness.workloads.api.declare import Law, param


@record
class Subject:
    """What a law is asked about.

    Attributes:
        entry: the entry that names the law.
        rows: the selected rows; at least one, none absent.
        measured: everything else that was measured.
    """

    entry: ledger.LawEntry
    rows: Sequence[MeasurementRow]
    measured: Measured

    @property
    def unit(self) -> str:
        """The unit of every figure here."""
        return self.entry.unit

    @property
    def cells(self) -> list[Mean]:
        """One number a cell."""
        return means(self.rows, self.unit)

    def tolerance(self, figure: float) -> float:
        """Return what may be off of `figure`: at least a step of the metric, and round-off."""
        target = self.entry.expect
        stated = max(target.abs or 0.0, (target.rel or 0.0) * abs(figure))
        return max(stated, self.measured.resolution(self.entry)) + ROUND_OFF * abs(figure)


@record
class LawOutcome:
    """How a law came out.

    Attributes:
        holds: whether it does; of no meaning where a test decides.
        margin: how much more could have been off before it broke, or by how much it is broken.
        measured: what was found, formatted.
        text: where it is closest to breaking, or broken worst.
        test: what decides whether it holds, if chance does.
    """

    holds: bool
    margin: float
    measured: str
    text: str
    test: SignificanceTest | None = None


# --- one figure a cell ----------------------------------------------------------------------------


@record
class AllCells:
    """Every selected figure lies in an interval."""

    low: float | None = param(None, doc="least accepted, in the entry's unit")
    high: float | None = param(None, doc="most accepted, in the entry's unit")

    def __post_init__(self) -> None:
        if self.low is None and self.high is None:
            _refuse("give low, high or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            _refuse("low is above high")


def all_cells(params: AllCells, subject: Subject) -> LawOutcome:
    """Return how far inside the interval the figure nearest an end lies."""
    interval = Interval(
        low=-math.inf if params.low is None else params.low,
        high=math.inf if params.high is None else params.high,
    )
    found = [(row.number(subject.unit), row.label) for row in subject.rows]
    worst, label = max(found, key=lambda each: shortfall(interval, each[0]))
    margin = slack(interval, worst) - shortfall(interval, worst)
    return LawOutcome(
        holds=margin >= 0,
        margin=margin,
        measured=wording.span([value for value, _ in found], subject.unit),
        text=f"nearest an end: {wording.figure(worst, subject.unit)} at {label}",
    )


@record
class BestCell:
    """The cell with the highest or lowest figure is the one named, or one of those named."""

    cell: Mapping[str, Scalar] = param(doc="keys of the cell that should be best")
    extreme: str = param(doc="which figure is best", choices=("highest", "lowest"))

    def __post_init__(self) -> None:
        if not self.cell:
            _refuse("cell is empty; give a key")


def best_cell(params: BestCell, subject: Subject) -> LawOutcome:
    """Return the lead of the best cell so named over the best of the others.

    A tie is no lead, unless the entry states a tolerance that allows it.
    """
    sign = 1 if params.extreme == "highest" else -1
    named = [cell for cell in subject.cells if matches(cell.keys, params.cell)]
    others = [cell for cell in subject.cells if not matches(cell.keys, params.cell)]
    if not named or not others:
        call_missing(f"nothing to compare: {len(named)} cells named, {len(others)} others")
    best = max(named, key=lambda cell: sign * cell.value)
    rival = max(others, key=lambda cell: sign * cell.value)
    lead = sign * (best.value - rival.value)
    winner = best if lead >= 0 else rival
    target = subject.entry.expect
    stated = max(target.abs or 0.0, (target.rel or 0.0) * abs(rival.value))
    forgiven = ROUND_OFF * abs(rival.value)
    margin = lead + stated
    return LawOutcome(
        holds=margin >= -forgiven if stated else margin > forgiven,
        margin=margin,
        measured=_at(winner, subject),
        text=f"best named {_at(best, subject)}, best other {_at(rival, subject)}",
    )


# --- along an axis --------------------------------------------------------------------------------


@record
class Monotone:
    """The figure is monotone along an axis, every other key fixed; equal neighbours are allowed."""

    along: str = param(doc="a numeric param or row key")
    direction: str = param(doc="as the axis rises", choices=("rises", "falls"))


def monotone(params: Monotone, subject: Subject) -> LawOutcome:
    """Return the least step in that direction between neighbours."""
    sign = 1 if params.direction == "rises" else -1
    steps = [
        (sign * (after.value - before.value) + subject.tolerance(before.value), before, after)
        for line in _lines(params.along, subject)
        for before, after in pairwise(line)
    ]
    return _worst_step(steps, params.along, subject)


@record
class Plateau:
    """From a value of an axis on, the figure is constant, every other key fixed."""

    along: str = param(doc="a numeric param or row key")
    start: float = param(doc="the value of it from which the figure is flat")


def plateau(params: Plateau, subject: Subject) -> LawOutcome:
    """Return how much further from its start a figure might have moved."""
    moves = []
    for line in _lines(params.along, subject):
        flat = [cell for cell in line if cell.keys[params.along] >= params.start]
        if not flat or flat[0].keys[params.along] != params.start:
            call_missing(f"no {params.along}={params.start:g} on the line of {line[0].label}")
        first = flat[0]
        moves += [
            (subject.tolerance(first.value) - abs(cell.value - first.value), first, cell)
            for cell in flat[1:]
        ]
    return _worst_step(moves, params.along, subject)


@record
class LinearFit:
    """A coefficient of the least-squares line of the figure against a product of keys."""

    over: tuple[str, ...] = param(doc="numeric params or row keys; their product is x")
    coefficient: str = param(
        doc="the residual is the furthest distance of a cell from the line",
        choices=("slope", "intercept", "residual"),
    )
    value: float = param(doc="expected, in the entry's unit; the slope's a unit of x")
    least: float | None = param(None, doc="cells of a smaller x are left out")

    def __post_init__(self) -> None:
        if not self.over:
            _refuse("over is empty; give a key")


def linear_fit(params: LinearFit, subject: Subject) -> LawOutcome:
    """Return how much further from the expected value the coefficient might have been."""
    points = [
        (math.prod(_coordinate(cell, name) for name in params.over), cell.value)
        for cell in subject.cells
    ]
    fitted = [(x, y) for x, y in points if params.least is None or x >= params.least]
    if len({x for x, _ in fitted}) < 2:  # noqa: PLR2004 - a line needs two
        call_missing(f"{len(fitted)} cells are too few for a line over {' x '.join(params.over)}")
    found: float = getattr(least_squares(fitted), params.coefficient)
    margin = subject.tolerance(params.value) - abs(found - params.value)
    return LawOutcome(
        holds=margin >= 0,
        margin=margin,
        measured=wording.figure(found, subject.unit),
        text=f"{params.coefficient} of a line through {len(fitted)} of {len(points)} cells",
    )


# --- between the figures of one run ---------------------------------------------------------------


@record
class Falls:
    """In each run the figure is less than another of the same run."""

    than: str = param(doc="the metric of the other figure")
    by: float = param(0.0, doc="by more than this, in the entry's unit", low=0.0)


def falls(params: Falls, subject: Subject) -> LawOutcome:
    """Return the least fall beyond the one asked for; an equal figure has not fallen."""
    other = ledger.Cell(metric=params.than, where=subject.entry.where)
    pairs = [
        (there.number(subject.unit), here.number(subject.unit), here.label)
        for here, there in subject.measured.rows.pairs(subject.entry, other)
    ]
    high, low, label = min(pairs, key=lambda each: each[0] - each[1])
    margin = high - low - params.by
    return LawOutcome(
        holds=margin > 0,
        margin=margin,
        measured=wording.span([low for _, low, _ in pairs], subject.unit),
        text=f"least of {len(pairs)}: from {high:.6g} to {low:.6g} at {label}",
    )


# --- a formula that a workload declares -----------------------------------------------------------


def formula(law: Law, params: Any, subject: Subject) -> LawOutcome:
    """Return how much further from a workload's formula a figure might have been."""
    module, _, name = law.formula.partition(":")
    predict = getattr(import_module(module), name)
    found = [row.number(subject.unit) for row in subject.rows]
    derived = []
    for row in subject.rows:
        try:
            derived.append(in_unit(predict(params, row.keys), law.unit, subject.unit))
        except ValueError as error:
            call_invalid(f"{row.label}: {error}")
    margins = [
        subject.tolerance(expected) - abs(value - expected)
        for value, expected in zip(found, derived, strict=True)
    ]
    worst = min(range(len(margins)), key=lambda i: margins[i])
    against = f"{found[worst]:.6g} against {derived[worst]:.6g} {subject.unit}"
    return LawOutcome(
        holds=margins[worst] >= 0,
        margin=margins[worst],
        measured=wording.span(found, subject.unit),
        text=f"furthest: {against} at {subject.rows[worst].label}",
    )


# --- parts ----------------------------------------------------------------------------------------


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)


def _lines(along: str, subject: Subject) -> list[list[Mean]]:
    """Return the cells that differ in `along` only, each line sorted by it."""
    lines: dict[Hashable, list[Mean]] = {}
    for cell in subject.cells:
        _coordinate(cell, along)
        others = {key: value for key, value in cell.keys.items() if key != along}
        lines.setdefault(frozen(others), []).append(cell)
    return [sorted(line, key=lambda cell: _coordinate(cell, along)) for line in lines.values()]


def _worst_step(steps: list[tuple[float, Mean, Mean]], along: str, subject: Subject) -> LawOutcome:
    """Return the outcome of (margin, cell, later cell) triples."""
    if not steps:
        call_missing(f"no two cells differ in {along} only")
    margin, one, other = min(steps, key=lambda step: step[0])
    return LawOutcome(
        holds=margin >= 0,
        margin=margin,
        measured=wording.span([cell.value for cell in subject.cells], subject.unit),
        text=f"worst of {len(steps)}: {_at(one, subject)}, then {_at(other, subject)}",
    )


def _coordinate(cell: Mean, name: str) -> float:
    value = cell.keys.get(name)
    if not is_number(value):
        call_invalid(f"{cell.label} has no number {name!r}")
    return float(value)


def _at(cell: Mean, subject: Subject) -> str:
    return f"{wording.figure(cell.value, subject.unit)} at {cell.label}"
