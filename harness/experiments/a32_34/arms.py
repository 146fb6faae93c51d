"""The ways of learning from rewards that are compared: what each changes, and nothing else.

========  ===========================================================================
grpo      article 33: one advantage for a rollout
cap       with article 34's cap on a reply's tokens
redraw    with turns drawn again while their entropy hardly changes
turns     with an advantage for each turn
full      all three: article 34's variant of T2PO
paper     T2PO's turn level as its paper defines it: uncertainty mixed of entropy and
          confidence, its geometric mean over a turn deciding whether it is drawn again
========  ===========================================================================

The paper's token level (`t2po.intervention`) forces ``</think>`` on a model that thinks aloud. No
model of these articles does, so no arm has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial

from harness.experiments.a32_34.params import GrpoParams, T2poParams
from harness.records import record
from harness.workloads.rl.algorithms import grpo, t2po
from harness.workloads.rl.algorithms.t2po import ResampleRule, UncertaintyMixture
from harness.workloads.rl.group import Objective


class T2poVariantName(StrEnum):
    """What an arm is called."""

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
        name: what its steps are filed under.
        max_new_tokens: cap on a training reply.
        objective: from a group to credit.
        alternatives: log-probabilities that come with each token.
        uncertainty: taken of each reply; None where nothing asks for it.
        resample: which turns are drawn again; None for none.
    """

    name: T2poVariantName
    max_new_tokens: int
    objective: Objective
    alternatives: int = 0
    uncertainty: Callable[[Sequence[Sequence[float]]], float | None] | None = None
    resample: ResampleRule | None = None


def plain(params: GrpoParams) -> T2poVariant:
    """Return article 33's arm."""
    return T2poVariant(
        name=T2poVariantName.GRPO, max_new_tokens=params.max_new_tokens, objective=grpo.credit
    )


def arm(name: T2poVariantName, params: T2poParams) -> T2poVariant:
    """Return one of article 34's arms."""
    rule = ResampleRule(
        resample_threshold=params.resample_threshold, max_resamples=params.max_resamples
    )
    capped = name in {T2poVariantName.CAP, T2poVariantName.FULL}
    by_turn = name in {T2poVariantName.TURNS, T2poVariantName.FULL, T2poVariantName.PAPER}
    again = name in {T2poVariantName.RESAMPLE, T2poVariantName.FULL, T2poVariantName.PAPER}
    return T2poVariant(
        name=name,
        max_new_tokens=params.capped_max_new_tokens if capped else params.max_new_tokens,
        objective=t2po.objective(t2po.T2poSettings(step=params.turn_advantage_weight))
        if by_turn
        else grpo.credit,
        alternatives=params.entropy_top_k if again else 0,
        uncertainty=_uncertainty(name, params.entropy_top_k) if again else None,
        resample=rule if again else None,
    )


def _uncertainty(
    name: T2poVariantName, top_k: int
) -> Callable[[Sequence[Sequence[float]]], float | None]:
    if name is T2poVariantName.PAPER:
        return UncertaintyMixture(top_k=top_k).turn
    return partial(t2po.turn_entropy, top_k=top_k)
