"""What the recomputation of article 36 takes and reports. Loads no torch."""

from __future__ import annotations

from harness.records import record
from harness.workloads.api.declare import Better, Metric, Workload, param

_HIGHER, _LOWER = Better.HIGHER, Better.LOWER


@record
class EvidenceParams:
    """What article 36 is recounted from, and how it is simulated."""

    rows: str = param("a36/results.tsv", doc="the article's six rows")
    rendered: str = param("a36/lineage-rendered.txt", doc="the briefing made of them")
    draws: int = param(40_000, doc="rollouts of the simulation of variances", low=1000)


_TABLES = (
    Metric(
        name="paper.average",
        unit="%",
        doc="exact match weighted by questions; where: model, method, setting",
        better=_HIGHER,
    ),
    Metric(
        name="paper.mean_gain",
        unit="%",
        doc="A2TGPO - mean of six baselines, points; where: model (or all, or Qwen3), setting",
        better=_HIGHER,
    ),
    Metric(
        name="paper.gain",
        unit="%",
        doc="A2TGPO - GRPO, points; where: model, benchmark",
        better=_HIGHER,
    ),
    Metric(
        name="ablation.gain",
        unit="%",
        doc="a row of the ablation - the row above, points; where: row, setting",
        better=_HIGHER,
    ),
    Metric(name="clip_spread.best", unit="1", doc="beta of the best average; where: setting"),
    Metric(
        name="clip_spread.gap",
        unit="%",
        doc="beta 0 - the ablation's row without clip scales, points; where: setting",
    ),
)

_COSTS = (
    Metric(name="step.wall", unit="s", doc="sum of its parts; where: method", timing=True),
    Metric(name="step.overhead", unit="%", doc="A2TGPO's step over GRPO's", better=_LOWER),
    Metric(name="step.overhead_wall", unit="s", doc="A2TGPO's step - GRPO's", timing=True),
    Metric(name="campaign.steps", unit="step", doc="of the paper's curves"),
    Metric(name="campaign.hours", unit="h", doc="those steps on eight H20", timing=True),
    Metric(name="campaign.days", unit="d", doc="on a GB10; where: slowdown", timing=True),
    Metric(name="memory.kv_cache", unit="GB", doc="8 sequences of 8192 tokens; where: shape"),
    Metric(name="memory.index", unit="GB", doc="21 million e5 vectors; where: dtype"),
    Metric(
        name="memory.training",
        unit="GB",
        doc="Qwen3-4B's states, one sequence's activations; where: way",
    ),
)

_ROWS = (
    Metric(name="rows.count", unit="count", doc="rows"),
    Metric(name="rows.keeps", unit="count", doc="rows that are kept"),
    Metric(name="rows.best", unit="text", doc="the best row's id"),
    Metric(name="rows.chain", unit="text", doc="from the first row to the best"),
    Metric(name="rows.score", unit="%", doc="where: row; synthetic: nobody measured it"),
    Metric(name="rows.total_gain", unit="%", doc="best - first row, points; synthetic"),
    Metric(
        name="rows.beside_training",
        unit="count",
        doc="different times a row took beside its training; a measured file has one a row",
    ),
    Metric(name="rows.rendered", unit="flag", doc="rendered again, the briefing is the same"),
    Metric(
        name="rows.in_paper",
        unit="count",
        doc="figures of the paper that a row's score is equal to; where: row",
    ),
)

_METHOD = (
    Metric(name="worked.advantage", unit="1", doc="where: alpha, rollout, turn"),
    Metric(name="worked.clip_scale", unit="1", doc="where: rollout, turn"),
    Metric(name="worked.mode_gap", unit="1", doc="released turn-group - the paper's, largest"),
    Metric(name="clip.scale", unit="1", doc="where: score"),
    Metric(name="clip.highest_ratio", unit="1", doc="that an informative turn may reach"),
    Metric(name="variance.sum", unit="1", doc="of D, independent scores; where: turn"),
    Metric(name="variance.rescaled", unit="1", doc="of D / sqrt(n); where: turn"),
    Metric(
        name="turn_mean.largest",
        unit="1",
        doc="|mean of a turn's scores|, largest; where: normalisation",
        better=_LOWER,
    ),
)

EVIDENCE = Workload(
    name="search.a2tgpo_evidence",
    doc="recompute the tables, the arithmetic and the worked example of article 36",
    params=EvidenceParams,
    metrics=(*_TABLES, *_COSTS, *_ROWS, *_METHOD),
    entry="harness.experiments.a36.evidence:run",
)
