"""The ways of learning from rewards that are compared: what each changes, and nothing else.

========  ===========================================================================
grpo      article 33: one advantage for a rollout
cap       with article 34's cap on a reply's tokens
resample  with turns sampled again while their entropy hardly changes
turns     with an advantage for each turn
full      all three: article 34's variant of T2PO
paper     T2PO's turn level as its paper defines it: uncertainty mixed of entropy and
          confidence, its geometric mean over a turn deciding whether it is sampled again
========  ===========================================================================

The paper's token level (`t2po.intervention`) forces ``</think>`` on a model that thinks aloud. No
model of these articles does, so no variant has it.
"""

from __future__ import annotations

from enum import StrEnum
from functools import partial

from harness.experiments.a32_34.params import GrpoParams, T2poParams
from harness.records import record
from harness.workloads.models.lora_settings import Dropout
from harness.workloads.rl.algorithms import grpo, t2po
from harness.workloads.rl.algorithms.t2po import ResampleRule, UncertaintyMixture
from harness.workloads.rl.loop import Algorithm
from harness.workloads.rl.losses import reinforce
from harness.workloads.rl.trainer import TrainerSettings


class T2poVariantName(StrEnum):
    """What a variant is called."""

    GRPO = "grpo"
    CAP = "cap"
    RESAMPLE = "resample"
    TURNS = "turns"
    FULL = "full"
    PAPER = "paper"


@record
class T2poVariant:
    """One way of learning.

    Attributes:
        max_new_tokens: of a training reply.
        algorithm: what decides an update.
        alternatives: log-probabilities that come with each sampled token.
        resample: which turns are sampled again; None for none.
    """

    max_new_tokens: int
    algorithm: Algorithm
    alternatives: int = 0
    resample: ResampleRule | None = None

    @property
    def name(self) -> str:
        """What its steps are filed under."""
        return self.algorithm.name


def plain(params: GrpoParams, seed: int) -> T2poVariant:
    """Return article 33's way."""
    algorithm = Algorithm(
        name=T2poVariantName.GRPO,
        objective=grpo.advantages,
        loss=partial(reinforce, kl_coef=params.kl_coef),
        settings=_settings(params, seed),
    )
    return T2poVariant(max_new_tokens=params.max_new_tokens, algorithm=algorithm)


def _settings(params: GrpoParams, seed: int) -> TrainerSettings:
    return TrainerSettings(
        learning_rate=params.learning_rate,
        reset_optimizer_each_step=params.reset_optimizer_each_step,
        dropout=Dropout(params.dropout),
        max_length=params.max_model_len,
        seed=seed,
    )


def variant(name: T2poVariantName, params: T2poParams, seed: int) -> T2poVariant:
    """Return one of article 34's ways."""
    full = name is T2poVariantName.FULL
    by_turn = full or name in {T2poVariantName.TURNS, T2poVariantName.PAPER}
    again = full or name in {T2poVariantName.RESAMPLE, T2poVariantName.PAPER}
    settings = t2po.T2poSettings(turn_weight=params.turn_advantage_weight)
    rule = ResampleRule(threshold=params.resample_threshold, max_resamples=params.max_resamples)
    uncertainty: t2po.Uncertainty = partial(t2po.turn_entropy, top_k=params.entropy_top_k)
    if name is T2poVariantName.PAPER:
        uncertainty = UncertaintyMixture(top_k=params.entropy_top_k).turn
    algorithm = Algorithm(
        name=name,
        objective=t2po.objective(settings) if by_turn else grpo.advantages,
        loss=partial(reinforce, kl_coef=params.kl_coef),
        settings=_settings(params, seed),
        turn_filter=partial(t2po.TurnResampler, uncertainty, rule) if again else None,
    )
    capped = full or name is T2poVariantName.CAP
    return T2poVariant(
        max_new_tokens=params.capped_max_new_tokens if capped else params.max_new_tokens,
        algorithm=algorithm,
        alternatives=params.entropy_top_k if again else 0,
        resample=rule if again else None,
    )
