"""What the workload of this room takes and reports. Loads nothing beyond the standard library."""

from __future__ import annotations

from harness.records import record
from harness.workloads.declare import Better, Metric, Workload, param


@record
class ReleaseEvidenceParams:
    """What the published runs are recounted with."""

    shown: str = param("a35/pg_ablation_lineage_on", doc="run whose proposers see past trials")
    hidden: str = param("a35/pg_ablation_lineage_off", doc="the same without")
    others: tuple[str, ...] = param(
        ("a35/pg_main", "a35/pg_variant_single_agent"), doc="further runs to recount"
    )
    head: int = param(200, doc="first trials that are also counted alone", unit="count", low=1)
    window: int = param(50, doc="trials of one window", unit="count", low=1)
    train_cap_s: float = param(600.0, doc="budget of a training", unit="s", low=1.0)
    eval_cap_s: float = param(600.0, doc="budget of an evaluation", unit="s", low=1.0)


def _metrics(unit: str, *rows: tuple[str, str], better: Better | None = None) -> tuple[Metric, ...]:
    return tuple(Metric(name=name, unit=unit, doc=doc, better=better) for name, doc in rows)


_OF_A_RUN = (
    *_metrics(
        "count",
        ("run.rows", "rows of results.tsv; where: run"),
        ("run.trials", "rows that are no baseline; where: run"),
        ("run.columns", "columns of results.tsv; where: run"),
        ("run.damaged", "damaged rows; where: run, repair"),
        ("run.prefixed_parents", "parents written exp_NNN; where: run"),
        ("run.undamaged_keeps", "keeps that stand in whole rows; where: run"),
        ("label.count", "trials; where: run, label"),
        ("head.count", "the same among the first trials; where: run, label"),
        ("window.count", "the same of one window; where: run, first, label"),
        ("role.count", "trials; where: run, role, label"),
        ("roles.active", "roles with a trial; where: run"),
        ("roles.keeping", "roles with a keep; where: run"),
        ("parents.count", "distinct parents that are no baseline; where: run"),
        ("edges.count", "trials built on a trial that is no baseline; where: run, of"),
        ("edges.crossing", "of those, between two roles; where: run, of"),
        ("chain.trials", "trials from the root to the best, both counted; where: run"),
        ("chain.roles", "distinct roles behind the root; where: run"),
        ("tree.depth", "edges from a root to the deepest trial; where: run"),
        ("tree.recorded_depth", "the same in tree.tsv; where: run"),
        ("drought.longest", "most trials in a row without a keep; where: run"),
        ("hour.trials", "trials of a mean hour between the first and the last; where: run"),
        ("overrun.scored", "evaluations over budget that have a score; where: run"),
        ("overrun.would_keep", "of those, better than all before; where: run"),
        ("valid.over_cap", "keeps and discards over budget in evaluation; where: run"),
        ("size_blocked.trained", "size-blocked trials that trained to the cap; where: run"),
        ("forecast.compared", "valid trials with a forecast and a difference; where: run"),
        ("forecast.right", "of those, forecasts of the right sign; where: run"),
    ),
    *_metrics(
        "text",
        ("best.trial", "id of the best baseline or keep; where: run"),
        ("best.recorded", "the id in best.json; where: run"),
        ("unguarded.trial", "id of the best of all rows with a score; where: run"),
        ("unguarded.label", "its label; where: run"),
        ("chain.path", "ids from the root to the best; where: run"),
        ("overrun.would_keep_trials", "ids; where: run"),
        ("keep.role", "who proposed it; where: run, trial"),
        ("keep.parent", "what it was built on; where: run, trial"),
    ),
    *_metrics(  # a score is in its task's own unit: bits per byte, CORE or seconds
        "1",
        ("start.score", "of the baseline; where: run"),
        ("best.score", "of the best baseline or keep; where: run"),
        ("unguarded.score", "of the best of all rows with a score; where: run"),
        ("head.best", "of the best among the first trials; where: run"),
        ("keep.score", "where: run, trial"),
        ("keep.delta", "against the best at its submission; where: run, trial"),
    ),
    *_metrics(
        "%",
        ("best.gain", "(best - baseline) / baseline; where: run"),
        ("keep.share", "keeps; where: run, per (trials, or rows with the baseline)"),
        ("valid.share", "keeps and discards; where: run, per"),
        ("overrun.share", "evaluations over budget; where: run, per"),
        ("overrun.overshoot", "median evaluation over budget / budget - 1; where: run"),
        ("lost.share", "of the wall clock, on trials without a valid score; where: run"),
    ),
    *_metrics(
        "h",
        ("wall.total", "sum of the trials; where: run"),
        ("wall.label", "sum of the trials; where: run, label"),
        ("lost.wall", "on evaluations over budget, size blocks and crashes; where: run"),
    ),
    *_metrics(
        "s",
        ("trial.wall", "median; where: run, label"),
        ("valid.eval_time", "median evaluation of keeps and discards; where: run"),
        ("overrun.eval_time", "evaluations over budget; where: run, statistic"),
    ),
    *_metrics("B", ("notes.size", "all notes as UTF-8; where: run")),
)

_OF_THE_ABLATION = (
    *_metrics(
        "x",
        ("keeps.ratio", "shown / hidden"),
        ("valid.ratio", "keeps and discards, shown / hidden"),
        better=Better.HIGHER,
    ),
    *_metrics(
        "x",
        ("overruns.ratio", "evaluations over budget, hidden / shown"),
        ("overruns.wall_ratio", "their wall clock, hidden / shown"),
        ("lost.ratio", "wall clock on trials without a valid score, hidden / shown"),
    ),
    *_metrics(
        "1",
        ("best.gap", "score of the best, hidden - shown"),
        ("fisher.keeps_p", "exact two-sided p of the keeps"),
        ("fisher.overruns_p", "exact two-sided p of the evaluations over budget"),
    ),
)

WORKLOADS = (
    Workload(
        name="lineage.release_evidence",
        doc="recount the published runs of an auto-research system, and its ablation",
        params=ReleaseEvidenceParams,
        metrics=(*_OF_A_RUN, *_OF_THE_ABLATION),
        entry="harness.workloads.lineage.evidence:run",
    ),
)
