"""Runs as trials of article 35's record: one row each, in a folder beside the stored runs.

A scenario whose report names a score has such a record. It is appended to and never rewritten, so
it also keeps what a store forgets: failed attempts, and runs of code that has changed since.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.plan.expand import Plan
from harness.records import Finished, Status
from harness.results import store as results
from harness.workloads.lineage.history import History
from harness.workloads.lineage.store import Store
from harness.workloads.lineage.trial import Label, Trial

_ENDED = {
    Status.FAILED: Label.CRASH,
    Status.OUT_OF_MEMORY: Label.CRASH,
    Status.TIMED_OUT: Label.TRAIN_BUDGET_OVERRUN,
    Status.HOST_FAILED: Label.HARNESS_ABORT,
    Status.INTERRUPTED: Label.HARNESS_ABORT,
}


def write_trials(plan: Plan, store: results.Store, score: str) -> None:
    """Append every execution of a plan that the record does not hold yet.

    Args:
        plan: the runs.
        store: where they are stored, and the record beside them.
        score: the metric that trials are compared by, of which more is better.

    Raises:
        InputError: the file is no such record.
    """
    folder = store.root / plan.scenario / f"{plan.profile}.lineage"
    folder.mkdir(exist_ok=True)
    lineage = Store(folder / "results.tsv")  # named as the author's library names it
    for name, run, root in _executions(plan, store):
        history = lineage.history()
        if history.get(name) is None:
            lineage.append(_trial(name, run, root, score, history))


def _executions(plan: Plan, store: results.Store) -> Iterator[tuple[str, Finished, str]]:
    """Yield the id of each trial, its run, and the id of its replicate's first finished run."""
    roots: dict[int, str] = {}
    for spec in plan.runs:
        for number, failed in enumerate(store.failures(spec), start=1):
            yield f"{spec.run_id}.failed-{number}", failed, roots.get(spec.replicate, "")
        if store.has(spec):
            yield spec.run_id, store.load(spec), roots.get(spec.replicate, "")
            roots.setdefault(spec.replicate, spec.run_id)


def _trial(name: str, run: Finished, root: str, score: str, history: History) -> Trial:
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
        notes=f"seed {run.spec.seed}; score {score}" + (f"; {outcome.cause}" * bool(outcome.cause)),
    )


def _label(run: Finished, value: float | None, before: float | None, *, is_root: bool) -> Label:
    if run.outcome.status is not Status.FINISHED:
        return _ENDED[run.outcome.status]
    if is_root:
        return Label.BASELINE
    return Label.KEEP if value is not None and (before is None or value > before) else Label.DISCARD


def _value(run: Finished, score: str) -> float | None:
    """Return the score of a whole run, that is the one of no row."""
    found: Sequence[object] = [
        each.value for each in run.measurements if each.metric == score and not each.where
    ]
    (value,) = found or (None,)
    return float(value) if isinstance(value, int | float) else None
