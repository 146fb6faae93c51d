"""GRPO's advantage: a rollout's reward as a z-score within its group (article 33).

Shao et al. 2024, "DeepSeekMath" (arXiv 2402.03300), section 4.1.2, outcome supervision::

    A_i = (r_i - mean(r)) / std(r)        for the rollouts i of one prompt

No value model is needed: the group's mean is the baseline. Every token of a rollout has the same
advantage, so every turn has. A group whose rewards are equal says nothing and is masked, and so is
a rollout whose reward is the group's mean.

How we differ from the paper: std is the population's, with 1e-8 added, as article 33's program has
it. The loss that belongs to it in articles 33 and 34 is `losses.reinforce`; the paper's own,
clipped one is `losses.clipped` with the ratio of each token. `trainer.py` makes the update.
"""

from __future__ import annotations

from harness.workloads.rl.advantages import (
    ARTICLE,
    NEGLIGIBLE,
    Advantages,
    Group,
    advantages_of,
    check,
    masked_group,
    z_scores,
)


def advantages(group: Group) -> tuple[Advantages, ...]:
    """Return what article 33 says of each member, section "Advantage".

    Raises:
        UnscorableError: the group's numbers mean nothing.
    """
    check(group)
    scores = z_scores(group.rewards, ARTICLE)
    if all(abs(score) < NEGLIGIBLE for score in scores):
        return masked_group(group)
    return tuple(
        advantages_of(member, (score,) * len(member.trace.turns))
        for member, score in zip(group.members, scores, strict=True)
    )
