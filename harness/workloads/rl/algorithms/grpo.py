"""GRPO as article 33 has it: a rollout's advantage is its reward's z-score within its group.

Every turn of a rollout gets the same advantage. A group without variance trains nothing, and so
does a rollout whose reward is the group's mean. The loss that belongs to it is
`harness.workloads.rl.losses.reinforce`; the paper's clipped form is `losses.clipped` with the ratio
of each token.
"""

from __future__ import annotations

from harness.workloads.rl.group import Advantages, Group
from harness.workloads.rl.scores import (
    ARTICLE,
    NEGLIGIBLE,
    Deviation,
    check,
    credited,
    masked_group,
    rewards_of,
    z_scores,
)


def advantages(group: Group, deviation: Deviation = ARTICLE) -> tuple[float, ...]:
    """Return one advantage a member: (r - mean) / (population deviation + 1e-8).

    All are 0 where the deviation is below 1e-8 or the group has one member.
    """
    return z_scores(rewards_of(group), deviation)


def credit(group: Group) -> tuple[Advantages, ...]:
    """Return what article 33 says of each member, section "Advantage".

    Raises:
        UnscorableError: the group's numbers mean nothing.
    """
    check(group)
    scores = advantages(group)
    if all(abs(score) < NEGLIGIBLE for score in scores):
        return masked_group(group)
    return tuple(
        credited(member, (score,) * len(member.trace.turns))
        for member, score in zip(group.members, scores, strict=True)
    )
