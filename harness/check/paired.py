"""A law over replicates: the mean difference between two cells, each pair of one run."""

from __future__ import annotations

import math
from collections.abc import Mapping

from harness.check import wording
from harness.check.finding import call_inconclusive
from harness.check.relations import LawOutcome, Subject
from harness.check.rows import refuse_several_cells
from harness.records import Scalar, record
from harness.scenario import expectations as ledger
from harness.statistics import ALPHA, Interval, sample, t_quantile
from harness.workloads.api.declare import param

_MIN_PAIRS = 3  # below it a spread says too little


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
    """Return whether the 95 % t interval of the mean lies within the ends, or wholly without.

    An interval that holds an end can tell neither.
    """
    entry = subject.entry
    other = ledger.Cell(metric=entry.metric, where={**entry.where, **params.cell})
    refuse_several_cells(subject.rows)
    pairs = subject.measured.rows.pairs(entry, other)
    seen = sample([one.number(subject.unit) - two.number(subject.unit) for one, two in pairs])
    if seen.count < _MIN_PAIRS:
        call_inconclusive(f"{seen.count} pairs; a mean and its spread need {_MIN_PAIRS}")
    reach = t_quantile(1 - ALPHA / 2, seen.count - 1) * seen.standard_error
    found = Interval(low=seen.mean - reach, high=seen.mean + reach)
    low = -math.inf if params.low is None else params.low
    high = math.inf if params.high is None else params.high
    margin = min(found.low - low, high - found.high)
    beyond = max(low - found.high, found.low - high)
    text = f"95 % {wording.interval(found, subject.unit)}, {seen.count} pairs"
    return LawOutcome(
        holds=True if margin > 0 else None if beyond <= 0 else False,
        margin=margin,
        measured=f"{wording.figure(seen.mean, subject.unit)} ({text})",
        text=f"against {wording.keys(params.cell)}, pair by pair",
    )
