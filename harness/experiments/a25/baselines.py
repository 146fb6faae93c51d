"""Trivial baselines, which the article lacks. Loads no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from types import MappingProxyType

from harness.experiments.a25.corpus import IterationExample, TrainTestSplit
from harness.experiments.a25.race import PredictedChange, Prediction, RepeatedPredictions
from harness.workloads.autoresearch.trajectory import Decision

Racer = Callable[
    [Sequence[IterationExample], IterationExample], PredictedChange
]  # training rows, and the row whose question is asked

_LAST = 5  # trials that a question shows


def truth(row: IterationExample) -> PredictedChange:
    """Return what was answered."""
    return PredictedChange(knob=row.proposal.knob, value=row.proposal.new_value)


def frequent(train: Sequence[IterationExample], _: IterationExample) -> PredictedChange:
    """Return the pick that was given most often."""
    return _modal(train)


def frequent_keep(train: Sequence[IterationExample], _: IterationExample) -> PredictedChange:
    """Return the pick that was kept most often; where none was, the one given most often."""
    return _modal([row for row in train if row.decision is Decision.KEEP] or train)


def previous(_: Sequence[IterationExample], asked: IterationExample) -> PredictedChange:
    """Return the pick that was tried last before the question."""
    return _read(asked.past[-1])


def nearest(train: Sequence[IterationExample], asked: IterationExample) -> PredictedChange:
    """Return what was answered to the most similar question; to the latest of several.

    Similar are questions that show the same trials, and the same configuration.
    """
    return truth(max(train, key=lambda row: (_likeness(row, asked), row.iteration)))


RACERS: Mapping[str, Racer] = MappingProxyType(
    {
        "frequent": frequent,
        "frequent_keep": frequent_keep,
        "previous": previous,
        "nearest": nearest,
    }
)


def race(racer: Racer, parts: TrainTestSplit) -> tuple[RepeatedPredictions, ...]:
    """Return a racer's heats: one answer to each held-out question."""
    return tuple(
        RepeatedPredictions(
            iteration=row.iteration,
            truth=truth(row),
            predictions=(Prediction(change=racer(parts.train, row)),),
        )
        for row in parts.test
    )


def constants(parts: TrainTestSplit) -> dict[str, tuple[RepeatedPredictions, ...]]:
    """Return the heats of always answering alike, for every pick of the training rows."""
    picks = dict.fromkeys(truth(row) for row in parts.train)
    return {pick.pair: race(_always(pick), parts) for pick in picks}


def drawing(parts: TrainTestSplit) -> tuple[float, float]:
    """Return the knob and the exact rate expected of drawing from the training rows' picks."""
    total = len(parts.train)
    pairs = Counter(row.pair for row in parts.train)
    knobs = Counter(row.proposal.knob for row in parts.train)
    return (
        fmean(knobs[row.proposal.knob] / total for row in parts.test),
        fmean(pairs[row.pair] / total for row in parts.test),
    )


def _always(pick: PredictedChange) -> Racer:
    return lambda *_: pick


def _modal(train: Sequence[IterationExample]) -> PredictedChange:
    (pick, _), *_rest = Counter(truth(row) for row in train).most_common(1)
    return pick


def _likeness(one: IterationExample, other: IterationExample) -> float:
    shown = Counter(one.past[-_LAST:]) & Counter(other.past[-_LAST:])
    return shown.total() + (0.5 if one.cfg == other.cfg else 0.0)


def _read(pair: str) -> PredictedChange:
    knob, _, text = pair.partition("=")
    for kind in (int, float):
        try:
            return PredictedChange(knob=knob, value=kind(text))
        except ValueError:
            continue
    return PredictedChange(knob=knob, value=text)
