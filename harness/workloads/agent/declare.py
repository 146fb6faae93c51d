"""What the workloads of articles 33 and 34 take and report. Loads no torch."""

from __future__ import annotations

from harness.records import record
from harness.workloads.clawgym.declare import AGENT, END_STATES
from harness.workloads.declare import Better, Metric, Workload, param

_HIGHER, _LOWER = Better.HIGHER, Better.LOWER


@record
class GrpoEvidenceParams:
    """What article 33 is recounted from."""

    end_states: str = param("a32/clawgym_png_end_states.json", doc="images left by each rollout")


@record
class T2poEvidenceParams:
    """Article 34 is recomputed from what it prints."""


_COMPARED = (
    Metric(
        name="agent.task_pass_difference",
        unit="%",
        doc="policy - other, percentage points; where: policy, other",
        better=_HIGHER,
    ),
    Metric(
        name="agent.assertions_difference",
        unit="%",
        doc="policy - other, percentage points; where: policy, other",
        better=_HIGHER,
    ),
    Metric(
        name="agent.turns_difference",
        unit="turn",
        doc="policy - other; where: policy, other",
        better=_LOWER,
    ),
    Metric(
        name="agent.task_pass_p",
        unit="1",
        doc="two-sided p of equal rates, Fisher's exact test; where: policy, other",
    ),
    Metric(
        name="agent.assertions_p",
        unit="1",
        doc="two-sided p of equal rates, Fisher's exact test; where: policy, other",
    ),
    Metric(
        name="agent.tasks_needed",
        unit="count",
        doc="tasks each, to tell these rates apart 4 times in 5; where: policy, other",
    ),
)

_PRINTED = (
    Metric(name="stop.by_parser", unit="%", doc="clean stops that only the parser made"),
    Metric(name="stop.by_training", unit="%", doc="clean stops gained at one parser"),
    Metric(name="stop.matched_turns", unit="turn", doc="of the SFT model, at the new parser"),
    Metric(name="reward.by_turns", unit="1", doc="rise of the shaped reward by fewer turns"),
    Metric(name="reward.by_assertions", unit="1", doc="rise of the shaped reward by better work"),
    Metric(name="reward.turns_share", unit="%", doc="of the rise, by fewer turns"),
    Metric(name="batch.task_complete", unit="%", doc="clean stops; where: step", better=_HIGHER),
    Metric(name="batch.mean_turns", unit="turn", doc="where: step", better=_LOWER),
    Metric(name="batch.task_pass", unit="%", doc="where: step", better=_HIGHER),
    Metric(name="batch.muted_groups", unit="count", doc="groups without variance; where: step"),
    Metric(name="batch.first_clean_step", unit="step", doc="first printed with clean stops only"),
    Metric(name="update.bound", unit="1", doc="learning rate * sqrt(trained parameters)"),
    Metric(name="update.share_of_bound", unit="1", doc="logged change of a step / that bound"),
    Metric(name="update.kl", unit="nat", doc="largest K3 a token, unweighted"),
    Metric(name="step.wall", unit="s", doc="of one step, all included", timing=True),
    Metric(name="step.trainer_wall", unit="s", doc="of the gradient alone", timing=True),
)

_T2PO_PRINTED = (
    Metric(name="pool.gap", unit="%", doc="training batch - held-out, points; where: step"),
    Metric(name="pool.best_step", unit="step", doc="by the training batch"),
    Metric(name="held_out.best_step", unit="step", doc="by the held-out tasks"),
    Metric(name="resample.ceiling", unit="1", doc="most redraws a rollout; where: step"),
    Metric(name="resample.share_of_ceiling", unit="%", doc="redraws of those possible"),
    Metric(name="token_cap.ratio", unit="x", doc="cap / what the earlier run allowed"),
    Metric(name="run.hours", unit="h", doc="from printed minutes", timing=True),
    Metric(name="run.hours_logged", unit="h", doc="from the log's seconds", timing=True),
    Metric(name="step.wall_ratio", unit="x", doc="a step / one of article 33", timing=True),
)

WORKLOADS = (
    Workload(
        name="agent.grpo_evidence",
        doc="recompute article 33 from what it prints and the images its rollouts left",
        params=GrpoEvidenceParams,
        metrics=(*AGENT, *END_STATES, *_COMPARED, *_PRINTED),
        entry="harness.workloads.agent.evidence:run_grpo",
    ),
    Workload(
        name="agent.t2po_evidence",
        doc="recompute article 34 from what it prints",
        params=T2poEvidenceParams,
        metrics=(*AGENT, *_COMPARED, *_PRINTED, *_T2PO_PRINTED),
        entry="harness.workloads.agent.evidence:run_t2po",
    ),
)
