"""Runs as trials of article 35's record: one row each, in a folder beside the stored runs.

A scenario whose report names a score has such a record. It is appended to and never rewritten, so
it also keeps what a store forgets: failed attempts, and runs of code that has changed since.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.plan.expand import Plan
from harness.records import FinishedRun, Status
from harness.results import store as results
from harness.workloads.trials.history import History
from harness.workloads.trials.store import TrialStore
from harness.workloads.trials.trial import Label, Trial

_ENDED = {
    Status.FAILED: Label.CRASH,
    Status.OUT_OF_MEMORY: Label.CRASH,
    Status.STALLED: Label.TRAIN_BUDGET_OVERRUN,
    Status.TIMED_OUT: Label.TRAIN_BUDGET_OVERRUN,
    Status.HOST_FAILED: Label.HARNESS_ABORT,
    Status.INTERRUPTED: Label.HARNESS_ABORT,
}


def write_trials(plan: Plan, store: results.RunStore, score: str) -> None:
    """Append every execution of a plan that the record does not hold yet.

    Args:
        plan: the runs.
        store: where they are stored, and the record beside them.
        score: the metric that trials are compared by, of which more is better.

    Raises:
        InputError: the file is not such a record.
    """
    folder = store.root / plan.scenario / f"{plan.profile}.lineage"
    folder.mkdir(exist_ok=True)
    lineage = TrialStore(folder / "results.tsv")  # named as the author's library names it
    for name, run, root in _unrecorded(plan, store, lineage.history()):
        lineage.append(_trial(name, run, root, score, lineage.history()))


def _unrecorded(
    plan: Plan, store: results.RunStore, history: History
) -> Iterator[tuple[str, FinishedRun, str]]:
    """Yield the id of each new trial, its run, and its replicate's first finished run's id."""
    roots: dict[int, str] = {}
    failures = store.failures_of(plan.runs)
    for spec in plan.runs:
        root = roots.get(spec.replicate, "")
        for number, failed in enumerate(failures.get(spec.run_id, []), start=1):
            if history.get(name := f"{spec.run_id}.failed-{number}") is None:
                yield name, failed, root
        if store.has(spec):
            roots.setdefault(spec.replicate, spec.run_id)
            if history.get(spec.run_id) is None:
                yield spec.run_id, store.load(spec), root


def _trial(name: str, run: FinishedRun, root: str, score: str, history: History) -> Trial:
    best, value = history.best(), _value(run, score)
    before = history.layout.score_of(best) if best is not None else None
    outcome = run.outcome
    return Trial(
        exp_id=name,
        timestamp=outcome.started_at,
        specialist=run.spec.workload,
        parent_exp=root,
        baseline_exp=best.exp_id if best is not None else "",
        domain=" ".join(run.spec.axes),
        hypothesis=run.spec.label,
        status=_label(run, value, before, is_root=not root),
        core_metric=value,
        delta_vs_best=value - before if value is not None and before is not None else None,
        total_s=outcome.usage.wall_s,
        job_name=f"{run.spec.scenario} {run.spec.profile}",
        notes="; ".join(filter(None, (f"seed {run.spec.seed}", f"score {score}", outcome.cause))),
    )


def _label(run: FinishedRun, value: float | None, before: float | None, *, is_root: bool) -> Label:
    if run.outcome.status is not Status.FINISHED:
        return _ENDED[run.outcome.status]
    if is_root:
        return Label.BASELINE
    return Label.KEEP if value is not None and (before is None or value > before) else Label.DISCARD


def _value(run: FinishedRun, score: str) -> float | None:
    """Return the score of a whole run, that is the one of no row."""
    for each in run.measurements:
        if each.metric == score and not each.where and isinstance(each.value, int | float):
            return float(each.value)
    return None
