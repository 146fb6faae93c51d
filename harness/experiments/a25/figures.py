"""Figures of a corpus and a comparison, published or own. Loads no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from harness.experiments.a25.baselines import RACERS, constants, drawing, race, truth
from harness.experiments.a25.corpus import Construction, Row, Split
from harness.experiments.a25.race import Answer, Heat, Latency, Pick, Spread, latency, rates, spread
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

    construction: Construction
    parts: Split
    asked: Sequence[Row] = ()

    @property
    def where(self) -> Where:
        """The row keys."""
        return {"construction": self.construction.value}


@dataclass(frozen=True, kw_only=True)
class Picks:
    """What some answers picked, beside the rows that were learned from."""

    where: Where
    answers: Sequence[Answer]
    parts: Split

    @cached_property
    def valid(self) -> list[Pick]:
        """The picks that the menu has."""
        return [answer.pick for answer in self.answers if answer.pick]

    @cached_property
    def spread(self) -> Spread:
        """How they are spread."""
        found = spread(self.valid)
        if found is None:
            raise Absent(_NONE_VALID)
        return found


@record
class Raced:
    """A model's answers on one construction."""

    construction: Construction
    racer: str
    heats: Sequence[Heat]
    parts: Split

    @property
    def where(self) -> Where:
        """The row keys."""
        return {"construction": self.construction.value, "racer": self.racer}

    @property
    def picks(self) -> Picks:
        """Its proposals."""
        answers = [answer for heat in self.heats for answer in heat.answers]
        return Picks(where=self.where, answers=answers, parts=self.parts)

    @property
    def seconds(self) -> list[float]:
        """How long somebody waited for its answers."""
        return [
            s for heat in self.heats for each in heat.answers if (s := each.latency_s) is not None
        ]


# --- how the valid picks are spread ---------------------------------------------------------------

PICKS: Figures[Picks] = Figures()
_picks = PICKS.each(lambda p: [(p.where, p)], keys="construction, racer")


@_picks.rows("picks.count", "count", "how often a model proposes", keys="pick")
def _(p: Picks) -> Iterator[api.Row]:
    if p.valid:
        yield from (({"pick": pair}, count) for pair, count in p.spread.picks.items())


_picks("picks.pairs", "count", "different picks", better=_HIGHER)(lambda p: p.spread.pairs)
_picks("picks.knobs", "count", "different knobs")(lambda p: p.spread.knobs)
_picks("picks.modal_share", "1", "share of the most frequent pick among the valid", better=_LOWER)(
    lambda p: Counted(p.spread.modal_share, len(p.valid))
)
_picks("picks.entropy", "bit", "of the distribution of the valid picks", better=_HIGHER)(
    lambda p: Counted(p.spread.entropy_bits, len(p.valid))
)


@_picks("picks.seen", "1", "share of the valid picks that training rows have")
def _(p: Picks) -> Value:
    if not p.valid:
        raise Absent(_NONE_VALID)
    known = {truth(row) for row in p.parts.train}
    return Counted(fmean(pick in known for pick in p.valid), len(p.valid))


# --- a corpus -------------------------------------------------------------------------------------

CORPUS: Figures[Split] = Figures()
_split = CORPUS.each(
    lambda parts: [({"split": "train"}, parts.train), ({"split": "test"}, parts.test)],
    keys="split",
)
_split("corpus.rows", "count", "rows")(len)
_split("corpus.keeps", "count", "of these, kept")(
    lambda rows: sum(row.decision is Decision.KEEP for row in rows)
)


@CORPUS.rows("corpus.picks", "count", "training rows with a pick", keys="pick")
def _(parts: Split) -> Iterator[api.Row]:
    counts = Counter(row.pair for row in parts.train)
    return (({"pick": pair}, count) for pair, count in counts.most_common())


@CORPUS.rows("corpus.kept_picks", "count", "kept training rows with a pick", keys="pick")
def _(parts: Split) -> Iterator[api.Row]:
    kept = Counter(row.pair for row in parts.train if row.decision is Decision.KEEP)
    counts = Counter(row.pair for row in parts.train)
    return (({"pick": pair}, kept[pair]) for pair, _ in counts.most_common())


def _truth(parts: Split) -> Picks:
    answers = [Answer(pick=truth(row)) for row in parts.test]
    return Picks(where={"racer": TRUTH}, answers=answers, parts=parts)


CORPUS.include(lambda parts: [({}, _truth(parts))], PICKS)


CONSTRUCTED: Figures[Constructed] = Figures()
_constructed = CONSTRUCTED.each(lambda c: [(c.where, c)], keys="construction")


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
_rates = RATES.each(lambda r: [(r.where, rates(r.heats))], keys="construction, racer")
_rates("race.valid", "1", "answers that are a change of the menu", better=_HIGHER)(
    lambda found: Counted(found.valid, found.answers)
)
_rates("race.knob", "1", "answers that change the knob that was changed", better=_HIGHER)(
    lambda found: Counted(found.knob, found.answers)
)
_rates("race.exact", "1", "answers that set it to the same value too", better=_HIGHER)(
    lambda found: Counted(found.exact, found.answers)
)

RACE: Figures[Raced] = Figures()
RACE.include(lambda r: [({}, r)], RATES)
RACE.include(lambda r: [({}, r.picks)], PICKS)
_race = RACE.each(lambda r: [(r.where, r.seconds)] if r.seconds else [], keys="construction, racer")


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
                construction=c.construction,
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
    "race.best_constant",
    "1",
    "exact rate of the best answer that is always the same",
    keys="construction",
    better=_HIGHER,
)
def _(c: Constructed) -> Iterator[api.Row]:
    best = max(rates(heats).exact for heats in constants(c.parts).values())
    yield c.where, Counted(best, len(c.parts.test))


@BASELINES.rows("race.knob")
def _(c: Constructed) -> Iterator[api.Row]:
    yield {**c.where, "racer": DRAWING}, drawing(c.parts)[0]


@BASELINES.rows("race.exact")
def _(c: Constructed) -> Iterator[api.Row]:
    yield {**c.where, "racer": DRAWING}, drawing(c.parts)[1]
