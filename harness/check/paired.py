"""A law over replicates: the mean difference between two cells, each pair of one run."""

from __future__ import annotations

import math
from collections.abc import Mapping

from harness.check import wording
from harness.check.finding import SignificanceTest, call_inconclusive
from harness.check.inference import MIN_REPLICATES, Scatter, sight_text
from harness.check.relations import LawOutcome, Subject
from harness.check.rows import refuse_several_cells
from harness.records import Scalar, record
from harness.scenario import expectations as ledger
from harness.statistics import ALPHA, Interval, t_quantile
from harness.workloads.api.declare import param


@record
class PairedMean:
    """The figure less another of the same run, on average over the replicates."""

    cell: Mapping[str, Scalar] = param(doc="keys of the other cell that differ from `where`")
    low: float | None = param(None, doc="the mean lies above it, in the entry's unit")
    high: float | None = param(None, doc="the mean lies below it, in the entry's unit")

    def __post_init__(self) -> None:
        if not self.cell:
            message = "cell is empty; give a key"
            raise ValueError(message)
        if self.low is None and self.high is None:
            message = "give low, high or both"
            raise ValueError(message)


def paired_mean(params: PairedMean, subject: Subject) -> LawOutcome:
    """Return the test of whether the mean lies between the ends, or beyond one of them.

    Without correction that is: whether the 95 % t interval lies wholly within or without. Counted
    differences flip their signs instead.
    """
    entry = subject.entry
    other = ledger.Cell(metric=entry.metric, where={**entry.where, **params.cell})
    refuse_several_cells(subject.rows)
    pairs = subject.measured.rows.pairs(entry, other)
    step = subject.measured.resolution(entry)
    values = tuple(one.number(subject.unit) - two.number(subject.unit) for one, two in pairs)
    if len(values) < MIN_REPLICATES:
        call_inconclusive(f"{len(values)} pairs; a mean and its spread need {MIN_REPLICATES}")
    scatter = Scatter(values=values, step=step)
    seen = scatter.sample
    reach = t_quantile(1 - ALPHA / 2, seen.count - 1) * seen.standard_error
    found = Interval(low=seen.mean - reach, high=seen.mean + reach)
    low = -math.inf if params.low is None else params.low
    high = math.inf if params.high is None else params.high
    text = f"95 % {wording.interval(found, subject.unit)}, {len(values)} pairs"
    inside = max(scatter.above(low), scatter.below(high))
    outside = min(scatter.above(high), scatter.below(low))
    return LawOutcome(
        holds=low < seen.mean < high,
        margin=min(found.low - low, high - found.high),
        measured=f"{wording.figure(seen.mean, subject.unit)} ({text})",
        text=f"against {wording.keys(params.cell)}, pair by pair",
        test=SignificanceTest(
            name=f"two-sided {scatter.test}",
            alpha=ALPHA,
            shown=min(1.0, 2 * inside),
            refuted=min(1.0, 2 * outside),
            sight=lambda alpha: sight_text(scatter, alpha / 2, subject.unit, "an end"),
        ),
    )
