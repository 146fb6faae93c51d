"""Figures that a corpus and a race have wherever they come from. Loads no torch."""

from __future__ import annotations

from harness.workloads.api.declare import Better, Metric

_HIGHER, _LOWER = Better.HIGHER, Better.LOWER

CORPUS = (
    Metric(name="corpus.rows", unit="count", doc="rows; where: split"),
    Metric(name="corpus.keeps", unit="count", doc="of these, kept; where: split"),
    Metric(
        name="corpus.as_asked",
        unit="count",
        doc="rows whose question is the one that was asked; where: construction",
    ),
    Metric(
        name="corpus.unchanging",
        unit="count",
        doc="training rows whose question shows the value that they answer with; "
        "where: construction",
        better=_LOWER,
    ),
    Metric(name="corpus.picks", unit="count", doc="training rows with a pick; where: pick"),
    Metric(
        name="corpus.kept_picks", unit="count", doc="kept training rows with a pick; where: pick"
    ),
)

RACE = (
    Metric(
        name="race.valid",
        unit="1",
        doc="answers that are a change of the menu; where: construction, racer",
        better=_HIGHER,
    ),
    Metric(
        name="race.knob",
        unit="1",
        doc="answers that change the knob that was changed; where: construction, racer",
        better=_HIGHER,
    ),
    Metric(
        name="race.exact",
        unit="1",
        doc="answers that set it to the same value too; where: construction, racer",
        better=_HIGHER,
    ),
    Metric(
        name="race.best_constant",
        unit="1",
        doc="exact rate of the best answer that is always the same; where: construction",
        better=_HIGHER,
    ),
    Metric(
        name="picks.count",
        unit="count",
        doc="how often a racer picks; where: construction, racer, pick",
    ),
    Metric(
        name="picks.pairs",
        unit="count",
        doc="different picks; where: construction, racer",
        better=_HIGHER,
    ),
    Metric(name="picks.knobs", unit="count", doc="different knobs; where: construction, racer"),
    Metric(
        name="picks.modal_share",
        unit="1",
        doc="share of the most frequent pick among the valid; where: construction, racer",
        better=_LOWER,
    ),
    Metric(
        name="picks.entropy",
        unit="bit",
        doc="of the distribution of the valid picks; where: construction, racer",
        better=_HIGHER,
    ),
    Metric(
        name="picks.seen",
        unit="1",
        doc="share of the valid picks that training rows have; where: construction, racer",
    ),
    Metric(
        name="latency.mean",
        unit="s",
        doc="one answer; where: construction, racer",
        better=_LOWER,
        timing=True,
    ),
    Metric(
        name="latency.median",
        unit="s",
        doc="one answer; where: construction, racer",
        better=_LOWER,
        timing=True,
    ),
)
