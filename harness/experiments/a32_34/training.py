"""Training a file agent by rewards, and the figures of it; article 33, section "The loop"."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import fmean, median

from harness.experiments.a32_34.evaluation import PolicyEvaluation
from harness.experiments.a32_34.params import GrpoParams
from harness.experiments.a32_34.resources import FileAgentResources
from harness.experiments.a32_34.variants import T2poVariant
from harness.records import Scalar, to_json
from harness.workloads.api import progress
from harness.workloads.envs.files.environment import FileEpisode
from harness.workloads.inference.engine import SamplingParams
from harness.workloads.rl import agreement
from harness.workloads.rl.loop import Training, TrainingStep, train
from harness.workloads.rl.rollout import Trace
from harness.workloads.rl.runner import seed_of
from harness.workloads.training.policy import sampling_params

FileStep = TrainingStep[FileEpisode]
_CODE = (
    "harness.experiments.a32_34.variants",
    "harness.sandbox.choice",
    "harness.workloads.envs.files.environment",
)
# params that decide no step of the training, or that are in what the steps read
_ELSEWHERE = frozenset(
    {
        *("max_steps", "eval_steps", "num_eval_examples", "variants"),
        *("max_concurrency", "kv_cache_gib", "sandbox"),
        *("author", "per_persona", "author_base_url", "author_model", "attempts", "task_seed"),
        *("sft_data", "teacher", "sft_learning_rate", "sft_num_train_epochs", "sft_max_length"),
        *("sft_gradient_accumulation_steps", "sft_stop_when_p_stop_below"),
        "sft_first_step_lr_zero",
    }
)
_THRESHOLDS = (0.3, 0.1, 0.03, 0.01, 0.003)  # the article's, the one it proposes, and smaller


def learn(resources: FileAgentResources, way: T2poVariant) -> Iterator[FileStep]:
    """Train the policy from the weights that it has, yielding and reporting each step.

    The last step is one that changed nothing, where the pool has nothing left to tell rollouts
    apart by: an end, not a failure.
    """
    params, seed, emit = resources.params, resources.seed, resources.context.emit
    assert isinstance(params, GrpoParams)

    def sampling(step: int) -> SamplingParams:
        return replace(
            sampling_params(params, seed_of(seed, step)),  # a task drawn again has other luck
            temperature=params.rollout_temperature,
            max_new_tokens=way.max_new_tokens,
            alternatives=way.alternatives,
        )

    phase = f"train {way.name}"
    progress.tell(phase, 0, params.max_steps)
    steps: list[FileStep] = []
    training = Training(
        context=resources.context,
        served=resources.served,
        runner=resources.runner,
        tasks=resources.pool,
        params=params,
        sampling=sampling,
        decides={
            **resources.plays,
            "variant": way.name,
            "params": {
                name: value for name, value in to_json(params).items() if name not in _ELSEWHERE
            },
        },
        reads={**resources.reads, "weights": resources.served.version},
        code=_CODE,
    )
    for step in train(training, way.algorithm):
        steps.append(step)
        resources.trained_on.update(each.task_id for each in step.rollouts)
        report_step(resources, way, step)
        progress.tell(phase, step.number, params.max_steps, told_of(way, step))
        if step.no_signal:
            emit.note(f"{way.name}: no group of step {step.number} had any variance")
        yield step
        if step.no_signal:
            break
    report_learning(resources, way, steps)


def batch(way: T2poVariant, step: FileStep) -> PolicyEvaluation:
    """Return the rollouts that a step was trained on, as an evaluation."""
    return PolicyEvaluation(policy=way.name, rollouts=step.rollouts)


# --- Figures --------------------------------------------------------------------------------------


def told_of(way: T2poVariant, step: FileStep) -> dict[str, float]:
    """Return what of a step is shown while the run is at work."""
    played, update = batch(way, step), step.report.update
    told = {
        "reward": fmean(each.reward for each in played.graded if each.reward is not None),
        "stops_pct": 100 * played.task_complete.rate,
        "turns": played.mean_turns,
        "no_signal_pct": 100 * step.report.masked_groups / step.report.groups,
    }
    return told if update is None else {**told, "kl": update.statistics["kl"]}


def report_step(resources: FileAgentResources, way: T2poVariant, step: FileStep) -> None:
    """Report one step."""
    emit, played, report = resources.context.emit, batch(way, step), step.report
    where: dict[str, Scalar] = {"variant": way.name, "step": step.number}
    rates, count = played.rates, len(played.graded)
    traces = [each.trace for each in played.graded if each.trace is not None]
    rewards = [each.reward for each in played.graded if each.reward is not None]
    for name, value in (
        ("train.reward", fmean(rewards)),
        ("train.pass_rate", 100 * rates.tasks_passed / rates.tasks),
        ("train.assertion_pass_rate", 100 * rates.assertions_passed / rates.assertions),
        ("train.stop_rate", 100 * played.task_complete.rate),
        ("train.mean_turns", played.mean_turns),
        ("train.generated_tokens", float(_generated_tokens(traces))),
    ):
        emit.measured(name, value, where=where, count=count)
    emit.measured("train.rollout_errors", played.num_errors, where=where)
    emit.measured("train.groups", report.groups - report.masked_groups, where=where)
    emit.measured("train.zero_variance_groups", report.masked_groups, where=where)
    if way.resample is not None:
        resamples = sum(turn.draws - 1 for trace in traces for turn in trace.turns)
        emit.measured("train.resamples", resamples / len(traces), where=where, count=count)
        later_turns = sum(max(0, len(trace.turns) - 1) for trace in traces)
        if allowed := way.resample.max_resamples * later_turns:
            share = 100 * resamples / allowed
            emit.measured("train.resample_share", share, where=where, count=count)
    if (update := report.update) is not None:
        for name, value in (
            ("train.kl", update.statistics["kl"]),
            ("train.entropy", update.entropy),
            ("train.grad_norm", update.gradient_norm),
            ("train.update_norm", update.update_norm),
            ("train.update_norm_ratio", update.update_norm_ratio),
            ("train.learning_rate", update.learning_rate),
            ("train.weight_decay", update.weight_decay),
        ):
            emit.measured(name, value, where=where, count=update.tokens)
        agreement.report(emit, update, where)


def report_learning(
    resources: FileAgentResources, way: T2poVariant, steps: Sequence[FileStep]
) -> None:
    """Report the totals of a variant's steps."""
    emit, where, count = resources.context.emit, {"variant": way.name}, len(steps)
    updates = [each.report.update for each in steps if each.report.update is not None]
    emit.measured("learn.steps", len(updates), where=where)
    emit.measured("learn.no_signal", steps[-1].no_signal, where=where)
    masked = sum(each.report.masked_groups for each in steps)
    total = sum(each.report.groups for each in steps)
    emit.measured("learn.frac_reward_zero_std", 100 * masked / total, where=where, count=total)
    updating_s = [math.fsum(each.report.seconds.values()) for each in steps]
    for name, seconds in (
        ("learn.step_time", [each.total_s for each in steps]),
        ("learn.rollout_time", [each.rollout_s for each in steps]),
        ("learn.update_time", updating_s),
    ):
        emit.measured(name, median(seconds), where=where, count=count)
    rollouts = tuple(each for step in steps for each in step.rollouts)
    played = PolicyEvaluation(policy=way.name, rollouts=rollouts)
    emit.measured("learn.environment_share", 100 * played.environment_share, where=where)

    # what sampling cost, and which share of turns each threshold would sample again
    traces = [each.trace for each in rollouts if each.trace is not None]
    emit.measured(
        "learn.generated_tokens", _generated_tokens(traces), where=where, count=len(traces)
    )
    distances: list[float] = []  # of the entropy of a turn from the second on, to the one before
    for trace in traces:
        entropies = [turn.entropy for turn in trace.turns if turn.entropy is not None]
        distances += [abs(now - before) for before, now in pairwise(entropies)]
    for threshold in _THRESHOLDS if distances else ():
        share = sum(0 < distance < threshold for distance in distances) / len(distances)
        by: dict[str, Scalar] = {**where, "resample_threshold": threshold}
        emit.measured("learn.below_threshold_fraction", 100 * share, where=by, count=len(distances))
    if updates:
        gaps = [each.logprob_difference for each in updates]
        mean, largest = fmean(each.mean for each in gaps), max(each.largest for each in gaps)
        emit.measured("serve.logprob_abs_diff_mean", mean, where=where)
        emit.measured("serve.logprob_abs_diff_max", largest, where=where)
        emit.measured("serve.logprob_abs_diff_p95", max(each.p95 for each in gaps), where=where)


def _generated_tokens(traces: Sequence[Trace]) -> int:
    """Return what the engine sampled, counting every draw of a turn as long as the one kept."""
    return sum(len(turn.reply) * turn.draws for trace in traces for turn in trace.turns)
