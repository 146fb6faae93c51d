"""Workload ``search.a2tgpo``: train a policy to search, and report its advantages.

How it differs from the paper's code: ratios are taken to the trainer's own log-probabilities of the
weights that a step begins with, as the server's differ from them by rounding and a turn's clip is
narrow. And where a gain cannot be taken the run stops, instead of going on with outcomes alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from statistics import fmean, median

from harness.experiments.a36.diagnostics import ScoredGroup, figures
from harness.experiments.a36.resources import SearchAgentResources, open_resources
from harness.experiments.a36.variants import A2tgpoVariant, variant
from harness.records import record, to_json
from harness.workloads.api import progress
from harness.workloads.api.context import Context
from harness.workloads.api.device import device_name
from harness.workloads.api.passes import part, portion
from harness.workloads.envs.search.environment import (
    SearchEpisode,
    SearchEvalResults,
    eval_results,
)
from harness.workloads.inference.engine import SamplingParams
from harness.workloads.inference.observed import report_requests
from harness.workloads.models.lora_settings import Dropout
from harness.workloads.rl import agreement
from harness.workloads.rl.algorithms.information_gain import Probing, by_engine, by_trainer
from harness.workloads.rl.loop import (
    Algorithm,
    Training,
    TrainingStep,
    is_evaluated,
    num_evaluated,
    train,
)
from harness.workloads.rl.rollout import PLAYED, ROLLOUTS, Key, Rollout, RolloutLog
from harness.workloads.rl.runner import EnginePolicy, require_equal_errors
from harness.workloads.rl.trainer import OldLogprobs, TrainerSettings
from harness.workloads.training.policy import sampling_params

_PLAYING = (
    "harness.workloads.envs.search.environment",
    "harness.workloads.envs.search.retriever_server",
    "harness.workloads.envs.search.world",
    "harness.workloads.inference.choice",
    "harness.workloads.rl.runner",
)
# params that decide no step of the training
_ELSEWHERE = frozenset(
    {
        *("max_steps", "eval_steps", "num_eval_examples", "max_concurrency"),
        *("kv_cache_gib", "retriever_memory_gib"),
    }
)

SearchRollout = Rollout[SearchEpisode]
SearchStep = TrainingStep[SearchEpisode]


def run(context: Context) -> None:
    """Evaluate a policy, train it by one variant, and evaluate it again."""
    emit, params = context.emit, context.params
    emit.started(device_name())
    way = variant(params)
    with open_resources(context) as resources:
        emit.measured("serve.engine", resources.served.engine.identity)
        emit.measured("retrieve.by", params.retriever)
        evaluated = {0: _evaluate(resources, 0)}
        steps: list[SearchStep] = []
        for step in _train(resources, way):
            steps.append(step)
            _report_step(resources, step)
            progress.tell(f"train {way.name}", step.number, params.max_steps, told_of(step))
            if step.number == 1 and way.settings is not None:
                _compare_two_ways(resources, way, step)
            if is_evaluated(params, step.number):
                with part("evaluations", num_evaluated(params), once=True):
                    evaluated[step.number] = _evaluate(resources, step.number)
        require_equal_errors({f"@{step}": each.num_errors for step, each in evaluated.items()})
        first, *later = [100 * each.results.exact_match for each in evaluated.values()]
        emit.measured("search.gain", later[-1] - first)
        emit.measured("search.eval_auc", fmean(later), count=len(later))
        errors = sum(step.num_errors for step in steps)
        errors += sum(each.num_errors for each in evaluated.values())
        emit.measured("search.rollout_errors", errors)
        trained = {each.task_id for step in steps for each in step.rollouts}
        judged = {task_id for each in evaluated.values() for task_id in each.task_ids}
        emit.measured("search.questions_trained", len(trained & judged))
        if way.settings is not None:
            groups = chain.from_iterable(step.groups for step in steps)
            scored = [ScoredGroup(group=group, advantages=way.objective(group)) for group in groups]
            for metric, value, where in figures(scored, way.settings):
                emit.measured(metric, value, where=where)
        _report_times(resources, steps)
        report_requests(emit, context.steps.folders)


def _train(resources: SearchAgentResources, way: A2tgpoVariant) -> Iterator[SearchStep]:
    """Train the policy by one variant."""
    params, seed = resources.params, resources.context.spec.seed
    settings = TrainerSettings(
        learning_rate=params.learning_rate,
        reset_optimizer_each_step=False,
        dropout=Dropout.OFF,
        max_length=params.max_model_len + 1,
        num_minibatches=params.num_minibatches,
        old_logprobs=OldLogprobs.RECOMPUTED,
        aggregation=way.aggregation,
        clip_band=(way.clip.epsilon_low, way.clip.epsilon_high),
        seed=seed,
    )
    algorithm = Algorithm(
        name=way.name,
        objective=way.objective,
        loss=way.loss,
        settings=settings,
        needs_reference=way.clip.kl_coef > 0,
        gains=partial(_gains, resources, _probing(resources, way)) if way.settings else None,
        seed_has_draw=False,
    )

    def sampling(step: int) -> SamplingParams:
        return _sampling(resources, params.rollout_temperature, step)

    training = Training(
        context=resources.context,
        served=resources.served,
        runner=resources.runner,
        tasks=resources.pool,
        params=params,
        sampling=sampling,
        decides={
            **resources.plays,
            "params": {
                name: value for name, value in to_json(params).items() if name not in _ELSEWHERE
            },
        },
        reads={},
        code=(*_PLAYING, "harness.experiments.a36.variants"),
    )
    return train(training, algorithm)


def _gains(
    resources: SearchAgentResources, probing: Probing, rollouts: Sequence[SearchRollout]
) -> Mapping[Key, tuple[float, ...]]:
    """Take gains with what the params name; engine and trainer have the same weights."""
    if resources.params.gains_by == "engine":
        score = by_engine(resources.served.engine, resources.params.max_concurrency)
    else:
        score = by_trainer(resources.served.policy)
    return probing.gains(rollouts, score)


def _probing(resources: SearchAgentResources, way: A2tgpoVariant) -> Probing:
    assert way.settings is not None, "a variant without advantages of turns takes no gains"
    return Probing(
        gold=resources.gold,
        chat_template=resources.served.chat_template,
        end=way.settings.context_end,
        gain_of=way.settings.gain_of,
    )


def _sampling(resources: SearchAgentResources, temperature: float, step: int) -> SamplingParams:
    """Return how replies are sampled; with other seeds in each step of one run, and in each run."""
    seed = 1000 * resources.context.spec.seed + step
    return replace(sampling_params(resources.params, seed), temperature=temperature)


# --- Figures --------------------------------------------------------------------------------------


@record
class _Evaluation:
    """A held-out evaluation: what was counted, of which questions, and how many rollouts broke."""

    results: SearchEvalResults
    task_ids: tuple[str, ...]
    num_errors: int


def _evaluate(resources: SearchAgentResources, step: int) -> _Evaluation:
    """Answer the held-out questions at the evaluation's temperature, and report the scores.

    Raises:
        HostError: more than 1 % of the rollouts broke.
    """
    policy = EnginePolicy(
        name=f"held-out@{step}",
        engine=resources.served.engine,
        chat_template=resources.served.chat_template,
        sampling=_sampling(resources, resources.params.temperature, 0),
        seed_has_draw=False,
    )
    progress.tell(f"evaluate after step {step}")
    tasks = portion(resources.held_out, resources.runner.max_concurrency)
    with resources.context.steps.step(
        policy.name,
        decides={
            **resources.plays,
            "engine": policy.identity,
            "sampling": to_json(policy.sampling),
            "tasks": [each.task_id for each in tasks],
        },
        reads={"weights": resources.served.version},
        code=_PLAYING,
        keeps=PLAYED,
    ) as made:
        if made.is_new:
            resources.served.settle(made)
            runner = resources.runner.into(made.folder / ROLLOUTS)
            played = runner.run_part(policy, tasks, len(resources.held_out))
            made.is_whole = not any(each.is_error for each in played)  # else they are played again
    rollouts = [
        *RolloutLog(made.folder / ROLLOUTS, SearchEpisode)
        .find((policy.name, task.task_id, 0) for task in tasks)
        .values()
    ]
    hops = {each.task_id: len(each.hops) for each in resources.held_out}
    parts: dict[int, list[SearchEpisode]] = {}  # by the number of facts; 0 for all
    for each in rollouts:
        if not each.is_error:
            parts.setdefault(0, []).append(each.episode)
            parts.setdefault(hops[each.task_id], []).append(each.episode)
    found = {number: eval_results(parts[number]) for number in sorted(parts)}
    for number, results in found.items():
        where = {"step": step, "hops": number}
        for metric, value in (
            ("search.exact_match", 100 * results.exact_match),
            ("search.no_answer", 100 * results.no_answer),
            ("search.calls", results.calls),
        ):
            resources.context.emit.measured(metric, value, where=where, count=results.rollouts)
    return _Evaluation(
        results=found[0],
        task_ids=tuple(each.task_id for each in rollouts),
        num_errors=sum(each.is_error for each in rollouts),
    )


def told_of(step: SearchStep) -> dict[str, float]:
    """Return what of a step is shown while the run is at work."""
    results = eval_results([each.episode for each in step.rollouts if not each.is_error])
    return {
        "reward": fmean(each.reward for each in step.rollouts if each.reward is not None),
        "exact_match_pct": 100 * results.exact_match,
        "searches": results.calls,
    }


def _report_step(resources: SearchAgentResources, step: SearchStep) -> None:
    emit, where, update = resources.context.emit, {"step": step.number}, step.report.update
    results = eval_results([each.episode for each in step.rollouts if not each.is_error])
    reward = fmean(each.reward for each in step.rollouts if each.reward is not None)
    for metric, value in (
        ("train.reward", reward),
        ("train.exact_match", 100 * results.exact_match),
        ("train.calls", results.calls),
    ):
        emit.measured(metric, value, where=where, count=results.rollouts)
    emit.measured("train.zero_variance_groups", step.report.masked_groups, where=where)
    if update is None:
        emit.note(f"step {step.number}: no rollout was of use, and nothing was changed")
        return
    for metric, value in (
        ("train.clip_ratio", 100 * update.statistics["clip_ratio"]),
        ("train.importance_ratio_mean", update.statistics["importance_ratio_mean"]),
        ("train.entropy", update.entropy),
    ):
        emit.measured(metric, value, where=where, count=update.tokens)
    agreement.report(emit, update, where)
    emit.measured("train.update_norm", update.update_norm, where=where)
    emit.measured("train.learning_rate", update.learning_rate, where=where)
    emit.measured("train.tokens", update.tokens, where=where)


def _compare_two_ways(
    resources: SearchAgentResources, way: A2tgpoVariant, step: SearchStep
) -> None:
    """Have server and trainer score the gold answers by the first step's weights."""
    with resources.context.steps.step(
        "two ways of scoring",
        decides={
            **resources.plays,
            "engine": resources.served.engine.identity,
            "variant": way.name,
        },
        reads={"weights": resources.served.version},
        code=(*_PLAYING, "harness.workloads.rl.algorithms.information_gain"),
    ) as made:
        if made.is_new:
            resources.served.settle(made)
            resources.served.policy.load(resources.served.adapter(f"{way.name}-{step.number}"))
            _report_two_ways(resources, way, step.rollouts)


def _report_two_ways(
    resources: SearchAgentResources, way: A2tgpoVariant, rollouts: Sequence[SearchRollout]
) -> None:
    """Report how the gold answers' scores agree; server and trainer have the same weights now."""
    emit, served = resources.context.emit, resources.served
    examples = _probing(resources, way).examples(rollouts)
    began = time.monotonic()
    by_server = by_engine(served.engine, resources.params.max_concurrency)(examples)
    between = time.monotonic()
    by_policy = by_trainer(served.policy)(examples)
    ended = time.monotonic()
    differences = (
        abs(one - other)
        for row, other_row in zip(by_server, by_policy, strict=True)
        for one, other in zip(row, other_row, strict=True)
    )
    emit.measured("gain.logprob_abs_diff_max", max(differences), where={"step": 1})
    emit.measured("gain.engine_time", between - began)
    emit.measured("gain.trainer_time", ended - between)


def _report_times(resources: SearchAgentResources, steps: Sequence[SearchStep]) -> None:
    emit, count = resources.context.emit, len(steps)
    rollouts = list(chain.from_iterable(step.rollouts for step in steps))
    calls = sum(len(each.episode.calls) for each in rollouts)
    searching_s = math.fsum(each.timings.tool_s for each in rollouts)
    search_s = searching_s / calls if calls else math.nan
    emit.measured("retrieve.time", 1000 * search_s, count=len(rollouts))
    updating_s = [math.fsum(step.report.seconds.values()) for step in steps]
    for metric, seconds in (
        ("step.time", [step.total_s for step in steps]),
        ("step.rollout_time", [step.rollout_s for step in steps]),
        ("step.gain_time", [step.gain_s for step in steps]),
        ("step.update_time", updating_s),
    ):
        emit.measured(metric, median(seconds), count=count)
