"""Workload ``search.a2tgpo``: a policy learns to search, and what its credit came to is shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from statistics import fmean, median

from harness.experiments.a36.diagnostics import figures
from harness.experiments.a36.learn import (
    Learner,
    SearchStep,
    mean_retrieval_s,
    mean_reward,
    two_ways,
)
from harness.experiments.a36.resources import SearchAgentResources, open_resources
from harness.experiments.a36.variants import A2tgpoVariant, variant
from harness.workloads.api.context import Context
from harness.workloads.api.device import device_name
from harness.workloads.envs.search.rollout import SearchRollout, SearchStopReason, run_episodes
from harness.workloads.envs.search.skill import SearchEvalResults, by_hops, skill_of


def run(context: Context) -> None:
    """Evaluate a policy, train it by one variant, and evaluate it again."""
    context.emit.started(device_name())
    chosen = variant(context.params)
    with open_resources(context) as room:
        context.emit.measured("serve.engine", room.engine.identity)
        context.emit.measured("retrieve.by", room.params.retriever)
        first = _evaluate(room, 0)
        steps, skills = _learn(room, chosen)
        _report_learning(room, first, skills)
        _report_credit(room, chosen, steps)
        _report_times(room, steps)


def _learn(
    resources: SearchAgentResources, chosen: A2tgpoVariant
) -> tuple[list[SearchStep], list[SearchEvalResults]]:
    """Take all steps; return them, and what every held-out evaluation found."""
    learner = Learner(resources, chosen)
    params = resources.params
    steps: list[SearchStep] = []
    skills: list[SearchEvalResults] = []
    for number in range(1, params.max_steps + 1):
        steps.append(learner.step(number))
        _report_step(resources, steps[-1])
        if number == 1 and chosen.rules is not None:
            _report_two_ways(resources, chosen, steps[-1].rollouts)
        if number % params.eval_steps == 0 or number == params.max_steps:
            skills.append(_evaluate(resources, number))
    return steps, skills


def _evaluate(resources: SearchAgentResources, step: int) -> SearchEvalResults:
    """Play the held-out questions by the likeliest tokens, and report what that comes to."""
    player = resources.player(temperature=0.0, round_=0)
    rollouts = run_episodes(player, resources.held_out, 1, resources.params.max_concurrency)
    parts = {0: rollouts, **by_hops(rollouts, resources.questions)}
    found = {hops: skill_of(part) for hops, part in parts.items()}
    for hops, skill in found.items():
        where = {"step": step, "hops": hops}
        for metric, value in (
            ("search.exact_match", 100 * skill.exact_match),
            ("search.no_answer", 100 * skill.no_answer),
            ("search.calls", skill.calls),
        ):
            resources.context.emit.measured(metric, value, where=where, count=skill.rollouts)
    return found[0]


# --- Figures --------------------------------------------------------------------------------------


def _report_learning(
    resources: SearchAgentResources, first: SearchEvalResults, later: Sequence[SearchEvalResults]
) -> None:
    emit, shares = resources.context.emit, [100 * skill.exact_match for skill in later]
    emit.measured("search.gain", shares[-1] - 100 * first.exact_match)
    emit.measured("search.eval_auc", fmean(shares), count=len(shares))


def _report_step(resources: SearchAgentResources, step: SearchStep) -> None:
    emit, where = resources.context.emit, {"step": step.number}
    skill, update = skill_of(step.rollouts), step.report.update
    emit.measured("train.reward", mean_reward(step.rollouts), where=where, count=skill.rollouts)
    emit.measured("train.exact_match", 100 * skill.exact_match, where=where, count=skill.rollouts)
    emit.measured("train.calls", skill.calls, where=where, count=skill.rollouts)
    emit.measured("train.zero_variance_groups", step.report.zero_variance_groups, where=where)
    if update is None:
        emit.note(f"step {step.number}: no rollout was of use, and nothing was changed")
        return
    shares = update.statistics
    emit.measured("train.clip_ratio", 100 * shares["clip_share"], where=where, count=update.tokens)
    emit.measured(
        "train.importance_ratio_mean", shares["ratio_mean"], where=where, count=update.tokens
    )
    emit.measured("train.entropy", update.entropy, where=where, count=update.tokens)
    emit.measured("train.update_norm", update.update_norm, where=where)
    emit.measured("train.tokens", update.tokens, where=where)


def _report_two_ways(
    resources: SearchAgentResources, chosen: A2tgpoVariant, rollouts: Sequence[SearchRollout]
) -> None:
    """Report how the gold answers' scores agree; server and trainer have the same weights now."""
    found = two_ways(resources, rollouts, chosen)
    emit = resources.context.emit
    emit.measured("gain.logprob_abs_diff_max", found.gap, where={"step": 1})
    emit.measured("gain.engine_time", found.engine_s)
    emit.measured("gain.trainer_time", found.trainer_s)


def _report_credit(
    resources: SearchAgentResources, chosen: A2tgpoVariant, steps: Sequence[SearchStep]
) -> None:
    if chosen.rules is None:
        return
    judged = list(chain.from_iterable(step.judged for step in steps))
    for metric, value, where in figures(judged, chosen.rules):
        resources.context.emit.measured(metric, value, where=where)


def _report_times(resources: SearchAgentResources, steps: Sequence[SearchStep]) -> None:
    emit, count = resources.context.emit, len(steps)
    rollouts = list(chain.from_iterable(step.rollouts for step in steps))
    emit.measured(
        "search.rollout_errors", sum(each.stopped is SearchStopReason.BROKEN for each in rollouts)
    )
    emit.measured("retrieve.time", 1000 * mean_retrieval_s(rollouts), count=len(rollouts))
    emit.measured("step.time", median(step.wall_s for step in steps), count=count)
    emit.measured("step.rollout_time", median(step.rollout_s for step in steps), count=count)
    emit.measured("step.gain_time", median(step.gain_s for step in steps), count=count)
    updates = (math.fsum(step.report.seconds.values()) for step in steps)
    emit.measured("step.update_time", median(updates), count=count)
