"""Figures of a corpus and a comparison, published or own. Loads no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from harness.experiments.a25.baselines import RACERS, constants, drawing, race, truth
from harness.experiments.a25.corpus import IterationExample, PromptVersion, TrainTestSplit
from harness.experiments.a25.race import (
    Latency,
    PredictedChange,
    Prediction,
    PredictionSpread,
    RepeatedPredictions,
    latency,
    rates,
    spread,
)
from harness.records import record
from harness.workloads.api import figures as api
from harness.workloads.api.declare import Better
from harness.workloads.api.figures import Absent, Counted, Figures, Value, Where
from harness.workloads.autoresearch.trajectory import Decision

TRUTH = "truth"  # the answers in the held-out rows
DRAWING = "drawing"  # from the training rows' picks; expected, not drawn
_NONE_VALID = "no valid answer"
_HIGHER, _LOWER = Better.HIGHER, Better.LOWER


@record
class Constructed:
    """The rows of one construction, and those whose questions are the ones that were asked."""

    prompt_version: PromptVersion
    parts: TrainTestSplit
    asked: Sequence[IterationExample] = ()

    @property
    def where(self) -> Where:
        """The row keys."""
        return {"prompt_version": self.prompt_version.value}


@dataclass(frozen=True, kw_only=True)
class Picks:
    """What some answers proposed, and the training rows."""

    where: Where
    answers: Sequence[Prediction]
    parts: TrainTestSplit

    @cached_property
    def valid(self) -> list[PredictedChange]:
        """The picks that the menu has."""
        return [answer.change for answer in self.answers if answer.change]

    @cached_property
    def spread(self) -> PredictionSpread:
        """How they are spread."""
        found = spread(self.valid)
        if found is None:
            raise Absent(_NONE_VALID)
        return found


@record
class Raced:
    """A model's answers on one construction."""

    prompt_version: PromptVersion
    racer: str
    heats: Sequence[RepeatedPredictions]
    parts: TrainTestSplit

    @property
    def where(self) -> Where:
        """The row keys."""
        return {"prompt_version": self.prompt_version.value, "variant": self.racer}

    @property
    def picks(self) -> Picks:
        """What it picked."""
        answers = [answer for heat in self.heats for answer in heat.predictions]
        return Picks(where=self.where, answers=answers, parts=self.parts)

    @property
    def seconds(self) -> list[float]:
        """Latencies of its answers, seconds."""
        return [
            s
            for heat in self.heats
            for each in heat.predictions
            if (s := each.latency_s) is not None
        ]


# --- how the valid picks are spread ---------------------------------------------------------------

PICKS: Figures[Picks] = Figures()
_picks = PICKS.each(lambda p: [(p.where, p)], keys="prompt_version, variant")


@_picks.rows("predictions.count", "count", "how often a racer picks", keys="proposal")
def _(p: Picks) -> Iterator[api.Row]:
    if p.valid:
        yield from (({"proposal": pair}, count) for pair, count in p.spread.counts.items())


_picks("predictions.distinct", "count", "different picks", better=_HIGHER)(
    lambda p: p.spread.distinct
)
_picks("predictions.knobs", "count", "different knobs")(lambda p: p.spread.knobs)
_picks(
    "predictions.modal_share", "1", "share of the most frequent pick among the valid", better=_LOWER
)(lambda p: Counted(p.spread.modal_share, len(p.valid)))
_picks("predictions.entropy", "bit", "of the distribution of the valid picks", better=_HIGHER)(
    lambda p: Counted(p.spread.entropy_bits, len(p.valid))
)


@_picks("predictions.seen", "1", "share of the valid picks that training rows have")
def _(p: Picks) -> Value:
    if not p.valid:
        raise Absent(_NONE_VALID)
    known = {truth(row) for row in p.parts.train}
    return Counted(fmean(pick in known for pick in p.valid), len(p.valid))


# --- a corpus -------------------------------------------------------------------------------------

CORPUS: Figures[TrainTestSplit] = Figures()
_split = CORPUS.each(
    lambda parts: [({"split": "train"}, parts.train), ({"split": "test"}, parts.test)],
    keys="split",
)
_split("corpus.rows", "count", "rows")(len)
_split("corpus.accepted", "count", "of these, kept")(
    lambda rows: sum(row.decision is Decision.KEEP for row in rows)
)


@CORPUS.rows("corpus.proposals", "count", "training rows with a pick", keys="proposal")
def _(parts: TrainTestSplit) -> Iterator[api.Row]:
    counts = Counter(row.pair for row in parts.train)
    return (({"proposal": pair}, count) for pair, count in counts.most_common())


@CORPUS.rows(
    "corpus.accepted_proposals", "count", "kept training rows with a pick", keys="proposal"
)
def _(parts: TrainTestSplit) -> Iterator[api.Row]:
    kept = Counter(row.pair for row in parts.train if row.decision is Decision.KEEP)
    counts = Counter(row.pair for row in parts.train)
    return (({"proposal": pair}, kept[pair]) for pair, _ in counts.most_common())


def _truth(parts: TrainTestSplit) -> Picks:
    answers = [Prediction(change=truth(row)) for row in parts.test]
    return Picks(where={"variant": TRUTH}, answers=answers, parts=parts)


CORPUS.include(lambda parts: [({}, _truth(parts))], PICKS)


CONSTRUCTED: Figures[Constructed] = Figures()
_constructed = CONSTRUCTED.each(lambda c: [(c.where, c)], keys="prompt_version")


@_constructed("corpus.as_asked", "count", "rows whose question is the one that was asked")
def _(c: Constructed) -> int:
    made = (*c.parts.train, *c.parts.test)
    return sum(one.question == other.question for one, other in zip(made, c.asked, strict=True))


_constructed(
    "corpus.unchanging",
    "count",
    "training rows whose question shows the value that they answer with",
    better=_LOWER,
)(lambda c: sum(row.changes_nothing for row in c.parts.train))

# --- a race ---------------------------------------------------------------------------------------

RATES: Figures[Raced] = Figures()
_rates = RATES.each(lambda r: [(r.where, rates(r.heats))], keys="prompt_version, variant")
_rates("eval.valid_rate", "1", "answers that are a change of the menu", better=_HIGHER)(
    lambda found: Counted(found.valid, found.answers)
)
_rates("eval.knob_accuracy", "1", "answers that change the knob that was changed", better=_HIGHER)(
    lambda found: Counted(found.knob, found.answers)
)
_rates("eval.exact_match", "1", "answers that set it to the same value too", better=_HIGHER)(
    lambda found: Counted(found.exact, found.answers)
)

RACE: Figures[Raced] = Figures()
RACE.include(lambda r: [({}, r)], RATES)
RACE.include(lambda r: [({}, r.picks)], PICKS)
_race = RACE.each(
    lambda r: [(r.where, r.seconds)] if r.seconds else [], keys="prompt_version, variant"
)


def _latency(of: Callable[[Latency], float]) -> Callable[[Sequence[float]], Value]:
    return lambda seconds: Counted(of(latency(seconds)), len(seconds))


_race("latency.mean", "s", "one answer", better=_LOWER, timing=True)(_latency(lambda t: t.mean))
_race("latency.median", "s", "one answer", better=_LOWER, timing=True)(_latency(lambda t: t.median))

# trivial baselines
BASELINES: Figures[Constructed] = Figures()
BASELINES.include(
    lambda c: (
        (
            {},
            Raced(
                prompt_version=c.prompt_version,
                racer=name,
                heats=race(racer, c.parts),
                parts=c.parts,
            ),
        )
        for name, racer in RACERS.items()
    ),
    RATES,
)


@BASELINES.rows(
    "eval.best_constant",
    "1",
    "exact rate of the best answer that is always the same",
    keys="prompt_version",
    better=_HIGHER,
)
def _(c: Constructed) -> Iterator[api.Row]:
    best = max(rates(heats).exact for heats in constants(c.parts).values())
    yield c.where, Counted(best, len(c.parts.test))


@BASELINES.rows("eval.knob_accuracy")
def _(c: Constructed) -> Iterator[api.Row]:
    yield {**c.where, "variant": DRAWING}, drawing(c.parts)[0]


@BASELINES.rows("eval.exact_match")
def _(c: Constructed) -> Iterator[api.Row]:
    yield {**c.where, "variant": DRAWING}, drawing(c.parts)[1]
