"""Parameters and metrics of article 35: the published runs, and the ablation. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from harness.experiments.a22.params import LOOP
from harness.records import record
from harness.workloads.api.declare import Better, Metric, Workload, param
from harness.workloads.autoresearch.params import SearchParams


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


@record
class AblationParams(SearchParams):
    """The same search with and without the record of past trials."""

    proposer: str = param("bandit", doc="who proposes", choices=("random", "bandit", "llm"))
    climbs: bool = param(True, doc="a keep is what later proposals change")
    accept_delta: float = param(0.0, doc="a keep improves by more than this", low=0.0, high=0.5)
    own_weights: bool = param(
        False,
        doc="each evaluation starts from weights of its own; else all of a loop from the same",
    )


# name -> unit, meaning, which direction is better, whether the clock decides it
ARM_FIGURES: Mapping[str, tuple[str, str, Better | None, bool]] = MappingProxyType(
    {
        "keeps": ("count", "better than what they changed", Better.HIGHER, False),
        "keeps_noise": ("count", "better by more than the noise", Better.HIGHER, False),
        "repeats": ("count", "candidates that were tried before", Better.LOWER, False),
        "refused": ("count", "refused by a rail", Better.LOWER, False),
        "overruns": ("count", "ended at their limit", Better.LOWER, False),
        "failures": ("count", "without a figure, the overruns among them", Better.LOWER, False),
        "gain": ("%", "the best against the baseline", Better.HIGHER, False),
        "parents": ("count", "trials that others were built on", None, False),
        "depth": ("count", "changes from the baseline to the deepest trial", None, False),
        "drought": ("count", "most trials in a row without a keep", Better.LOWER, False),
        "wall": ("s", "all iterations", None, True),
        "wasted": (
            "s",
            "iterations without a new figure: refused, failed or repeated",
            Better.LOWER,
            True,
        ),
        "wasted_share": ("%", "of the wall clock", Better.LOWER, True),
    }
)


def _arms(prefix: str, which: str) -> Iterator[Metric]:
    for name, (unit, doc, better, timing) in ARM_FIGURES.items():
        text = f"{doc}: {which}"
        yield Metric(name=f"{prefix}.{name}", unit=unit, doc=text, better=better, timing=timing)


ABLATION = Workload(
    name="autoresearch.ablation",
    doc="the same search with and without the record of past trials",
    params=AblationParams,
    metrics=(
        *_arms("shown", "of the search that is shown the record"),
        *_arms("hidden", "of the search that is not"),
        *_arms("effect", "shown minus hidden"),
        Metric(name="arm.lowest", unit="bit/token", doc="so far; where: record, iteration"),
        Metric(
            name="arm.depth",
            unit="count",
            doc="changes from the baseline to a trial; where: record, trial, label",
        ),
        *(
            each
            for each in LOOP.metrics
            if each.name in ("rails.cases", "rails.wrong", "rails.passing", "resume.missing")
            or each.name in ("noise.sd", "corpus.tokens")
        ),
    ),
    entry="harness.experiments.a35.ablation:run",
    requires=("torch",),
)

RELEASE_EVIDENCE = Workload(
    name="lineage.release_evidence",
    doc="recount the published runs of an auto-research system, and its ablation",
    params=ReleaseEvidenceParams,
    metrics=(*_OF_A_RUN, *_OF_THE_ABLATION),
    entry="harness.experiments.a35.evidence:run",
)

WORKLOADS = (RELEASE_EVIDENCE, ABLATION)
