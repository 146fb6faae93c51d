"""Trivial baselines, which the article lacks. Loads no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from types import MappingProxyType

from harness.experiments.a25.corpus import Row, Split
from harness.experiments.a25.race import Answer, Heat, Pick
from harness.workloads.autoresearch.trajectory import Decision

Racer = Callable[[Sequence[Row], Row], Pick]  # training rows, and the row whose question is asked

_LAST = 5  # trials that a question shows


def truth(row: Row) -> Pick:
    """Return the answers."""
    return Pick(knob=row.proposal.knob, value=row.proposal.new_value)


def frequent(train: Sequence[Row], _: Row) -> Pick:
    """Return the pick that was given most often."""
    return _modal(train)


def frequent_keep(train: Sequence[Row], _: Row) -> Pick:
    """Return the pick that was kept most often; where none was, the one given most often."""
    return _modal([row for row in train if row.decision is Decision.KEEP] or train)


def previous(_: Sequence[Row], asked: Row) -> Pick:
    """Return the pick that was tried last before the question."""
    return _read(asked.past[-1])


def nearest(train: Sequence[Row], asked: Row) -> Pick:
    """Return the answer to the most similar question; to the latest of several.

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


def race(racer: Racer, parts: Split) -> tuple[Heat, ...]:
    """Return a baseline's answers: one to each held-out question."""
    return tuple(
        Heat(
            iteration=row.iteration,
            truth=truth(row),
            answers=(Answer(pick=racer(parts.train, row)),),
        )
        for row in parts.test
    )


def constants(parts: Split) -> dict[str, tuple[Heat, ...]]:
    """Return the heats of always answering alike, for every pick of the training rows."""
    picks = dict.fromkeys(truth(row) for row in parts.train)
    return {pick.pair: race(_always(pick), parts) for pick in picks}


def drawing(parts: Split) -> tuple[float, float]:
    """Return the knob and the exact rate expected of drawing from the training rows' picks."""
    total = len(parts.train)
    pairs = Counter(row.pair for row in parts.train)
    knobs = Counter(row.proposal.knob for row in parts.train)
    return (
        fmean(knobs[row.proposal.knob] / total for row in parts.test),
        fmean(pairs[row.pair] / total for row in parts.test),
    )


def _always(pick: Pick) -> Racer:
    return lambda *_: pick


def _modal(train: Sequence[Row]) -> Pick:
    (pick, _), *_rest = Counter(truth(row) for row in train).most_common(1)
    return pick


def _likeness(one: Row, other: Row) -> float:
    shown = Counter(one.past[-_LAST:]) & Counter(other.past[-_LAST:])
    return shown.total() + (0.5 if one.cfg == other.cfg else 0.0)


def _read(pair: str) -> Pick:
    knob, _, text = pair.partition("=")
    for kind in (int, float):
        try:
            return Pick(knob=knob, value=kind(text))
        except ValueError:
            continue
    return Pick(knob=knob, value=text)
