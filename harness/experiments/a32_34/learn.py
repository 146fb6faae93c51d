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

from harness.experiments.a32_34.arms import T2poVariant
from harness.experiments.a32_34.params import GrpoParams
from harness.experiments.a32_34.settings import decoding_of
from harness.experiments.a32_34.stage import FileAgentResources
from harness.records import record
from harness.workloads.envs.files.agent import EngineFilePolicy, seed_of
from harness.workloads.envs.files.evaluate import PolicyEvaluation
from harness.workloads.envs.files.groups import Reward, groups, reward_of
from harness.workloads.envs.files.players import EpisodeSpec, run_episodes
from harness.workloads.envs.files.rollout import FileRollout
from harness.workloads.envs.files.task import Task
from harness.workloads.inference.engine import EngineError
from harness.workloads.models.adapter import Weights
from harness.workloads.rl.losses import reinforce
from harness.workloads.rl.step import StepReport, Update
from harness.workloads.rl.trainer import Trainer
from harness.workloads.training.settings import Dropout, TrainerSettings
from harness.workloads.training.trace import Trace

_ETAS = (0.3, 0.1, 0.03, 0.01, 0.003)  # the article's threshold, the one it proposes, and smaller
_OTHER_WEIGHTS = 0.2  # nats a token, mean; bfloat16 on both sides leaves a tenth of it


@record
class FileStep:
    """One step: what was played, what came of it, and what it took.

    Attributes:
        number: 1 for the first.
        batch: the rollouts, played by the weights of the step before.
        report: of the trainer.
        rollout_s: playing, seconds.
        wall_s: all of it, seconds.
    """

    number: int
    batch: PolicyEvaluation
    report: StepReport
    rollout_s: float
    wall_s: float


Listener = Callable[[FileStep], None]


def learn(
    resources: FileAgentResources, arm: T2poVariant, reference: Weights, listen: Listener
) -> tuple[FileStep, ...]:
    """Train the policy from the weights that it has, which the engine answers with too.

    Args:
        resources: the policy, the tasks and the rest.
        arm: how.
        reference: what it is kept near.
        listen: called after every step, when the engine answers with its weights.

    Returns:
        The steps that were taken. The last one changed nothing where the pool has nothing left to
        tell rollouts apart by.
    """
    params: GrpoParams = _params(resources)
    trainer = Trainer(
        resources.policy,
        arm.objective,
        partial(reinforce, kl_coef=params.kl_coef),
        settings(params, resources.context.spec.seed),
        reference,
    )
    steps: list[FileStep] = []
    for number in range(1, params.max_steps + 1):
        step = _step(resources, arm, trainer, number)
        steps.append(step)
        report_step(resources, arm, step)
        if step.report.no_signal:
            resources.context.emit.note(f"{arm.name}: no group of step {number} had any variance")
            break
        listen(step)
    report_learning(resources, arm, steps)
    return tuple(steps)


def is_judged(params: GrpoParams, step: FileStep) -> bool:
    """Whether the weights of a step play for a comparison: every so often, and the last ones."""
    return step.number % params.eval_steps == 0 or step.number == params.max_steps


def settings(params: GrpoParams, seed: int) -> TrainerSettings:
    """Return the trainer's settings."""
    return TrainerSettings(
        learning_rate=params.learning_rate,
        reset_optimizer_each_step=params.reset_optimizer_each_step,
        dropout=Dropout(params.dropout),
        max_length=params.max_model_len,
        seed=seed,
    )


def _step(
    resources: FileAgentResources, arm: T2poVariant, trainer: Trainer, number: int
) -> FileStep:
    params = _params(resources)
    began = time.monotonic()
    rollouts = _play(
        resources,
        arm,
        sampled_prompts(resources.pool, params, resources.context.spec.seed, number),
        number,
    )
    played = time.monotonic()
    report = trainer.step(groups(rollouts, Reward(params.reward)))
    _require_agreement(report)
    if not report.no_signal:
        resources.serve(f"{arm.name}-{number}")
    return FileStep(
        number=number,
        batch=PolicyEvaluation(policy=arm.name, rollouts=rollouts),
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


def sampled_prompts(pool: Sequence[Task], params: GrpoParams, seed: int, number: int) -> list[Task]:
    """Return the tasks of a step: without replacement within it, and the same in every arm."""
    return random.Random(f"{seed} {number}").sample(pool, min(params.prompts_per_step, len(pool)))  # noqa: S311


def _play(
    resources: FileAgentResources, arm: T2poVariant, tasks: Sequence[Task], number: int
) -> tuple[FileRollout, ...]:
    params = _params(resources)
    sampling = replace(
        decoding_of(resources.context),
        temperature=params.rollout_temperature,
        max_new_tokens=arm.max_new_tokens,
        seed=seed_of(resources.context.spec.seed, number),  # a task drawn again has other luck
        alternatives=arm.alternatives,
    )
    player = EngineFilePolicy(
        name=f"{arm.name}-{number}",
        engine=resources.engine,
        chat_template=resources.chat_template,
        sampling=sampling,
        uncertainty=arm.uncertainty,
        resample=arm.resample,
    )
    attempts = [
        EpisodeSpec(task=task, sample=sample)
        for task in tasks
        for sample in range(params.num_generations)
    ]
    return run_episodes(
        attempts,
        player,
        resources.sandboxes,
        resources.log,
        rules=resources.rules,
        max_concurrency=params.max_concurrency,
    )


def _params(resources: FileAgentResources) -> GrpoParams:
    assert isinstance(resources.params, GrpoParams)
    return resources.params


# --- Figures --------------------------------------------------------------------------------------


def report_step(resources: FileAgentResources, arm: T2poVariant, step: FileStep) -> None:
    """Report one step."""
    emit, params = resources.context.emit, _params(resources)
    where = {"variant": arm.name.value, "step": step.number}
    count = len(step.batch.graded)
    for name, value in _played(step.batch, Reward(params.reward)).items():
        emit.measured(name, value, where=where, count=count)
    emit.measured("train.rollout_errors", step.batch.num_errors, where=where)
    emit.measured(
        "train.groups", step.report.groups - step.report.zero_variance_groups, where=where
    )
    emit.measured("train.zero_variance_groups", step.report.zero_variance_groups, where=where)
    for name, value in _drawn(step.batch, arm).items():
        emit.measured(name, value, where=where, count=count)
    if step.report.update is not None:
        for name, value in _changed(step.report.update).items():
            emit.measured(name, value, where=where, count=step.report.update.tokens)


def _played(batch: PolicyEvaluation, reward: Reward) -> dict[str, float]:
    rates = batch.rates
    return {
        "train.reward": fmean(reward_of(each, reward) for each in batch.graded),
        "train.pass_rate": 100 * rates.tasks_passed / rates.tasks,
        "train.assertion_pass_rate": 100 * rates.assertions_passed / rates.assertions,
        "train.stop_rate": 100 * batch.stop_rate.rate,
        "train.mean_turns": batch.mean_turns,
    }


def _drawn(batch: PolicyEvaluation, arm: T2poVariant) -> dict[str, float]:
    traces = [each.trace for each in batch.graded if each.trace is not None]
    found = {"train.generated_tokens": float(_drawn_tokens(traces))}
    if arm.resample is None:
        return found
    resamples = sum(turn.num_samples - 1 for trace in traces for turn in trace.turns)
    allowed = arm.resample.max_resamples * sum(max(0, len(trace.turns) - 1) for trace in traces)
    found["train.resamples"] = resamples / len(traces)
    if allowed:
        found["train.resample_share"] = 100 * resamples / allowed
    return found


def _changed(update: Update) -> dict[str, float]:
    return {
        "train.kl": update.statistics["kl"],
        "train.entropy": update.entropy,
        "train.grad_norm": update.grad_norm,
        "train.update_norm": update.update_norm,
        "train.update_norm_ratio": update.update_norm_ratio,
    }


def report_learning(
    resources: FileAgentResources, arm: T2poVariant, steps: Sequence[FileStep]
) -> None:
    """Report what all steps of an arm come to."""
    emit, where = resources.context.emit, {"variant": arm.name.value}
    updates = [each.report.update for each in steps if each.report.update is not None]
    emit.measured("learn.steps", len(updates), where=where)
    emit.measured("learn.no_signal", steps[-1].report.no_signal, where=where)
    muted = sum(each.report.zero_variance_groups for each in steps)
    total = sum(each.report.groups for each in steps)
    emit.measured("learn.frac_reward_zero_std", 100 * muted / total, where=where, count=total)
    count = len(steps)
    emit.measured("learn.step_time", median(s.wall_s for s in steps), where=where, count=count)
    playing = median(each.rollout_s for each in steps)
    emit.measured("learn.rollout_time", playing, where=where, count=count)
    updating = median(math.fsum(each.report.seconds.values()) for each in steps)
    emit.measured("learn.update_time", updating, where=where, count=count)
    rollouts = tuple(each for step in steps for each in step.batch.rollouts)
    share = PolicyEvaluation(policy=arm.name, rollouts=rollouts).environment_share
    emit.measured("learn.environment_share", 100 * share, where=where)
    report_drawing(resources, arm, rollouts)
    if updates:
        gaps = [each.agreement for each in updates]
        emit.measured("serve.logprob_abs_diff_mean", fmean(each.mean for each in gaps), where=where)
        emit.measured("serve.logprob_abs_diff_max", max(each.max for each in gaps), where=where)


def report_drawing(
    resources: FileAgentResources, arm: T2poVariant, rollouts: Sequence[FileRollout]
) -> None:
    """Report what drawing cost, and which share of turns each threshold would draw again."""
    emit, where = resources.context.emit, {"variant": arm.name.value}
    traces = [each.trace for each in rollouts if each.trace is not None]
    emit.measured("learn.generated_tokens", _drawn_tokens(traces), where=where, count=len(traces))
    distances = [each for trace in traces for each in _distances(trace)]
    for eta in _ETAS if distances else ():
        share = sum(0 < distance < eta for distance in distances) / len(distances)
        by: dict[str, str | float] = {**where, "resample_threshold": eta}
        emit.measured("learn.below_threshold_fraction", 100 * share, where=by, count=len(distances))


def _drawn_tokens(traces: Sequence[Trace]) -> int:
    """Return what the engine drew, counting every draw of a turn as long as the one kept."""
    return sum(len(turn.reply) * turn.num_samples for trace in traces for turn in trace.turns)


def _distances(trace: Trace) -> list[float]:
    """Return how far the entropy of every turn from the second on is from the one before."""
    found = [turn.entropy for turn in trace.turns if turn.entropy is not None]
    return [abs(now - before) for before, now in pairwise(found)]
