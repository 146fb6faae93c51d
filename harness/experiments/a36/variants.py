"""The ways of learning that are compared: each row adds one thing to the row above.

============  ====================================================================================
grpo          one advantage for a rollout; the ratio of each token is clipped
igpo          gains and outcomes are scored in one pool and summed (A2TGPO, equations 4 and 5)
turn-groups   gains are scored among the same turn of the question's other rollouts (6 and 7)
root          sums are divided by the root of the number of their terms (9)
turn-clip     the ratio of a turn is clipped, all turns alike (10, and 11 with beta 0)
full          the width of a turn's clip follows its gain (11): A2TGPO
released      A2TGPO as its released code has it
============  ====================================================================================

The paper's ablation has no row `turn-clip`: its last row adds the ratio of a turn and the width
together, or so its sweep of beta says, whose 0 is not the row before. That the rows before clip the
ratio of each token, as their baselines do, is our reading.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from functools import partial

from harness.experiments.a36.params import A2tgpoParams
from harness.records import record
from harness.workloads.rl.advantages import Aggregation, Objective
from harness.workloads.rl.algorithms import a2tgpo, grpo
from harness.workloads.rl.algorithms.a2tgpo import IGPO, PAPER, RELEASED, A2tgpoSettings
from harness.workloads.rl.losses import Clip, Loss, RatioOf, clipped


class A2tgpoVariantName(StrEnum):
    """What a way of learning is called."""

    GRPO = "grpo"
    IGPO = "igpo"
    TURN_GROUPS = "turn-groups"
    ROOT = "root"
    TURN_CLIP = "turn-clip"
    FULL = "full"
    RELEASED = "released"


_SETTINGS = {
    A2tgpoVariantName.IGPO: IGPO,
    A2tgpoVariantName.TURN_GROUPS: replace(PAPER, rescaled=False, clip_scale_beta=0.0),
    A2tgpoVariantName.ROOT: replace(PAPER, clip_scale_beta=0.0),
    A2tgpoVariantName.TURN_CLIP: replace(PAPER, clip_scale_beta=0.0),
    A2tgpoVariantName.FULL: PAPER,
    A2tgpoVariantName.RELEASED: RELEASED,
}
_BY_TURN = frozenset(
    {A2tgpoVariantName.TURN_CLIP, A2tgpoVariantName.FULL, A2tgpoVariantName.RELEASED}
)


@record
class A2tgpoVariant:
    """One way of learning.

    Attributes:
        settings: how gains become advantages; None where none are taken.
        clip: how ratios are clipped.
    """

    name: A2tgpoVariantName
    settings: A2tgpoSettings | None
    clip: Clip

    @property
    def objective(self) -> Objective:
        """From a group to advantages."""
        return grpo.advantages if self.settings is None else a2tgpo.objective(self.settings)

    @property
    def loss(self) -> Loss:
        """From log-probabilities and advantages to a number."""
        return partial(clipped, clip=self.clip)

    @property
    def aggregation(self) -> Aggregation:
        """How the tokens of an update are averaged."""
        return Aggregation.SEQUENCE if self.settings is None else self.settings.aggregation


def variant(params: A2tgpoParams) -> A2tgpoVariant:
    """Return the way that the params name, with their figures."""
    name = A2tgpoVariantName(params.variant)
    settings = _SETTINGS.get(name)
    if settings is None or name not in _BY_TURN:
        clip = Clip(
            ratio_of=RatioOf.TOKEN,
            low=params.clip_epsilon,
            high=params.clip_epsilon,
            kl_coef=params.kl_coef if name is A2tgpoVariantName.GRPO else 0.0,
        )
    else:
        clip = Clip(
            ratio_of=RatioOf.TURN,
            low=params.turn_epsilon_low,
            high=params.turn_epsilon_high,
            boundaries=settings.boundaries,
            ratio_form=settings.ratio_form,
        )
    if settings is not None:
        beta = params.clip_scale_beta if settings.clip_scale_beta else 0.0
        settings = replace(settings, clip_scale_beta=beta, gamma=params.gamma)
    return A2tgpoVariant(name=name, settings=settings, clip=clip)
