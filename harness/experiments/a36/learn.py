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

from harness.experiments.a36.diagnostics import ScoredGroup
from harness.experiments.a36.params import A2tgpoParams
from harness.experiments.a36.resources import SearchAgentResources
from harness.experiments.a36.variants import A2tgpoVariant
from harness.records import record
from harness.workloads.envs.search.protocol import SearchPromptStyle
from harness.workloads.envs.search.rollout import SearchRollout, run_episodes
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
from harness.workloads.training.settings import Dropout, Old, TrainerSettings


@record
class SearchStep:
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
    rollouts: tuple[SearchRollout, ...]
    judged: tuple[ScoredGroup, ...]
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

    def __init__(self, resources: SearchAgentResources, variant: A2tgpoVariant) -> None:
        self._room, self._variant = resources, variant
        needs_reference = variant.clip.kl_coef > 0
        self._trainer = Trainer(
            resources.policy,
            variant.objective,
            variant.loss,
            _settings(resources.params, variant, resources.context.spec.seed),
            resources.policy.weights() if needs_reference else None,
        )

    def step(self, number: int) -> SearchStep:
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
        return SearchStep(
            number=number,
            rollouts=rollouts,
            judged=tuple(self._judged(group) for group in found),
            report=report,
            rollout_s=played - began,
            gain_s=scored - played,
            update_s=time.monotonic() - scored,
        )

    def _play(self, number: int) -> tuple[SearchRollout, ...]:
        params = self._room.params
        asked = sampled_prompts(self._room.pool, params, self._room.context.spec.seed, number)
        player = self._room.player(params.rollout_temperature, number)
        return run_episodes(player, asked, params.num_generations, params.max_concurrency)

    def _gains(self, rollouts: Sequence[SearchRollout]) -> Gains:
        room = self._room
        if self._variant.rules is None:
            return {}
        score = (
            by_engine(room.engine, room.params.max_concurrency)
            if room.params.gains_by == "engine"
            else by_policy(room.policy)
        )
        rules = _gain_rules(room, self._variant)
        return take_gains(rollouts, room.questions, room.chat_template, score, rules)

    def _judged(self, group: Group) -> ScoredGroup:
        return ScoredGroup(group=group, credit=self._variant.objective(group))


def sampled_prompts(
    pool: Sequence[Question], params: A2tgpoParams, seed: int, number: int
) -> list[Question]:
    """Return the questions of a step: the same for every variant, none twice within it."""
    draw = random.Random(f"{seed} {number}")  # noqa: S311 - no secret
    return draw.sample(pool, min(params.prompts_per_step, len(pool)))


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


def two_ways(
    resources: SearchAgentResources, rollouts: Sequence[SearchRollout], variant: A2tgpoVariant
) -> TwoWays:
    """Score the gold answers of rollouts both ways; the weights of both must be the same."""
    asked = probes_of(
        rollouts, resources.questions, resources.chat_template, _gain_rules(resources, variant)
    )
    examples = different(asked)
    began = time.monotonic()
    by_server = by_engine(resources.engine, resources.params.max_concurrency)(examples)
    between = time.monotonic()
    by_trainer = by_policy(resources.policy)(examples)
    ended = time.monotonic()
    gaps = (
        abs(one - other)
        for row, other_row in zip(by_server, by_trainer, strict=True)
        for one, other in zip(row, other_row, strict=True)
    )
    return TwoWays(gap=max(gaps), engine_s=between - began, trainer_s=ended - between)


def _gain_rules(resources: SearchAgentResources, variant: A2tgpoVariant) -> GainRules:
    assert variant.rules is not None, "a variant without credit for turns takes no gains"
    prompt_style = SearchPromptStyle(resources.params.prompt_style)
    return GainRules(
        prompt_style=prompt_style, gain_of=variant.rules.gain_of, end=variant.rules.context_end
    )


def _settings(params: A2tgpoParams, variant: A2tgpoVariant, seed: int) -> TrainerSettings:
    return TrainerSettings(
        learning_rate=params.learning_rate,
        reset_optimizer_each_step=False,
        dropout=Dropout.OFF,
        max_length=params.max_model_len + 1,
        num_minibatches=params.num_minibatches,
        old=Old.COMPUTED,
        aggregation=variant.aggregation,
        seed=seed,
    )


def mean_retrieval_s(rollouts: Sequence[SearchRollout]) -> float:
    """Return what a search took, mean, seconds; NaN where there was none."""
    calls = sum(len(each.calls) for each in rollouts)
    total = math.fsum(each.retriever_s for each in rollouts)
    return total / calls if calls else math.nan


def mean_reward(rollouts: Sequence[SearchRollout]) -> float:
    """Return the mean reward of rollouts that did not break."""
    return fmean(each.reward for each in rollouts if each.reward is not None)
