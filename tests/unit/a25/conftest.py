"""Small trajectories of one's own making."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.records import Scalar
from harness.workloads.autoresearch.search_space import ARTICLE, Space, changed
from harness.workloads.autoresearch.trajectory import (
    Decision,
    EvalMetrics,
    Evaluated,
    Header,
    Proposal,
    Stage,
    Trajectory,
)

BASELINE = 10.0
_METRICS = EvalMetrics(
    ok=True,
    params_m=1.0,
    train_steps=1,
    train_loss_first=1.0,
    train_loss_last=1.0,
    val_bpb=BASELINE,
    val_n_batches=1,
    mean_step_ms=1.0,
    train_wall_s=1.0,
    val_wall_s=1.0,
    peak_gpu_mem_gib=1.0,
)


def made(
    trials: Sequence[tuple[str, Scalar, bool]], *, hill_climb: bool = False, space: Space = ARTICLE
) -> Trajectory:
    """Return a trajectory of these changes: knob, value, and whether it was kept."""
    base = space.baseline
    header = Header(
        meta="made",
        baseline_val_bpb=BASELINE,
        baseline_cfg=base,
        accept_delta_frac=0.005,
        hill_climb=hill_climb,
    )
    records = []
    for number, (knob, value, kept) in enumerate(trials, 1):
        candidate = changed(base, space.knobs[knob], value)
        records.append(_evaluated(number, knob, value, kept=kept))
        records[-1] = replace(records[-1], candidate_cfg=candidate)
        if kept and hill_climb:
            base = candidate
    return Trajectory(header=header, records=tuple(records))


def _evaluated(number: int, knob: str, value: Scalar, *, kept: bool) -> Evaluated:
    gain = 0.01 if kept else -0.005
    return Evaluated(
        stage=Stage.EVALUATED,
        iteration=number,
        ended_at="2026-04-25 18:07:22",
        verdict_ok=True,
        proposal=Proposal(knob=knob, new_value=value, reason="why not"),
        diff="",
        candidate_cfg=ARTICLE.baseline,
        eval_metrics=_METRICS,
        val_bpb=BASELINE * (1 - gain),
        baseline_val_bpb=BASELINE,
        improvement_frac=gain,
        decision=Decision.KEEP if kept else Decision.REVERT,
        is_new_best=kept,
        nim_latency_s=1.0,
        iter_wall_s=1.0,
    )
