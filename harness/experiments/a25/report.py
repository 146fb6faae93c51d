"""A corpus and a race as measurements. Loads no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean

from harness.experiments.a25.baselines import RACERS, constants, drawing, race, truth
from harness.experiments.a25.corpus import Construction, Row, Split
from harness.experiments.a25.race import Answer, Heat, latency, rates, spread
from harness.records import Scalar
from harness.workloads.api.emit import EventWriter
from harness.workloads.autoresearch.trajectory import Decision

TRUTH = "truth"  # what was answered in the held-out rows
DRAWING = "drawing"  # from the training rows' picks; expected, not drawn


def report_corpus(emit: EventWriter, parts: Split) -> None:
    """Report the sizes of the split, what its rows answer, and how the held-out ones spread."""
    for name, part in (("train", parts.train), ("test", parts.test)):
        emit.measured("corpus.rows", len(part), where={"split": name})
        keeps = sum(row.decision is Decision.KEEP for row in part)
        emit.measured("corpus.keeps", keeps, where={"split": name})
    kept = Counter(row.pair for row in parts.train if row.decision is Decision.KEEP)
    for pair, count in Counter(row.pair for row in parts.train).most_common():
        emit.measured("corpus.picks", count, where={"pick": pair})
        emit.measured("corpus.kept_picks", kept[pair], where={"pick": pair})
    _report_spread(emit, {"racer": TRUTH}, [Answer(pick=truth(row)) for row in parts.test], parts)


def report_construction(
    emit: EventWriter, construction: Construction, parts: Split, asked: Sequence[Row]
) -> None:
    """Report how true a construction's rows are to what was asked."""
    where = {"construction": construction.value}
    made = (*parts.train, *parts.test)
    same = sum(one.question == other.question for one, other in zip(made, asked, strict=True))
    emit.measured("corpus.as_asked", same, where=where)
    unchanging = sum(row.changes_nothing for row in parts.train)
    emit.measured("corpus.unchanging", unchanging, where=where)


def report_baselines(emit: EventWriter, construction: Construction, parts: Split) -> None:
    """Report the racers that learn next to nothing."""
    for name, racer in RACERS.items():
        report_rates(emit, _where(construction, name), race(racer, parts))
    always = {pair: rates(heats).exact for pair, heats in constants(parts).items()}
    best = max(always.values())
    within = {"construction": construction.value}
    emit.measured("race.best_constant", best, where=within, count=len(parts.test))
    knob, exact = drawing(parts)
    where = _where(construction, DRAWING)
    emit.measured("race.knob", knob, where=where)
    emit.measured("race.exact", exact, where=where)


def report_rates(emit: EventWriter, where: Mapping[str, Scalar], heats: Sequence[Heat]) -> None:
    """Report how much of what a racer answered can be read, and agrees with the truth."""
    found = rates(heats)
    for name in ("valid", "knob", "exact"):
        emit.measured(f"race.{name}", getattr(found, name), where=where, count=found.answers)


def report_race(
    emit: EventWriter,
    construction: Construction,
    racer: str,
    heats: Sequence[Heat],
    parts: Split,
) -> None:
    """Report one racer: its rates, what it picks and how long that took."""
    where = _where(construction, racer)
    report_rates(emit, where, heats)
    answers = [answer for heat in heats for answer in heat.answers]
    _report_spread(emit, where, answers, parts)
    if seconds := [each.latency_s for each in answers if each.latency_s is not None]:
        took = latency(seconds)
        emit.measured("latency.mean", took.mean, where=where, count=len(seconds))
        emit.measured("latency.median", took.median, where=where, count=len(seconds))


def _report_spread(
    emit: EventWriter, where: Mapping[str, Scalar], answers: Sequence[Answer], parts: Split
) -> None:
    valid = [answer.pick for answer in answers if answer.pick]
    found = spread(valid)
    if found is None:
        for name in ("pairs", "knobs", "modal_share", "entropy", "seen"):
            emit.measured(f"picks.{name}", None, where=where, absent="no valid answer")
        return
    for pair, count in found.picks.items():
        emit.measured("picks.count", count, where={**where, "pick": pair})
    emit.measured("picks.pairs", found.pairs, where=where)
    emit.measured("picks.knobs", found.knobs, where=where)
    emit.measured("picks.modal_share", found.modal_share, where=where, count=len(valid))
    emit.measured("picks.entropy", found.entropy_bits, where=where, count=len(valid))
    known = {truth(row) for row in parts.train}
    share = fmean(pick in known for pick in valid)
    emit.measured("picks.seen", share, where=where, count=len(valid))


def _where(construction: Construction, racer: str) -> dict[str, Scalar]:
    return {"construction": construction.value, "racer": racer}
