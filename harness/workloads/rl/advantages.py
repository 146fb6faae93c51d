"""From rewards to advantages: groups, what an objective says of them, and z-scores. Loads no torch.

A group is the rollouts of one task. An objective turns it into advantages, one for every turn of
every rollout. It is a pure function, so that two lines of an article's table can be checked with
pencil and paper.

Every objective compares the rollouts of a group by z-scores with the population deviation. The
article prints a snippet with the sample deviation; its program and its recorded figures use the
population's (article 33, section "Advantage").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from harness.errors import HarnessError
from harness.records import record
from harness.workloads.rl.rollout import Key, Rollout, Trace

NEGLIGIBLE = 1e-6  # an advantage below it trains nothing (article 33, section "The update")


class UnscorableError(HarnessError):
    """Numbers that nothing must be trained on; the message names the group and every cause."""


# --- Groups ---------------------------------------------------------------------------------------


@record
class Member:
    """One rollout of a group.

    Attributes:
        trace: its tokens.
        reward: of the whole rollout.
        turn_rewards: what each turn earned by itself, one number a turn (article 34, "per-turn
            advantages"); empty where the objective has no use for it.
        gains: information gain of each process turn, all turns but the last (A2TGPO, equation 2);
            empty where the objective has no use for it.
    """

    trace: Trace
    reward: float
    turn_rewards: tuple[float, ...] = ()
    gains: tuple[float, ...] = ()


@record
class Group:
    """Rollouts of one task that are compared with each other."""

    key: str
    members: tuple[Member, ...]

    @property
    def rewards(self) -> tuple[float, ...]:
        """The reward of every member."""
        return tuple(member.reward for member in self.members)


def groups(
    rollouts: Iterable[Rollout[Any]], gains: Mapping[Key, tuple[float, ...]] | None = None
) -> tuple[Group, ...]:
    """Return one group a task, in the order in which the tasks come first.

    A rollout that ended by an error has earned neither much nor little: it is left out, and a group
    of which nothing is left too.

    Args:
        rollouts: of one set of weights, with their traces.
        gains: information gains, by rollout; None where the objective has no use for them.
    """
    members: dict[str, list[Member]] = {}
    for each in rollouts:
        if each.reward is None:
            continue
        assert each.trace is not None, "only a model's rollouts can be learnt from"
        member = Member(
            trace=each.trace,
            reward=each.reward,
            turn_rewards=each.turn_rewards,
            gains=(gains or {}).get(each.key, ()),
        )
        members.setdefault(each.task_id, []).append(member)
    return tuple(Group(key=task, members=tuple(own)) for task, own in members.items())


# --- What an objective says -----------------------------------------------------------------------


class MaskReason(StrEnum):
    """Why a group, or a member of one, trains nothing."""

    SINGLE_MEMBER = "single member"
    EQUAL_REWARDS = "equal rewards"
    NO_ADVANTAGE = "its reward is the group's mean"
    NO_REPLY = "no token sampled"
    TOO_LONG = "longer than the trainer's context"


@record
class Advantages:
    """What an objective says of one member.

    Attributes:
        per_turn: one advantage a turn.
        clip_scales: by what each turn's clip width is multiplied (A2TGPO, equation 11); empty
            where the loss does not clip.
        masked: why it trains nothing; None where it does.
    """

    per_turn: tuple[float, ...]
    clip_scales: tuple[float, ...] = ()
    masked: MaskReason | None = None


class Aggregation(StrEnum):
    """How the losses of a batch's tokens are averaged."""

    SEQUENCE = "sequence"  # within each rollout, then over rollouts: GRPO's paper, A2TGPO's eq. 12
    TOKEN = "token"  # noqa: S105 - over all tokens of the batch: A2TGPO's released code


# Advantages of each member, in order; a masked group is one whose members are all masked
Objective = Callable[[Group], tuple[Advantages, ...]]


def advantages_of(
    member: Member, per_turn: Sequence[float], clip_scales: Sequence[float] = ()
) -> Advantages:
    """Return the advantages of one member of a group that is used; masked where all are 0."""
    masked = None
    if not any(turn.reply for turn in member.trace.turns):
        masked = MaskReason.NO_REPLY
    elif all(abs(advantage) < NEGLIGIBLE for advantage in per_turn):
        masked = MaskReason.NO_ADVANTAGE
    return Advantages(per_turn=tuple(per_turn), clip_scales=tuple(clip_scales), masked=masked)


def masked_group(group: Group) -> tuple[Advantages, ...]:
    """Return the advantages of a group that trains nothing: one member, or equal rewards."""
    alone = len(group.members) == 1
    masked = MaskReason.SINGLE_MEMBER if alone else MaskReason.EQUAL_REWARDS
    return tuple(
        Advantages(per_turn=(0.0,) * len(member.trace.turns), masked=masked)
        for member in group.members
    )


# --- Standard scores ------------------------------------------------------------------------------


@record
class Deviation:
    """How a standard deviation is made safe to divide by.

    Attributes:
        inside: added to the variance.
        outside: added to the deviation.
        floor: a deviation below it counts as none, and every score is then 0.
    """

    inside: float = 0.0
    outside: float = 0.0
    floor: float = 1e-8


PLAIN = Deviation()
ARTICLE = Deviation(outside=1e-8)  # articles 33 and 34
RELEASED = Deviation(inside=1e-8, outside=1e-6, floor=0.0)  # the released code of A2TGPO


@record
class RewardStatistics:
    """Statistics of a group's rewards; `deviation` is the population's."""

    mean: float
    deviation: float
    low: float
    high: float


def reward_statistics(values: Sequence[float]) -> RewardStatistics:
    """Return the statistics of at least one value."""
    return RewardStatistics(
        mean=_mean(values), deviation=_std(values), low=min(values), high=max(values)
    )


def z_scores(values: Sequence[float], deviation: Deviation = PLAIN) -> tuple[float, ...]:
    """Return (value - mean) / deviation of each; zeros for a single value or without variance."""
    std = math.hypot(_std(values), math.sqrt(deviation.inside)) if values else 0.0
    if len(values) < 2 or std < deviation.floor or not std:  # noqa: PLR2004 - two are compared
        return (0.0,) * len(values)
    mean = _mean(values)
    return tuple((value - mean) / (std + deviation.outside) for value in values)


Rows = tuple[tuple[float, ...], ...]  # one row a member, each of its own length


def by_turn(rows: Sequence[Sequence[float]], deviation: Deviation = PLAIN) -> Rows:
    """Return z-scores within each turn, over the rows that reach it.

    A2TGPO, equations 6 and 7, and the step advantages of article 34. GiGPO itself groups turns by
    an equal state of the world instead, which text of a shell hardly ever has.
    """
    scores: list[list[float]] = [[] for _ in rows]
    for turn in range(max(map(len, rows), default=0)):
        reaching = [number for number, row in enumerate(rows) if len(row) > turn]
        column = z_scores([rows[number][turn] for number in reaching], deviation)
        for number, score in zip(reaching, column, strict=True):
            scores[number].append(score)
    return tuple(map(tuple, scores))


def pooled(rows: Sequence[Sequence[float]], deviation: Deviation = PLAIN) -> Rows:
    """Return z-scores over all values of all rows."""
    scores = iter(z_scores([value for row in rows for value in row], deviation))
    return tuple(tuple(next(scores) for _ in row) for row in rows)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _std(values: Sequence[float]) -> float:
    return math.dist(values, (_mean(values),) * len(values)) / math.sqrt(len(values))


# --- What cannot be scored ------------------------------------------------------------------------


def check(group: Group, *, turn_rewards: bool = False, gains: bool = False) -> None:
    """Refuse a group that nothing must be trained on.

    Args:
        group: what an objective is about to score.
        turn_rewards: whether it needs a reward for each turn.
        gains: whether it needs a gain for each turn but the last.

    Raises:
        UnscorableError: no members; a number that is not finite; a reply without a log-probability
            for each of its tokens; what is needed is not there. Names all of them.
    """
    problems = list(_problems(group))
    for number, member in enumerate(group.members):
        turns = len(member.trace.turns)
        if turn_rewards and len(member.turn_rewards) != turns:
            count = len(member.turn_rewards)
            problems.append(f"member {number}: {count} turn rewards for {turns} turns")
        if gains and len(member.gains) != (calls := max(turns - 1, 0)):
            problems.append(f"member {number}: {len(member.gains)} gains for {calls} process turns")
    if problems:
        raise UnscorableError("\n".join(f"group {group.key}: {problem}" for problem in problems))


def _problems(group: Group) -> Iterator[str]:
    if not group.members:
        yield "no members"
    for number, member in enumerate(group.members):
        who = f"member {number}"
        if not math.isfinite(member.reward):
            yield f"{who}: reward {member.reward}"
        for what, values in (("turn reward", member.turn_rewards), ("gain", member.gains)):
            for turn, value in enumerate(values):
                if not math.isfinite(value):
                    yield f"{who}: {what} of turn {turn} is {value}"
        for turn, sampled in enumerate(member.trace.turns):
            if len(sampled.logprobs) != len(sampled.reply):
                count = len(sampled.logprobs)
                tokens = len(sampled.reply)
                yield f"{who}: turn {turn} has {count} log-probabilities for {tokens} tokens"
