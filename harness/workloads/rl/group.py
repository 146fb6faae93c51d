"""A group: rollouts of one task, and what an objective says of each. Loads no torch.

An objective turns a group into credit: for every turn of every member an advantage. It is a pure
function, so that two lines of an article's table can be checked by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from harness.records import record
from harness.workloads.training.trace import Trace


@record
class Member:
    """One rollout of a group.

    Attributes:
        trace: its tokens.
        reward: of the whole rollout.
        signals: what each turn earned by itself, one number a turn (article 34, "per-turn
            advantages"); empty where the objective has no use for it.
        gains: information gain of each process turn, all turns but the last (A2TGPO, equation 2);
            empty where the objective has no use for it.
    """

    trace: Trace
    reward: float
    signals: tuple[float, ...] = ()
    gains: tuple[float, ...] = ()


@record
class Group:
    """Rollouts of one task that are compared with each other."""

    key: str
    members: tuple[Member, ...]


class MaskReason(StrEnum):
    """Why a group, or a member of one, trains nothing."""

    SINGLE_MEMBER = "single member"
    EQUAL_REWARDS = "equal rewards"
    NO_ADVANTAGE = "its reward is the group's mean"
    NO_REPLY = "no token drawn"
    TOO_LONG = "longer than the trainer's context"


@record
class Advantages:
    """What an objective says of one member.

    Attributes:
        advantages: one a turn.
        clip_scales: by what each turn's clip width is multiplied (A2TGPO, equation 11); empty
            where the loss does not clip.
        masked: why it trains nothing; None where it does.
    """

    advantages: tuple[float, ...]
    clip_scales: tuple[float, ...] = ()
    masked: MaskReason | None = None


# one credit a member, in order; a muted group is one whose members are all muted
Objective = Callable[[Group], tuple[Advantages, ...]]
