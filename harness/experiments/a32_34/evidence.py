"""Workloads ``agent.grpo_evidence`` and ``agent.t2po_evidence``: printed figures, done again.

Neither run's raw data is published. What can be checked is whether what the articles print agrees
with itself, with the formulas that it follows from, and with the images that article 33's rollouts
left behind.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

from harness.experiments.a32_34 import printed
from harness.experiments.a32_34.printed import Batch
from harness.experiments.a32_34.published import Evaluation
from harness.experiments.a32_34.tasks_evidence import (
    read_end_states,
    report_end_states,
    report_evaluation,
)
from harness.statistics import Proportion, fisher_exact, trials_per_arm
from harness.workloads.api.context import Context
from harness.workloads.api.emit import EventWriter
from harness.workloads.envs.files.grade import TURN_PENALTY

_GROUP = printed.TASKS_PER_STEP * printed.ROLLOUTS_PER_TASK
_OWN_RUN = "phase6-grpo/eval-"  # article 33's evaluations among the published end states
_SFT_RUN = "qwen-sft"


def run_grpo(context: Context) -> None:
    """Recompute article 33."""
    emit = context.emit
    emit.started("no device: printed figures and published files")
    _report_policies(emit, printed.GRPO)
    _report_gain(emit, "grpo-34", "sft", printed.GRPO)
    _report_p_values(emit, printed.GRPO, (("grpo-34", "sft"), ("grpo-34", "grpo-25")))
    _report_parser_split(emit)
    _report_reward_parts(emit)
    _report_batches(emit, printed.GRPO_STEPS)
    _report_update(emit, max(each.weighted_kl or 0.0 for each in printed.GRPO_STEPS.values()))
    emit.measured("step.wall", 3600 * printed.GRPO_WALL_H / printed.GRPO_STEPS_DONE)
    emit.measured("step.trainer_wall", 60 * printed.TRAINER_MIN / printed.GRPO_STEPS_DONE)
    left = read_end_states(context.evidence(context.params.end_states))
    shown = {name: run for name, run in left.items() if _OWN_RUN in name or _SFT_RUN in name}
    report_end_states(emit, shown)


def run_t2po(context: Context) -> None:
    """Recompute article 34."""
    emit = context.emit
    emit.started("no device: printed figures")
    _report_policies(emit, printed.T2PO)
    for policy in ("t2po-25", "t2po-45", "t2po-50"):
        _report_gain(emit, policy, "grpo-34", printed.T2PO)
    _report_gain(emit, "t2po-50", "sft", printed.T2PO)
    pairs = (("t2po-45", "grpo-34"), ("t2po-50", "grpo-34"), ("t2po-25", "t2po-45"))
    _report_p_values(emit, printed.T2PO, pairs)
    _report_batches(emit, printed.T2PO_STEPS)
    _report_update(emit, printed.MAX_WEIGHTED_KL)
    _report_pool_gap(emit)
    _report_resampling(emit)
    _report_time(emit)


def _report_policies(emit: EventWriter, table: Mapping[str, Evaluation]) -> None:
    for policy, evaluation in table.items():
        report_evaluation(emit, policy, evaluation)
        if evaluation.mean_turns is not None:
            emit.measured("agent.mean_turns", evaluation.mean_turns, where={"policy": policy})


def _report_gain(
    emit: EventWriter, policy: str, other: str, table: Mapping[str, Evaluation]
) -> None:
    one, two = table[policy], table[other]
    where = {"policy": policy, "other": other}
    passed = 100 * (one.tasks_passed - two.tasks_passed) / one.tasks
    held = 100 * (one.assertions_passed - two.assertions_passed) / one.assertions
    emit.measured("agent.task_pass_difference", passed, where=where)
    emit.measured("agent.assertions_difference", held, where=where)
    if one.mean_turns is not None and two.mean_turns is not None:
        emit.measured("agent.turns_difference", one.mean_turns - two.mean_turns, where=where)
    if one.mean_wall_s is not None and two.mean_wall_s is not None:
        emit.measured("agent.wall_ratio", two.mean_wall_s / one.mean_wall_s, where=where)


def _report_p_values(
    emit: EventWriter, table: Mapping[str, Evaluation], pairs: tuple[tuple[str, str], ...]
) -> None:
    """Report whether printed counts can be told apart, and the tasks that this would take."""
    for policy, other in pairs:
        one, two = table[policy], table[other]
        where = {"policy": policy, "other": other}
        tasks = [Proportion(successes=each.tasks_passed, trials=each.tasks) for each in (one, two)]
        held = [
            Proportion(successes=each.assertions_passed, trials=each.assertions)
            for each in (one, two)
        ]
        emit.measured("agent.task_pass_p", fisher_exact(*tasks), where=where)
        emit.measured("agent.assertions_p", fisher_exact(*held), where=where)
        needed = trials_per_arm(tasks[0].rate, tasks[1].rate)
        emit.measured("agent.tasks_needed", needed, where=where)


def _report_parser_split(emit: EventWriter) -> None:
    """Report how much of 0 -> 154 clean stops is the new parser, and how much is training."""
    tasks, trained = printed.HELD_OUT, printed.GRPO["grpo-34"]
    assert trained.task_complete is not None
    assert printed.SFT.mean_turns is not None
    by_parser = printed.STOPPED_BY_NEW_PARSER
    emit.measured("stop.by_parser", 100 * by_parser / tasks, count=tasks)
    emit.measured("stop.by_training", 100 * (trained.task_complete - by_parser) / tasks)
    emit.measured("stop.matched_turns", printed.SFT.mean_turns - printed.TURNS_SAVED / tasks)


def _report_reward_parts(emit: EventWriter) -> None:
    """Report how much of the shaped reward's rise is fewer turns, and how much is better work."""
    before, after = printed.SFT, printed.GRPO["grpo-34"]
    assert before.mean_turns is not None
    assert after.mean_turns is not None
    turns = TURN_PENALTY * (before.mean_turns - after.mean_turns) / printed.MAX_TURNS
    work = (after.assertions_passed - before.assertions_passed) / after.assertions
    emit.measured("reward.by_turns", turns)
    emit.measured("reward.by_assertions", work)
    emit.measured("reward.turns_share", 100 * turns / (turns + work))


def _report_batches(emit: EventWriter, steps: Mapping[int, Batch]) -> None:
    for step, batch in steps.items():
        where = {"step": step}
        emit.measured("batch.task_complete", 100 * batch.task_complete / _GROUP, where=where)
        emit.measured("batch.mean_turns", batch.mean_turns, where=where)
        if batch.passed is not None:
            emit.measured("batch.task_pass", 100 * batch.passed / _GROUP, where=where)
        if batch.groups_used is not None:
            muted = printed.TASKS_PER_STEP - batch.groups_used
            emit.measured("batch.muted_groups", muted, where=where)
    clean = [step for step, batch in steps.items() if batch.task_complete == _GROUP]
    emit.measured("batch.first_clean_step", min(clean))


def _report_update(emit: EventWriter, weighted_kl: float) -> None:
    """Report the law of a fresh AdamW: every weight moves by about the learning rate."""
    bound = printed.LEARNING_RATE * math.sqrt(printed.ADAPTER_PARAMETERS)
    emit.measured("update.bound", bound)
    emit.measured("update.share_of_bound", printed.WEIGHT_CHANGE / bound)
    emit.measured("update.kl", weighted_kl / printed.KL_WEIGHT)


def _report_pool_gap(emit: EventWriter) -> None:
    """Report how far the training batch lies above the held-out tasks, with its selection."""
    best = max(printed.T2PO_STEPS, key=lambda step: printed.T2PO_STEPS[step].passed or 0)
    for step, policy in ((1, "sft"), (25, "t2po-25"), (45, "t2po-45"), (50, "t2po-50")):
        passed = printed.T2PO_STEPS[step].passed
        assert passed is not None
        batch = 100 * passed / _GROUP
        held_out = printed.T2PO[policy]
        share = 100 * held_out.tasks_passed / held_out.tasks
        emit.measured("pool.gap", batch - share, where={"step": step})
    emit.measured("pool.best_step", best)
    held = {step: printed.T2PO[f"t2po-{step}"].tasks_passed for step in (25, 45, 50)}
    emit.measured("held_out.best_step", max(held, key=lambda step: held[step]))


def _report_resampling(emit: EventWriter) -> None:
    """Report how many regenerations each printed batch allowed at most."""
    for step, batch in printed.T2PO_STEPS.items():
        ceiling = printed.MAX_RESAMPLES * (batch.mean_turns - 1)
        emit.measured("resample.ceiling", ceiling, where={"step": step})
    mean = statistics.fmean(batch.mean_turns for batch in printed.T2PO_STEPS.values())
    share = printed.RESAMPLES / (printed.MAX_RESAMPLES * (mean - 1))
    emit.measured("resample.share_of_ceiling", 100 * share)
    emit.measured("token_cap.ratio", printed.TOKEN_CAP / printed.TOKEN_CAP_BEFORE)


def _report_time(emit: EventWriter) -> None:
    evaluations_s = 60 * printed.EVALUATION_MIN * printed.EVALUATIONS_IN_LOG
    step_s = (printed.T2PO_WALL_S - evaluations_s) / printed.T2PO_STEPS_DONE
    emit.measured("step.wall", step_s)
    printed_min = (
        printed.T2PO_STEPS_DONE * printed.PRINTED_STEP_MIN
        + printed.PRINTED_EVALUATIONS * printed.EVALUATION_MIN
    )
    emit.measured("run.hours", printed_min / 60)
    emit.measured("run.hours_logged", printed.T2PO_WALL_S / 3600)
    grpo_step_s = 3600 * printed.GRPO_WALL_H / printed.GRPO_STEPS_DONE
    emit.measured("step.wall_ratio", step_s / grpo_step_s)
