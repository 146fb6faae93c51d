"""Groups of rollouts in as few words as a test needs."""

from __future__ import annotations

from collections.abc import Sequence

from harness.workloads.rl.advantages import Group, Member
from harness.workloads.rl.rollout import Trace, TurnTrace


def member(
    reward: float,
    *,
    turns: int = 1,
    turn_rewards: Sequence[float] = (),
    gains: Sequence[float] = (),
) -> Member:
    """A rollout whose every turn is a token shown and a token sampled."""
    turn = TurnTrace(context=(1,), reply=(2,), logprobs=(-0.5,))
    trace = Trace(turns=(turn,) * turns)
    return Member(trace=trace, reward=reward, turn_rewards=tuple(turn_rewards), gains=tuple(gains))


def rewarded(*rewards: float, turns: int = 1) -> Group:
    """A group of which nothing but the rewards matters."""
    return Group(key="q", members=tuple(member(reward, turns=turns) for reward in rewards))


def turn_rewarded(rewards: Sequence[float], turn_rewards: Sequence[Sequence[float]]) -> Group:
    """A group with a reward for every turn."""
    pairs = zip(rewards, turn_rewards, strict=True)
    members = tuple(member(reward, turns=len(row), turn_rewards=row) for reward, row in pairs)
    return Group(key="q", members=members)


def gained(rewards: Sequence[float], gains: Sequence[Sequence[float]]) -> Group:
    """A group with a gain for every process turn; an answer turn follows them."""
    pairs = zip(rewards, gains, strict=True)
    members = tuple(member(reward, turns=len(row) + 1, gains=row) for reward, row in pairs)
    return Group(key="q", members=members)
