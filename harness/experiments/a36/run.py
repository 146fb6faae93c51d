"""Workload ``search.a2tgpo``: a policy learns to search, and what its credit came to is shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from statistics import fmean, median

from harness.experiments.a36.diagnostics import figures
from harness.experiments.a36.learn import (
    Learner,
    Step,
    mean_retrieval_s,
    mean_reward,
    two_ways,
)
from harness.experiments.a36.resources import Room, open_room
from harness.experiments.a36.variants import Variant, variant
from harness.workloads.api.context import Context
from harness.workloads.api.device import device_name
from harness.workloads.envs.search.rollout import Rollout, Stop, play_all
from harness.workloads.envs.search.skill import Skill, by_hops, skill_of


def run(context: Context) -> None:
    """Evaluate a policy, train it by one variant, and evaluate it again."""
    context.emit.started(device_name())
    chosen = variant(context.params)
    with open_room(context) as room:
        context.emit.measured("serve.engine", room.engine.identity)
        context.emit.measured("retrieve.by", room.params.retriever)
        first = _evaluate(room, 0)
        steps, skills = _learn(room, chosen)
        _report_learning(room, first, skills)
        _report_credit(room, chosen, steps)
        _report_times(room, steps)


def _learn(room: Room, chosen: Variant) -> tuple[list[Step], list[Skill]]:
    """Take all steps; return them, and what every held-out evaluation found."""
    learner = Learner(room, chosen)
    params = room.params
    steps: list[Step] = []
    skills: list[Skill] = []
    for number in range(1, params.steps + 1):
        steps.append(learner.step(number))
        _report_step(room, steps[-1])
        if number == 1 and chosen.rules is not None:
            _report_two_ways(room, chosen, steps[-1].rollouts)
        if number % params.evaluate_every == 0 or number == params.steps:
            skills.append(_evaluate(room, number))
    return steps, skills


def _evaluate(room: Room, step: int) -> Skill:
    """Play the held-out questions by the likeliest tokens, and report what that comes to."""
    player = room.player(temperature=0.0, round_=0)
    rollouts = play_all(player, room.held_out, 1, room.params.threads)
    parts = {0: rollouts, **by_hops(rollouts, room.questions)}
    found = {hops: skill_of(part) for hops, part in parts.items()}
    for hops, skill in found.items():
        where = {"step": step, "hops": hops}
        for metric, value in (
            ("search.exact_match", 100 * skill.exact_match),
            ("search.no_answer", 100 * skill.no_answer),
            ("search.calls", skill.calls),
        ):
            room.context.emit.measured(metric, value, where=where, count=skill.rollouts)
    return found[0]


# --- Figures --------------------------------------------------------------------------------------


def _report_learning(room: Room, first: Skill, later: Sequence[Skill]) -> None:
    emit, shares = room.context.emit, [100 * skill.exact_match for skill in later]
    emit.measured("search.gain", shares[-1] - 100 * first.exact_match)
    emit.measured("search.curve", fmean(shares), count=len(shares))


def _report_step(room: Room, step: Step) -> None:
    emit, where = room.context.emit, {"step": step.number}
    skill, update = skill_of(step.rollouts), step.report.update
    emit.measured("train.reward", mean_reward(step.rollouts), where=where, count=skill.rollouts)
    emit.measured("train.exact_match", 100 * skill.exact_match, where=where, count=skill.rollouts)
    emit.measured("train.calls", skill.calls, where=where, count=skill.rollouts)
    emit.measured("train.muted", step.report.muted_groups, where=where)
    if update is None:
        emit.note(f"step {step.number}: no rollout was of use, and nothing was changed")
        return
    shares = update.statistics
    emit.measured("train.clip_share", 100 * shares["clip_share"], where=where, count=update.tokens)
    emit.measured("train.ratio_mean", shares["ratio_mean"], where=where, count=update.tokens)
    emit.measured("train.entropy", update.entropy, where=where, count=update.tokens)
    emit.measured("train.change", update.weight_delta, where=where)
    emit.measured("train.tokens", update.tokens, where=where)


def _report_two_ways(room: Room, chosen: Variant, rollouts: Sequence[Rollout]) -> None:
    """Report how the gold answers' scores agree; server and trainer have the same weights now."""
    found = two_ways(room, rollouts, chosen)
    emit = room.context.emit
    emit.measured("gain.gap", found.gap, where={"step": 1})
    emit.measured("gain.engine_wall", found.engine_s)
    emit.measured("gain.trainer_wall", found.trainer_s)


def _report_credit(room: Room, chosen: Variant, steps: Sequence[Step]) -> None:
    if chosen.rules is None:
        return
    judged = list(chain.from_iterable(step.judged for step in steps))
    for metric, value, where in figures(judged, chosen.rules):
        room.context.emit.measured(metric, value, where=where)


def _report_times(room: Room, steps: Sequence[Step]) -> None:
    emit, count = room.context.emit, len(steps)
    rollouts = list(chain.from_iterable(step.rollouts for step in steps))
    emit.measured("search.broken", sum(each.stopped is Stop.BROKEN for each in rollouts))
    emit.measured("retrieve.wall", 1000 * mean_retrieval_s(rollouts), count=len(rollouts))
    emit.measured("step.wall", median(step.wall_s for step in steps), count=count)
    emit.measured("step.rollout_wall", median(step.rollout_s for step in steps), count=count)
    emit.measured("step.gain_wall", median(step.gain_s for step in steps), count=count)
    updates = (math.fsum(step.report.seconds.values()) for step in steps)
    emit.measured("step.update_wall", median(updates), count=count)
