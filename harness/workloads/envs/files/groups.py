"""From rollouts of one task to a group: what each earned, as a whole and turn by turn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from enum import StrEnum

from harness.workloads.envs.files.grade import binary_reward, shaped_reward
from harness.workloads.envs.files.protocol import FileActionKind, Turn
from harness.workloads.envs.files.rollout import FileRollout
from harness.workloads.rl.group import Group, Member


class Reward(StrEnum):
    """What a rollout earns; article 33, section "The reward"."""

    SHAPED = "shaped"
    BINARY = "binary"


def groups(rollouts: Iterable[FileRollout], reward: Reward) -> tuple[Group, ...]:
    """Return one group a task, in the order in which the tasks come first.

    A rollout that broke has earned nothing, neither much nor little: it is left out, and a group
    of which nothing is left too.

    Args:
        rollouts: with their traces.
        reward: what each earns.
    """
    members: dict[str, list[Member]] = defaultdict(list)
    for rollout in rollouts:
        if rollout.grade is not None:
            members[rollout.task_id].append(_member(rollout, reward))
    return tuple(Group(key=task, members=tuple(own)) for task, own in members.items())


def reward_of(rollout: FileRollout, reward: Reward) -> float:
    """Return what a graded rollout earned."""
    assert rollout.grade is not None
    if reward is Reward.BINARY:
        return binary_reward(rollout.grade)
    return shaped_reward(rollout.grade, len(rollout.turns))


def signal(turn: Turn) -> float:
    """Return what a turn earned by itself; article 34, section "Per-turn advantages".

    1 for a command that exits with 0 in time, and for the stop; else 0.
    """
    if turn.action is not None and turn.action.kind is FileActionKind.DONE:
        return 1.0
    result = turn.observation
    return float(result is not None and result.exit_code == 0 and not result.timed_out)


def _member(rollout: FileRollout, reward: Reward) -> Member:
    assert rollout.trace is not None, "only a model's rollouts can be learnt from"
    return Member(
        trace=rollout.trace,
        reward=reward_of(rollout, reward),
        signals=tuple(signal(turn) for turn in rollout.turns),
    )
