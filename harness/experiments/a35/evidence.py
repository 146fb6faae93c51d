"""Workload ``lineage.release_evidence``: published runs of an auto-research system, recomputed.

Every figure of article 35 that the runs' own files can settle, whatever the article prints for it.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.errors import InputError, Problem
from harness.experiments.a35.release import Repair, Run, read_run
from harness.records import record
from harness.statistics import Proportion, fisher_exact
from harness.workloads.api.context import Context
from harness.workloads.api.declare import Better, Workload, param
from harness.workloads.api.figures import Figures, Row
from harness.workloads.trials import recount
from harness.workloads.trials.history import History
from harness.workloads.trials.recount import VALID
from harness.workloads.trials.trial import Label, Trial

_FILES = ("results.tsv", "tree.tsv", "best.json")
_OVERRUN = Label.EVAL_BUDGET_OVERRUN
_HOUR_S = 3600.0


@record
class ReleaseEvidenceParams:
    """Inputs of the recomputation."""

    with_lineage: str = param(
        "a35/pg_ablation_lineage_on", doc="run whose proposers see past trials"
    )
    without_lineage: str = param("a35/pg_ablation_lineage_off", doc="the same without")
    others: tuple[str, ...] = param(
        ("a35/pg_main", "a35/pg_variant_single_agent"), doc="further runs to recompute"
    )
    head: int = param(200, doc="first trials that are also counted separately", unit="count", low=1)
    window: int = param(50, doc="trials of one window", unit="count", low=1)
    train_cap_s: float = param(600.0, doc="budget of a training", unit="s", low=1.0)
    eval_cap_s: float = param(600.0, doc="budget of an evaluation", unit="s", low=1.0)


@dataclass(frozen=True, kw_only=True)
class Recount:
    """A published run, and the data of its figures."""

    run: Run
    params: ReleaseEvidenceParams

    @property
    def history(self) -> History:
        """Its trials, mended."""
        return self.run.history

    @cached_property
    def trials(self) -> list[Trial]:
        """All trials except baselines."""
        return recount.proposed(self.history)

    def of(self, *labels: Label) -> list[Trial]:
        """Return the trials with one of the labels."""
        return recount.of(self.trials, *labels)

    def score(self, trial: Trial | None) -> float | None:
        """Return a trial's score, in its task's unit."""
        return None if trial is None else self.history.layout.score_of(trial)

    @property
    def start_score(self) -> float | None:
        """Of the baseline."""
        trials = self.history.trials
        return self.score(next((t for t in trials if t.status is Label.BASELINE), None))

    @property
    def repairs(self) -> Counter[Repair]:
        """How the damaged rows were treated."""
        return Counter(repair for _, _, repair in self.run.damaged)

    @cached_property
    def by_role(self) -> Counter[tuple[str, Label]]:
        """Trials by role and label."""
        return Counter((trial.specialist, trial.status) for trial in self.trials)

    @cached_property
    def chain(self) -> list[Trial]:
        """From the root to the best."""
        best = self.history.best()
        return self.history.chain(best) if best else []

    @property
    def edges(self) -> Iterator[tuple[str, list[tuple[Trial, Trial]]]]:
        """Parents with their children: all, and those whose children were kept."""
        edges = self.history.edges()
        yield "trials", edges
        yield "accepted", [(parent, child) for parent, child in edges if child.status is Label.KEEP]

    @cached_property
    def overruns_s(self) -> Sequence[float]:
        """How long evaluations over budget took."""
        return recount.figures(self.of(_OVERRUN), "eval_s")

    @cached_property
    def valid_s(self) -> Sequence[float]:
        """How long the evaluations of keeps and discards took."""
        return recount.figures(self.of(*VALID), "eval_s")

    @property
    def lost_s(self) -> float:
        """The wall clock of trials without a valid score."""
        return recount.wall_s(self.of(*recount.LOST))

    def shares(self, *labels: Label) -> Iterator[Row]:
        """Yield the share of the trials with one of the labels, of the trials and of all rows."""
        count = len(self.of(*labels))
        yield {"denominator": "trials"}, _percent(count, len(self.trials))
        yield {"denominator": "rows"}, _percent(count, len(self.history.trials))


@record
class PublishedRuns:
    """The published runs; the first two are those of the ablation."""

    runs: tuple[Recount, ...]

    def arms(self, *labels: Label) -> tuple[list[Trial], list[Trial]]:
        """Return the ablation's trials with one of the labels, shown the record and not."""
        shown, hidden, *_ = self.runs
        return shown.of(*labels), hidden.of(*labels)

    def p_value(self, label: Label) -> float | None:
        """Return the exact two-sided p of as many trials with a label in both arms."""
        shown, hidden, *_ = self.runs
        if not (shown.trials and hidden.trials):
            return None
        return fisher_exact(
            *(Proportion(successes=len(r.of(label)), trials=len(r.trials)) for r in (shown, hidden))
        )


def _ratio(one: float, other: float) -> float | None:
    return one / other if other else None


def _percent(part: float, whole: float) -> float | None:
    return 100 * part / whole if whole else None


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


figure: Figures[PublishedRuns] = Figures(absent="a count is zero")
of_run = figure.each(
    lambda p: (({"run": r.run.name}, r) for r in p.runs), keys="run", absent="no trial has it"
)

# --- the files ------------------------------------------------------------------------------------

of_run("run.rows", "count", "rows of results.tsv")(
    lambda r: len(r.history.trials) + r.repairs[Repair.NONE]
)
of_run("run.trials", "count", "rows that are not baselines")(lambda r: len(r.trials))
of_run("run.columns", "count", "columns of results.tsv")(lambda r: len(r.history.layout.columns))
of_run.rows("run.damaged", "count", "damaged rows", keys="repair")(
    lambda r: (({"repair": repair.value}, r.repairs[repair]) for repair in Repair)
)
of_run("run.prefixed_parents", "count", "parents written exp_NNN")(lambda r: r.run.num_prefixed)


@of_run("run.undamaged_accepted", "count", "keeps that stand in whole rows")
def _(r: Recount) -> int:
    damaged = {exp_id for _, exp_id, _ in r.run.damaged}
    return sum(keep.exp_id not in damaged for keep in r.of(Label.KEEP))


of_run("notes.size", "B", "all notes as UTF-8")(
    lambda r: sum(len(trial.notes.encode(errors="surrogatepass")) for trial in r.history.trials)
)

# --- labels and roles -----------------------------------------------------------------------------

_LABELS = tuple(label for label in Label if label is not Label.BASELINE)
of_run.rows("label.count", "count", "trials", keys="label")(
    lambda r: (({"label": label.value}, len(r.of(label))) for label in _LABELS)
)


@of_run.rows("head.count", "count", "the same among the first trials", keys="label")
def _(r: Recount) -> Iterator[Row]:
    head = r.trials[: r.params.head]
    return (({"label": label.value}, len(recount.of(head, label))) for label in _LABELS)


@of_run.rows("window.count", "count", "the same of one window", keys="first, label")
def _(r: Recount) -> Iterator[Row]:
    for first, part in recount.windows(r.trials, r.params.window):
        for label in _LABELS:
            yield {"first": first, "label": label.value}, len(recount.of(part, label))


of_run.rows("accepted.share", "%", "keeps", keys="denominator (trials, or rows with the baseline)")(
    lambda r: r.shares(Label.KEEP)
)
of_run.rows("valid.share", "%", "keeps and discards", keys="denominator")(
    lambda r: r.shares(*VALID)
)
of_run.rows("overrun.share", "%", "evaluations over budget", keys="denominator")(
    lambda r: r.shares(_OVERRUN)
)


@of_run.rows("role.count", "count", "trials", keys="role, label")
def _(r: Recount) -> Iterator[Row]:
    for role in sorted({role for role, _ in r.by_role}):
        for label in sorted({label for _, label in r.by_role}):
            yield {"role": role, "label": label.value}, r.by_role[role, label]


of_run("roles.active", "count", "roles with a trial")(
    lambda r: len({role for role, _ in r.by_role})
)
of_run("roles.with_accepted", "count", "roles with a keep")(
    lambda r: len({role for role, label in r.by_role if label is Label.KEEP})
)

# --- the best, with the guard of the labels and without -------------------------------------------

of_run("start.score", "1", "of the baseline")(lambda r: r.start_score)
of_run("best.trial", "text", "id of the best baseline or keep")(
    lambda r: best.exp_id if (best := r.history.best()) else None
)
of_run("best.recorded", "text", "the id in best.json")(lambda r: r.run.recorded_best)
of_run("best.score", "1", "of the best baseline or keep")(lambda r: r.score(r.history.best()))


@of_run("best.gain", "%", "(best - baseline) / baseline")
def _(r: Recount) -> float | None:
    before, after = r.start_score, r.score(r.history.best())
    return _percent(after - before, before) if after and before else None


of_run("head.best", "1", "of the best among the first trials")(
    lambda r: r.score(History(r.history.layout, r.history.trials[: r.params.head + 1]).best())
)
of_run("unguarded.trial", "text", "id of the best of all rows with a score")(
    lambda r: best.exp_id if (best := recount.without_guard(r.history)) else None
)
of_run("unguarded.label", "text", "its label")(
    lambda r: best.status.value if (best := recount.without_guard(r.history)) else None
)
of_run("unguarded.score", "1", "of the best of all rows with a score")(
    lambda r: r.score(recount.without_guard(r.history))
)
keep = of_run.each(
    lambda r: (({"trial": keep.exp_id}, (r, keep)) for keep in r.of(Label.KEEP)), keys="trial"
)
keep("accepted.score", "1")(lambda k: k[0].score(k[1]))
keep("accepted.delta", "1", "against the best at its submission")(lambda k: k[1].delta_vs_best)
keep("accepted.role", "text", "who proposed it")(lambda k: k[1].specialist)
keep("accepted.parent", "text", "what it was built on")(lambda k: k[1].parent_exp)

# --- what was built on what -----------------------------------------------------------------------

of_run("parents.count", "count", "distinct parents that are not baselines")(
    lambda r: len({parent.exp_id for parent, _ in r.history.edges()})
)
of_run.rows("edges.count", "count", "trials built on a trial that is no baseline", keys="subset")(
    lambda r: (({"subset": of}, len(edges)) for of, edges in r.edges)
)
of_run.rows("edges.crossing", "count", "of those, between two roles", keys="subset")(
    lambda r: (
        ({"subset": of}, sum(p.specialist != c.specialist for p, c in edges))
        for of, edges in r.edges
    )
)
of_run("chain.trials", "count", "trials from the root to the best, both counted")(
    lambda r: len(r.chain)
)
of_run("chain.roles", "count", "distinct roles behind the root")(
    lambda r: len({trial.specialist for trial in r.chain[1:]})
)
of_run("chain.path", "text", "ids from the root to the best")(
    lambda r: " ".join(trial.exp_id for trial in r.chain)
)
of_run("tree.depth", "count", "edges from a root to the deepest trial")(
    lambda r: max((len(r.history.chain(trial)) - 1 for trial in r.history.trials), default=0)
)
of_run("tree.recorded_depth", "count", "the same in tree.tsv")(lambda r: r.run.recorded_depth)
of_run("trials_without_improvement.max", "count", "most trials in a row without a keep")(
    lambda r: recount.longest_drought(r.trials)
)

# --- time -----------------------------------------------------------------------------------------

of_run("hour.trials", "count", "trials of a mean hour between the first and the last")(
    lambda r: recount.hourly(r.trials)
)
of_run("time.total", "h", "sum of the trials")(lambda r: recount.wall_s(r.trials) / _HOUR_S)
of_run("lost.time", "h", "on evaluations over budget, size blocks and crashes")(
    lambda r: r.lost_s / _HOUR_S
)
of_run("lost.share", "%", "of the wall clock, on trials without a valid score")(
    lambda r: _percent(r.lost_s, recount.wall_s(r.trials))
)
labelled = of_run.each(
    lambda r: (
        ({"label": label.value}, recount.figures(r.of(label), "total_s"))
        for label in sorted({trial.status for trial in r.trials})
    ),
    keys="label",
)
labelled("time.label", "h", "sum of the trials")(
    lambda times_s: sum(times_s) / _HOUR_S if times_s else None
)
labelled("trial.time", "s", "median")(_median)

# --- evaluations over budget, size blocks, forecasts ----------------------------------------------

of_run("overrun.scored", "count", "evaluations over budget that have a score")(
    lambda r: sum(r.score(each) is not None for each in r.of(_OVERRUN))
)
of_run("overrun.would_be_accepted", "count", "of those, better than all before")(
    lambda r: len(recount.would_have_been_keeps(r.history))
)
of_run("overrun.would_be_accepted_trials", "text", "ids")(
    lambda r: " ".join(each.exp_id for each in recount.would_have_been_keeps(r.history))
)


@of_run.rows("overrun.eval_time", "s", "evaluations over budget", keys="statistic")
def _(r: Recount) -> Iterator[Row]:
    yield {"statistic": "min"}, min(r.overruns_s, default=None)
    yield {"statistic": "median"}, _median(r.overruns_s)
    yield {"statistic": "max"}, max(r.overruns_s, default=None)


@of_run("overrun.overshoot", "%", "median evaluation over budget / budget - 1")
def _(r: Recount) -> float | None:
    median_s = _median(r.overruns_s)
    over_s = None if median_s is None else median_s - r.params.eval_cap_s
    return over_s and _percent(over_s, r.params.eval_cap_s)


of_run("valid.eval_time", "s", "median evaluation of keeps and discards")(
    lambda r: _median(r.valid_s)
)
of_run("valid.over_cap", "count", "keeps and discards over budget in evaluation")(
    lambda r: sum(each > r.params.eval_cap_s for each in r.valid_s)
)


@of_run("size_blocked.trained", "count", "size-blocked trials that trained to the cap")
def _(r: Recount) -> int:
    trained_s = recount.figures(r.of(Label.SIZE_BLOCKED), "train_s")
    return sum(each >= r.params.train_cap_s for each in trained_s)


forecasts = of_run.of(lambda r: recount.forecasts(r.trials))
forecasts("forecast.right", "count", "of those, forecasts of the right sign")(lambda f: f[0])
forecasts("forecast.compared", "count", "valid trials with a forecast and a difference")(
    lambda f: f[1]
)

# --- what showing past trials changed -------------------------------------------------------------


@figure("accepted.ratio", "x", "shown / hidden", better=Better.HIGHER)
def _(p: PublishedRuns) -> float | None:
    shown, hidden = p.arms(Label.KEEP)
    return _ratio(len(shown), len(hidden))


@figure("valid.ratio", "x", "keeps and discards, shown / hidden", better=Better.HIGHER)
def _(p: PublishedRuns) -> float | None:
    shown, hidden = p.arms(*VALID)
    return _ratio(len(shown), len(hidden))


@figure("overruns.ratio", "x", "evaluations over budget, hidden / shown")
def _(p: PublishedRuns) -> float | None:
    shown, hidden = p.arms(_OVERRUN)
    return _ratio(len(hidden), len(shown))


@figure("overruns.time_ratio", "x", "their wall clock, hidden / shown")
def _(p: PublishedRuns) -> float | None:
    shown, hidden = p.arms(_OVERRUN)
    return _ratio(recount.wall_s(hidden), recount.wall_s(shown))


@figure("lost.ratio", "x", "wall clock on trials without a valid score, hidden / shown")
def _(p: PublishedRuns) -> float | None:
    shown, hidden, *_ = p.runs
    return _ratio(hidden.lost_s, shown.lost_s)


@figure("best.gap", "1", "score of the best, hidden - shown")
def _(p: PublishedRuns) -> float | None:
    shown, hidden = (each.score(each.history.best()) for each in p.runs[:2])
    return None if shown is None or hidden is None else hidden - shown


figure("fisher.accepted_p", "1", "exact two-sided p of the keeps")(lambda p: p.p_value(Label.KEEP))
figure("fisher.overruns_p", "1", "exact two-sided p of the evaluations over budget")(
    lambda p: p.p_value(_OVERRUN)
)

# --------------------------------------------------------------------------------------------------


def run(context: Context) -> None:
    """Recompute the figures of each run, then of the ablation.

    Raises:
        InputError: a run is not of the published form, or two have the same folder name.
    """
    params: ReleaseEvidenceParams = context.params
    folders = (params.with_lineage, params.without_lineage, *params.others)
    runs = tuple(Recount(run=_read(context, each), params=params) for each in folders)
    if len({each.run.name for each in runs}) < len(runs):
        names = ", ".join(each.run.name for each in runs)
        raise InputError([Problem(message="two runs have one name", key="others", value=names)])
    context.emit.started("no device: published files")
    for each in runs:
        for note in each.run.notes:
            context.emit.note(f"{each.run.name}: {note}")
    figure.report(context.emit, PublishedRuns(runs=runs))


def _read(context: Context, folder: str) -> Run:
    results, *_ = (context.evidence(f"{folder}/{name}") for name in _FILES)
    return read_run(results.parent)


RELEASE_EVIDENCE = Workload(
    name="lineage.release_evidence",
    doc="recompute the published runs of an auto-research system, and its ablation",
    params=ReleaseEvidenceParams,
    metrics=figure.metrics,
    entry="harness.experiments.a35.evidence:run",
)

WORKLOADS = (RELEASE_EVIDENCE,)
