"""Learning to search: rollouts, what each search gained, an update, the new weights; again.

The paper's loop, with one difference that its code has too, and another that it has not. Ratios are
taken to the trainer's own log-probabilities of the weights that a step begins with, as the server's
differ from them by rounding, and a turn's clip is narrow. And where a gain cannot be taken the run
stops, instead of going on with outcomes alone.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from statistics import fmean

import torch

from harness.experiments.a36.diagnostics import Judged
from harness.experiments.a36.params import A2tgpoParams
from harness.experiments.a36.resources import Room
from harness.experiments.a36.variants import Variant
from harness.records import record
from harness.workloads.envs.search.protocol import Wording
from harness.workloads.envs.search.rollout import Rollout, play_all
from harness.workloads.envs.search.world import Question
from harness.workloads.models.lora import LoraPolicy
from harness.workloads.rl.group import Group
from harness.workloads.rl.information_gain import (
    GainRules,
    Gains,
    Score,
    by_engine,
    different,
    groups,
    probes_of,
    take_gains,
)
from harness.workloads.rl.step import StepReport
from harness.workloads.rl.trainer import Trainer
from harness.workloads.training.example import Example
from harness.workloads.training.settings import Dropout, Old, Optimizer, TrainerSettings


@record
class Step:
    """One step: what was played, what came of it, and what it took.

    Attributes:
        number: 1 for the first.
        rollouts: played by the weights of the step before.
        judged: its groups, with their credit.
        report: of the trainer.
        rollout_s: playing, seconds.
        gain_s: taking gains, seconds.
        update_s: the update, and serving its weights, seconds.
    """

    number: int
    rollouts: tuple[Rollout, ...]
    judged: tuple[Judged, ...]
    report: StepReport
    rollout_s: float
    gain_s: float
    update_s: float

    @property
    def wall_s(self) -> float:
        """All of it, seconds."""
        return self.rollout_s + self.gain_s + self.update_s


class Learner:
    """Trains the policy of a room by one variant, step by step."""

    def __init__(self, room: Room, variant: Variant) -> None:
        self._room, self._variant = room, variant
        needs_reference = variant.clip.kl_coefficient > 0
        self._trainer = Trainer(
            room.policy,
            variant.objective,
            variant.loss,
            _settings(room.params, variant, room.context.spec.seed),
            room.policy.weights() if needs_reference else None,
        )

    def step(self, number: int) -> Step:
        """Take one step.

        Raises:
            HostError: all rollouts broke.
            UnscorableError: a gain cannot be taken.
        """
        began = time.monotonic()
        rollouts = self._play(number)
        played = time.monotonic()
        found = groups(rollouts, self._gains(rollouts))
        scored = time.monotonic()
        report = self._trainer.step(found)
        if report.update is not None:
            self._room.serve(f"step-{number}")
        return Step(
            number=number,
            rollouts=rollouts,
            judged=tuple(self._judged(group) for group in found),
            report=report,
            rollout_s=played - began,
            gain_s=scored - played,
            update_s=time.monotonic() - scored,
        )

    def _play(self, number: int) -> tuple[Rollout, ...]:
        params = self._room.params
        asked = drawn(self._room.pool, params, self._room.context.spec.seed, number)
        player = self._room.player(params.temperature, number)
        return play_all(player, asked, params.rollouts_per_question, params.threads)

    def _gains(self, rollouts: Sequence[Rollout]) -> Gains:
        room = self._room
        if self._variant.rules is None:
            return {}
        score = (
            by_engine(room.engine, room.params.threads)
            if room.params.gains_by == "engine"
            else by_policy(room.policy)
        )
        rules = _gain_rules(room, self._variant)
        return take_gains(rollouts, room.questions, room.dialogue, score, rules)

    def _judged(self, group: Group) -> Judged:
        return Judged(group=group, credit=self._variant.objective(group))


def drawn(pool: Sequence[Question], params: A2tgpoParams, seed: int, number: int) -> list[Question]:
    """Return the questions of a step: the same for every variant, none twice within it."""
    draw = random.Random(f"{seed} {number}")  # noqa: S311 - no secret
    return draw.sample(pool, min(params.questions_per_step, len(pool)))


def by_policy(policy: LoraPolicy) -> Score:
    """Return a way to score that asks the trainer's own model, as it is now."""

    def score(examples: Sequence[Example]) -> list[tuple[float, ...]]:
        with torch.no_grad():
            return [tuple(each.tolist()) for each in policy.logprobs(examples)]

    return score


@record
class TwoWays:
    """The same gold answers scored by server and trainer.

    Attributes:
        gap: largest difference of a token's log-probability, nats.
        engine_s: what the server took, seconds.
        trainer_s: what the trainer took, seconds.
    """

    gap: float
    engine_s: float
    trainer_s: float


def two_ways(room: Room, rollouts: Sequence[Rollout], variant: Variant) -> TwoWays:
    """Score the gold answers of rollouts both ways; the weights of both must be the same."""
    asked = probes_of(rollouts, room.questions, room.dialogue, _gain_rules(room, variant))
    examples = different(asked)
    began = time.monotonic()
    by_server = by_engine(room.engine, room.params.threads)(examples)
    between = time.monotonic()
    by_trainer = by_policy(room.policy)(examples)
    ended = time.monotonic()
    gaps = (
        abs(one - other)
        for row, other_row in zip(by_server, by_trainer, strict=True)
        for one, other in zip(row, other_row, strict=True)
    )
    return TwoWays(gap=max(gaps), engine_s=between - began, trainer_s=ended - between)


def _gain_rules(room: Room, variant: Variant) -> GainRules:
    assert variant.rules is not None, "a variant without credit for turns takes no gains"
    wording = Wording(room.params.wording)
    return GainRules(wording=wording, gain_of=variant.rules.gain_of, end=variant.rules.context_end)


def _settings(params: A2tgpoParams, variant: Variant, seed: int) -> TrainerSettings:
    return TrainerSettings(
        learning_rate=params.rate,
        optimizer=Optimizer.PERSISTENT,
        dropout=Dropout.OFF,
        max_tokens=params.max_model_len + 1,
        mini_batches=params.mini_batches,
        old=Old.COMPUTED,
        aggregation=variant.aggregation,
        seed=seed,
    )


def mean_retrieval_s(rollouts: Sequence[Rollout]) -> float:
    """Return what a search took, mean, seconds; NaN where there was none."""
    calls = sum(len(each.calls) for each in rollouts)
    total = math.fsum(each.retriever_s for each in rollouts)
    return total / calls if calls else math.nan


def mean_reward(rollouts: Sequence[Rollout]) -> float:
    """Return the mean reward of rollouts that did not break."""
    return fmean(each.reward for each in rollouts if each.reward is not None)
