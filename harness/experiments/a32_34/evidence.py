"""Workloads ``agent.grpo_evidence`` and ``agent.t2po_evidence``: printed figures, done again.

Neither run's raw data is published. What can be checked is whether what the articles print agrees
with itself, with the formulas that it follows from, and with the images that article 33's rollouts
left behind.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from harness.experiments.a32_34 import printed
from harness.experiments.a32_34.counts import RATES, Evaluation, percent
from harness.experiments.a32_34.evaluation_metrics import COMPARED
from harness.experiments.a32_34.printed import SFT, Batch
from harness.experiments.a32_34.tasks_evidence import END_STATES, Runs, read_end_states
from harness.experiments.a32_34.tasks_params import AGENT
from harness.records import record
from harness.statistics import fisher_exact, trials_per_arm
from harness.workloads.api.context import Context
from harness.workloads.api.declare import Better, Workload, param
from harness.workloads.api.figures import Counted, Figures, Row, Where
from harness.workloads.envs.files.grade import TURN_PENALTY

_GROUP = printed.TASKS_PER_STEP * printed.ROLLOUTS_PER_TASK
_OWN_RUN = "phase6-grpo/eval-"  # article 33's evaluations among the published end states
_SFT_RUN = "qwen-sft"
_HIGHER, _LOWER = Better.HIGHER, Better.LOWER


@record
class GrpoEvidenceParams:
    """What article 33 is recounted from."""

    end_states: str = param("a32/clawgym_png_end_states.json", doc="images left by each rollout")


@record
class T2poEvidenceParams:
    """Article 34 is recomputed from what it prints."""


# --- what both articles print: a held-out table, pairs of its rows, training batches --------------

Table = Mapping[str, Evaluation]

TABLE: Figures[Table] = Figures(*AGENT)
TABLE.include(lambda table: (({"policy": name}, each) for name, each in table.items()), RATES)
TABLE.rows("agent.mean_turns")(
    lambda table: (
        ({"policy": name}, each.mean_turns)
        for name, each in table.items()
        if each.mean_turns is not None
    )
)


class Pair(NamedTuple):
    """Two evaluations that are compared."""

    one: Evaluation
    other: Evaluation


GAIN: Figures[Pair] = Figures(*COMPARED)
GAIN("agent.task_pass_difference")(
    lambda p: 100 * (p.one.tasks_passed - p.other.tasks_passed) / p.one.tasks
)
GAIN("agent.assertions_difference")(
    lambda p: 100 * (p.one.assertions_passed - p.other.assertions_passed) / p.one.assertions
)


@GAIN("agent.turns_difference", optional=True)
def _(p: Pair) -> float | None:
    if p.one.mean_turns is None or p.other.mean_turns is None:
        return None
    return p.one.mean_turns - p.other.mean_turns


# whether printed counts can be told apart, and the tasks that this would take
APART: Figures[Pair] = Figures(keys="policy, other")
APART("agent.task_pass_p", "1", "two-sided p of equal rates, Fisher's exact test")(
    lambda p: fisher_exact(p.one.passed, p.other.passed)
)
APART("agent.assertions_p", "1", "two-sided p of equal rates, Fisher's exact test")(
    lambda p: fisher_exact(p.one.held, p.other.held)
)
APART("agent.tasks_needed", "count", "tasks each, to tell these rates apart 4 times in 5")(
    lambda p: trials_per_arm(p.one.passed.rate, p.other.passed.rate)
)


def _pairs(table: Table, *names: tuple[str, str]) -> Iterator[tuple[Where, Pair]]:
    for policy, other in names:
        yield {"policy": policy, "other": other}, Pair(table[policy], table[other])


Steps = Mapping[int, Batch]

BATCHES: Figures[Steps] = Figures()
batch = BATCHES.each(lambda steps: (({"step": n}, each) for n, each in steps.items()), keys="step")
batch("batch.task_complete", "%", "clean stops", better=_HIGHER)(
    lambda each: 100 * each.task_complete / _GROUP
)
batch("batch.mean_turns", "turn", better=_LOWER)(lambda each: each.mean_turns)
BATCHES("batch.first_clean_step", "step", "first printed with clean stops only")(
    lambda steps: min(step for step, each in steps.items() if each.task_complete == _GROUP)
)

# the law of a fresh AdamW: every weight moves by about the learning rate
_BOUND = printed.LEARNING_RATE * math.sqrt(printed.ADAPTER_PARAMETERS)

UPDATE: Figures[float] = Figures()  # of the largest printed K3, times its weight
UPDATE("update.bound", "1", "learning rate * sqrt(trained parameters)")(lambda _: _BOUND)
UPDATE("update.share_of_bound", "1", "logged change of a step / that bound")(
    lambda _: printed.WEIGHT_CHANGE / _BOUND
)
UPDATE("update.kl", "nat", "largest K3 a token, unweighted")(lambda kl: kl / printed.KL_WEIGHT)

# --- article 33 -----------------------------------------------------------------------------------

_TRAINED = printed.GRPO["grpo-34"]
_GRPO_STEP_S = 3600 * printed.GRPO_WALL_H / printed.GRPO_STEPS_DONE

grpo: Figures[Runs] = Figures(*AGENT, *COMPARED)
grpo.include(lambda _: [({}, printed.GRPO)], TABLE)
grpo.include(lambda _: _pairs(printed.GRPO, ("grpo-34", "sft")), GAIN)


@grpo.rows("agent.wall_ratio")
def _(_: Runs) -> Iterator[Row]:
    assert SFT.mean_wall_s is not None
    assert _TRAINED.mean_wall_s is not None
    yield {"policy": "grpo-34", "other": "sft"}, SFT.mean_wall_s / _TRAINED.mean_wall_s


grpo.include(lambda _: _pairs(printed.GRPO, ("grpo-34", "sft"), ("grpo-34", "grpo-25")), APART)


# how much of 0 -> 154 clean stops is the new parser, and how much is training
@grpo("stop.by_parser")
def _(_: Runs) -> Counted:
    return Counted(percent(printed.STOPPED_BY_NEW_PARSER, printed.HELD_OUT), printed.HELD_OUT)


@grpo("stop.by_training")
def _(_: Runs) -> float:
    assert _TRAINED.task_complete is not None
    return percent(_TRAINED.task_complete - printed.STOPPED_BY_NEW_PARSER, printed.HELD_OUT)


@grpo("stop.matched_turns", "turn", "of the SFT model, at the new parser")
def _(_: Runs) -> float:
    assert SFT.mean_turns is not None
    return SFT.mean_turns - printed.TURNS_SAVED / printed.HELD_OUT


# how much of the shaped reward's rise is fewer turns, and how much is better work
def _by_turns() -> float:
    assert SFT.mean_turns is not None
    assert _TRAINED.mean_turns is not None
    return TURN_PENALTY * (SFT.mean_turns - _TRAINED.mean_turns) / printed.MAX_TURNS


def _by_assertions() -> float:
    return (_TRAINED.assertions_passed - SFT.assertions_passed) / _TRAINED.assertions


grpo("reward.by_turns", "1", "rise of the shaped reward by fewer turns")(lambda _: _by_turns())
grpo("reward.by_assertions", "1", "rise of the shaped reward by better work")(
    lambda _: _by_assertions()
)
grpo("reward.turns_share", "%", "of the rise, by fewer turns")(
    lambda _: percent(_by_turns(), _by_turns() + _by_assertions())
)
grpo.include(lambda _: [({}, printed.GRPO_STEPS)], BATCHES)
grpo.include(
    lambda _: [({}, max(each.weighted_kl or 0.0 for each in printed.GRPO_STEPS.values()))], UPDATE
)
grpo("step.wall", "s", "of one step, all included", timing=True)(lambda _: _GRPO_STEP_S)
grpo("step.trainer_wall", "s", "of the gradient alone", timing=True)(
    lambda _: 60 * printed.TRAINER_MIN / printed.GRPO_STEPS_DONE
)
grpo.include(
    lambda runs: [({}, {n: run for n, run in runs.items() if _OWN_RUN in n or _SFT_RUN in n})],
    END_STATES,
)

# --- article 34 -----------------------------------------------------------------------------------

t2po: Figures[None] = Figures()
t2po.include(lambda _: [({}, printed.T2PO)], TABLE)
t2po.include(
    lambda _: _pairs(
        printed.T2PO,
        ("t2po-25", "grpo-34"),
        ("t2po-45", "grpo-34"),
        ("t2po-50", "grpo-34"),
        ("t2po-50", "sft"),
    ),
    GAIN,
)
t2po.include(
    lambda _: _pairs(
        printed.T2PO, ("t2po-45", "grpo-34"), ("t2po-50", "grpo-34"), ("t2po-25", "t2po-45")
    ),
    APART,
)
t2po.include(lambda _: [({}, printed.T2PO_STEPS)], BATCHES)
passes = t2po.each(
    lambda _: (({"step": n}, each) for n, each in printed.T2PO_STEPS.items()), keys="step"
)
passes("batch.task_pass", "%", better=_HIGHER, optional=True)(
    lambda each: None if each.passed is None else 100 * each.passed / _GROUP
)
passes("batch.muted_groups", "count", "groups without variance", optional=True)(
    lambda each: None if each.groups_used is None else printed.TASKS_PER_STEP - each.groups_used
)
t2po.include(lambda _: [({}, printed.MAX_WEIGHTED_KL)], UPDATE)


# how far the training batch lies above the held-out tasks, with its selection
@t2po.rows("pool.gap", "%", "training batch - held-out, points", keys="step")
def _(_: None) -> Iterator[Row]:
    for step, policy in ((1, "sft"), (25, "t2po-25"), (45, "t2po-45"), (50, "t2po-50")):
        passed, held_out = printed.T2PO_STEPS[step].passed, printed.T2PO[policy]
        assert passed is not None
        share = percent(held_out.tasks_passed, held_out.tasks)
        yield {"step": step}, percent(passed, _GROUP) - share


t2po("pool.best_step", "step", "by the training batch")(
    lambda _: max(printed.T2PO_STEPS, key=lambda step: printed.T2PO_STEPS[step].passed or 0)
)
t2po("held_out.best_step", "step", "by the held-out tasks")(
    lambda _: max((25, 45, 50), key=lambda step: printed.T2PO[f"t2po-{step}"].tasks_passed)
)
# how many regenerations each printed batch allowed at most
t2po.rows("resample.ceiling", "1", "most redraws a rollout", keys="step")(
    lambda _: (
        ({"step": step}, printed.MAX_RESAMPLES * (each.mean_turns - 1))
        for step, each in printed.T2PO_STEPS.items()
    )
)


@t2po("resample.share_of_ceiling", "%", "redraws of those possible")
def _(_: None) -> float:
    mean = statistics.fmean(each.mean_turns for each in printed.T2PO_STEPS.values())
    return 100 * (printed.RESAMPLES / (printed.MAX_RESAMPLES * (mean - 1)))


t2po("token_cap.ratio", "x", "cap / what the earlier run allowed")(
    lambda _: printed.TOKEN_CAP / printed.TOKEN_CAP_BEFORE
)


def _t2po_step_s() -> float:
    evaluations_s = 60 * printed.EVALUATION_MIN * printed.EVALUATIONS_IN_LOG
    return (printed.T2PO_WALL_S - evaluations_s) / printed.T2PO_STEPS_DONE


t2po("step.wall", "s", "of one step, all included", timing=True)(lambda _: _t2po_step_s())


@t2po("run.hours", "h", "from printed minutes", timing=True)
def _(_: None) -> float:
    steps_min = printed.T2PO_STEPS_DONE * printed.PRINTED_STEP_MIN
    return (steps_min + printed.PRINTED_EVALUATIONS * printed.EVALUATION_MIN) / 60


t2po("run.hours_logged", "h", "from the log's seconds", timing=True)(
    lambda _: printed.T2PO_WALL_S / 3600
)
t2po("step.wall_ratio", "x", "a step / one of article 33", timing=True)(
    lambda _: _t2po_step_s() / _GRPO_STEP_S
)

# --------------------------------------------------------------------------------------------------


def run_grpo(context: Context) -> None:
    """Recompute article 33."""
    params: GrpoEvidenceParams = context.params
    context.emit.started("no device: printed figures and published files")
    grpo.report(context.emit, read_end_states(context.evidence(params.end_states)))


def run_t2po(context: Context) -> None:
    """Recompute article 34."""
    context.emit.started("no device: printed figures")
    t2po.report(context.emit, None)


WORKLOADS = (
    Workload(
        name="agent.grpo_evidence",
        doc="recompute article 33 from what it prints and the images its rollouts left",
        params=GrpoEvidenceParams,
        metrics=grpo.metrics,
        entry="harness.experiments.a32_34.evidence:run_grpo",
    ),
    Workload(
        name="agent.t2po_evidence",
        doc="recompute article 34 from what it prints",
        params=T2poEvidenceParams,
        metrics=t2po.metrics,
        entry="harness.experiments.a32_34.evidence:run_t2po",
    ),
)
