"""State of a loop: the configuration to change next, and the score to compare with.

It is computed from the records, so a killed loop resumes in the same state.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.records import record
from harness.workloads.autoresearch.trajectory import (
    Decision,
    Evaluated,
    Header,
    TrainConfig,
    TrajectoryRecord,
)


@record
class Standing:
    """State of a loop between two iterations.

    Attributes:
        base: what the next proposal changes.
        base_iteration: which keep that is; 0 for the baseline.
        base_val_bpb: what the next candidate is compared with.
        best_iteration: the best of the baseline and the keeps; 0 for the baseline.
        best_val_bpb: its figure.
        lowest_val_bpb: of all that was evaluated.
    """

    base: TrainConfig
    base_iteration: int
    base_val_bpb: float
    best_iteration: int
    best_val_bpb: float
    lowest_val_bpb: float


def improvement(reference: float, value: float) -> float:
    """Return by which fraction of `reference` the lower-is-better `value` is below it."""
    return (reference - value) / reference


def decide(
    reference: float, value: float, min_improvement: float, *, hill_climb: bool = False
) -> Decision:
    """Return what becomes of a candidate, from its unrounded improvement.

    Article 22 keeps an improvement of the threshold or more; article 35 keeps a strict improvement,
    or a repeated trial would be kept twice.
    """
    gain = improvement(reference, value)
    keeps = gain > min_improvement if hill_climb else gain >= min_improvement
    return Decision.KEEP if keeps else Decision.REVERT


def standing(header: Header, records: Iterable[TrajectoryRecord]) -> Standing:
    """Return the state of a loop after these records."""
    value = header.baseline_val_bpb
    here = Standing(
        base=header.baseline_cfg,
        base_iteration=0,
        base_val_bpb=value,
        best_iteration=0,
        best_val_bpb=value,
        lowest_val_bpb=value,
    )
    for each in records:
        here = after(header, here, each)
    return here


def after(header: Header, before: Standing, done: TrajectoryRecord) -> Standing:
    """Return the state of a loop after one more record."""
    if not isinstance(done, Evaluated):
        return before
    is_kept = done.decision is Decision.KEEP
    moves, leads = is_kept and header.hill_climb, is_kept and done.val_bpb < before.best_val_bpb
    return Standing(
        base=done.candidate_cfg if moves else before.base,
        base_iteration=done.iteration if moves else before.base_iteration,
        base_val_bpb=done.val_bpb if moves else before.base_val_bpb,
        best_iteration=done.iteration if leads else before.best_iteration,
        best_val_bpb=done.val_bpb if leads else before.best_val_bpb,
        lowest_val_bpb=min(before.lowest_val_bpb, done.val_bpb),
    )
