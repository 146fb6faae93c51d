"""Learning from rewards: play a few tasks several times, take a step, serve the new weights, again.

Article 33, section "The loop", with three differences. The server is told of new weights instead of
being started anew, which took the article 190 to 220 s a step. Which tasks a step draws depends on
the run's seed. And the checkpoint that is kept is chosen on held-out tasks.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from statistics import fmean, median

from harness.experiments.a32_34.arms import Arm
from harness.experiments.a32_34.params import GrpoParams
from harness.experiments.a32_34.settings import decoding_of
from harness.experiments.a32_34.stage import Stage
from harness.records import record
from harness.workloads.envs.files.agent import EnginePlayer, seed_of
from harness.workloads.envs.files.evaluate import Evaluation
from harness.workloads.envs.files.groups import Reward, groups, reward_of
from harness.workloads.envs.files.players import Attempt, play_all
from harness.workloads.envs.files.rollout import Rollout
from harness.workloads.envs.files.task import Task
from harness.workloads.inference.engine import EngineError
from harness.workloads.models.adapter import Weights
from harness.workloads.rl.losses import reinforce
from harness.workloads.rl.step import StepReport, Update
from harness.workloads.rl.trainer import Trainer
from harness.workloads.training.settings import Dropout, Optimizer, TrainerSettings
from harness.workloads.training.trace import Trace

_ETAS = (0.3, 0.1, 0.03, 0.01, 0.003)  # the article's threshold, the one it proposes, and smaller
_OTHER_WEIGHTS = 0.2  # nats a token, mean; bfloat16 on both sides leaves a tenth of it


@record
class Step:
    """One step: what was played, what came of it, and what it took.

    Attributes:
        number: 1 for the first.
        batch: the rollouts, played by the weights of the step before.
        report: of the trainer.
        rollout_s: playing, seconds.
        wall_s: all of it, seconds.
    """

    number: int
    batch: Evaluation
    report: StepReport
    rollout_s: float
    wall_s: float


Listener = Callable[[Step], None]


def learn(stage: Stage, arm: Arm, reference: Weights, listen: Listener) -> tuple[Step, ...]:
    """Train the policy from the weights that it has, which the engine answers with too.

    Args:
        stage: the policy, the tasks and the rest.
        arm: how.
        reference: what it is kept near.
        listen: called after every step, when the engine answers with its weights.

    Returns:
        The steps that were taken. The last one changed nothing where the pool has nothing left to
        tell rollouts apart by.
    """
    params: GrpoParams = _params(stage)
    trainer = Trainer(
        stage.policy,
        arm.objective,
        partial(reinforce, kl_coefficient=params.kl_weight),
        settings(params, stage.context.spec.seed),
        reference,
    )
    steps: list[Step] = []
    for number in range(1, params.steps + 1):
        step = _step(stage, arm, trainer, number)
        steps.append(step)
        report_step(stage, arm, step)
        if step.report.converged:
            stage.context.emit.note(f"{arm.name}: no group of step {number} had any variance")
            break
        listen(step)
    report_learning(stage, arm, steps)
    return tuple(steps)


def is_judged(params: GrpoParams, step: Step) -> bool:
    """Whether the weights of a step play for a comparison: every so often, and the last ones."""
    return step.number % params.evaluate_every == 0 or step.number == params.steps


def settings(params: GrpoParams, seed: int) -> TrainerSettings:
    """Return the trainer's settings."""
    return TrainerSettings(
        learning_rate=params.rate,
        optimizer=Optimizer.FRESH if params.optimizer == "fresh" else Optimizer.PERSISTENT,
        dropout=Dropout(params.dropout),
        max_tokens=params.max_model_len,
        seed=seed,
    )


def _step(stage: Stage, arm: Arm, trainer: Trainer, number: int) -> Step:
    params = _params(stage)
    began = time.monotonic()
    rollouts = _play(stage, arm, drawn(stage.pool, params, stage.context.spec.seed, number), number)
    played = time.monotonic()
    report = trainer.step(groups(rollouts, Reward(params.reward)))
    _require_agreement(report)
    if not report.converged:
        stage.serve(f"{arm.name}-{number}")
    return Step(
        number=number,
        batch=Evaluation(policy=arm.name, rollouts=rollouts),
        report=report,
        rollout_s=played - began,
        wall_s=time.monotonic() - began,
    )


def _require_agreement(report: StepReport) -> None:
    """Make sure that the engine answered with the weights that the step began with.

    Raises:
        EngineError: its log-probabilities are another policy's.
    """
    gap = report.update.agreement.mean if report.update else 0.0
    if gap > _OTHER_WEIGHTS:
        message = (
            f"step {report.step}: the engine's log-probabilities differ from the trainer's by "
            f"{gap:.3g} nats a token: it answers with other weights"
        )
        raise EngineError(message)


def drawn(pool: Sequence[Task], params: GrpoParams, seed: int, number: int) -> list[Task]:
    """Return the tasks of a step: without replacement within it, and the same in every arm."""
    return random.Random(f"{seed} {number}").sample(pool, min(params.tasks_per_step, len(pool)))  # noqa: S311


def _play(stage: Stage, arm: Arm, tasks: Sequence[Task], number: int) -> tuple[Rollout, ...]:
    params = _params(stage)
    sampling = replace(
        decoding_of(stage.context),
        temperature=params.rollout_temperature,
        max_tokens=arm.max_new_tokens,
        seed=seed_of(stage.context.spec.seed, number),  # a task drawn again has other luck
        alternatives=arm.alternatives,
    )
    player = EnginePlayer(
        name=f"{arm.name}-{number}",
        engine=stage.engine,
        dialogue=stage.dialogue,
        sampling=sampling,
        uncertainty=arm.uncertainty,
        redraw=arm.redraw,
    )
    attempts = [
        Attempt(task=task, sample=sample)
        for task in tasks
        for sample in range(params.rollouts_per_task)
    ]
    return play_all(
        attempts, player, stage.boxes, stage.log, rules=stage.rules, threads=params.threads
    )


def _params(stage: Stage) -> GrpoParams:
    assert isinstance(stage.params, GrpoParams)
    return stage.params


# --- Figures --------------------------------------------------------------------------------------


def report_step(stage: Stage, arm: Arm, step: Step) -> None:
    """Report one step."""
    emit, params = stage.context.emit, _params(stage)
    where = {"arm": arm.name.value, "step": step.number}
    count = len(step.batch.graded)
    for name, value in _played(step.batch, Reward(params.reward)).items():
        emit.measured(name, value, where=where, count=count)
    emit.measured("train.broken", step.batch.num_broken, where=where)
    emit.measured("train.groups", step.report.groups - step.report.muted_groups, where=where)
    emit.measured("train.muted", step.report.muted_groups, where=where)
    for name, value in _drawn(step.batch, arm).items():
        emit.measured(name, value, where=where, count=count)
    if step.report.update is not None:
        for name, value in _changed(step.report.update).items():
            emit.measured(name, value, where=where, count=step.report.update.tokens)


def _played(batch: Evaluation, reward: Reward) -> dict[str, float]:
    rates = batch.rates
    return {
        "train.reward": fmean(reward_of(each, reward) for each in batch.graded),
        "train.task_pass": 100 * rates.tasks_passed / rates.tasks,
        "train.assertions": 100 * rates.assertions_passed / rates.assertions,
        "train.task_complete": 100 * batch.task_complete.rate,
        "train.mean_turns": batch.mean_turns,
    }


def _drawn(batch: Evaluation, arm: Arm) -> dict[str, float]:
    traces = [each.trace for each in batch.graded if each.trace is not None]
    found = {"train.drawn_tokens": float(_drawn_tokens(traces))}
    if arm.redraw is None:
        return found
    redraws = sum(turn.draws - 1 for trace in traces for turn in trace.turns)
    allowed = arm.redraw.tries * sum(max(0, len(trace.turns) - 1) for trace in traces)
    found["train.redraws"] = redraws / len(traces)
    if allowed:
        found["train.redraw_share"] = 100 * redraws / allowed
    return found


def _changed(update: Update) -> dict[str, float]:
    return {
        "train.kl": update.statistics["kl"],
        "train.entropy": update.entropy,
        "train.grad_norm": update.gradient_norm,
        "train.change": update.weight_delta,
        "train.change_share": update.weight_delta_ratio,
    }


def report_learning(stage: Stage, arm: Arm, steps: Sequence[Step]) -> None:
    """Report what all steps of an arm come to."""
    emit, where = stage.context.emit, {"arm": arm.name.value}
    updates = [each.report.update for each in steps if each.report.update is not None]
    emit.measured("learn.steps", len(updates), where=where)
    emit.measured("learn.converged", steps[-1].report.converged, where=where)
    muted = sum(each.report.muted_groups for each in steps)
    total = sum(each.report.groups for each in steps)
    emit.measured("learn.muted_share", 100 * muted / total, where=where, count=total)
    count = len(steps)
    emit.measured("learn.step_wall", median(s.wall_s for s in steps), where=where, count=count)
    playing = median(each.rollout_s for each in steps)
    emit.measured("learn.rollout_wall", playing, where=where, count=count)
    updating = median(math.fsum(each.report.seconds.values()) for each in steps)
    emit.measured("learn.update_wall", updating, where=where, count=count)
    rollouts = tuple(each for step in steps for each in step.batch.rollouts)
    share = Evaluation(policy=arm.name, rollouts=rollouts).environment_share
    emit.measured("learn.environment_share", 100 * share, where=where)
    report_drawing(stage, arm, rollouts)
    if updates:
        gaps = [each.agreement for each in updates]
        emit.measured("serve.logprob_gap_mean", fmean(each.mean for each in gaps), where=where)
        emit.measured("serve.logprob_gap_max", max(each.largest for each in gaps), where=where)


def report_drawing(stage: Stage, arm: Arm, rollouts: Sequence[Rollout]) -> None:
    """Report what drawing cost, and which share of turns each threshold would draw again."""
    emit, where = stage.context.emit, {"arm": arm.name.value}
    traces = [each.trace for each in rollouts if each.trace is not None]
    emit.measured("learn.drawn_tokens", _drawn_tokens(traces), where=where, count=len(traces))
    distances = [each for trace in traces for each in _distances(trace)]
    for eta in _ETAS if distances else ():
        share = sum(0 < distance < eta for distance in distances) / len(distances)
        by: dict[str, str | float] = {**where, "eta": eta}
        emit.measured("learn.near_share", 100 * share, where=by, count=len(distances))


def _drawn_tokens(traces: Sequence[Trace]) -> int:
    """Return what the engine drew, counting every draw of a turn as long as the one kept."""
    return sum(len(turn.reply) * turn.draws for trace in traces for turn in trace.turns)


def _distances(trace: Trace) -> list[float]:
    """Return how far the entropy of every turn from the second on is from the one before."""
    found = [turn.entropy for turn in trace.turns if turn.entropy is not None]
    return [abs(now - before) for before, now in pairwise(found)]
