"""Standard scores of rewards and gains within a group, and what cannot be scored. Loads no torch.

Every objective compares rollouts of one task by z-scores with the population deviation. The article
prints a snippet with the sample deviation; its program and its recorded figures use the
population's (article 33, section "Advantage").
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from harness.errors import HarnessError
from harness.records import record
from harness.workloads.rl.group import Advantages, Group, MaskReason, Member

NEGLIGIBLE = 1e-6  # an advantage below it trains nothing (article 33, section "The update")


class UnscorableError(HarnessError):
    """Numbers that nothing must be trained on; the message names the group and every cause."""


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
    """Statistics of a group's rewards; `std` is the population's."""

    mean: float
    std: float
    low: float
    high: float


def spread(values: Sequence[float]) -> RewardStatistics:
    """Return the statistics of at least one value."""
    return RewardStatistics(mean=_mean(values), std=_std(values), low=min(values), high=max(values))


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


def check(group: Group) -> None:
    """Refuse a group that has no members or numbers that mean nothing.

    Raises:
        UnscorableError: no members; a reward, signal or gain that is not finite; a reply without a
            log-probability for each of its tokens. Names all of them.
    """
    if problems := tuple(_problems(group)):
        raise UnscorableError("\n".join(f"group {group.key}: {problem}" for problem in problems))


def check_lengths(group: Group, *, signals: bool = False, gains: bool = False) -> None:
    """Refuse a group whose members lack a signal for each turn, or a gain for each but the last.

    Raises:
        UnscorableError: names every member of whom this is so.
    """
    problems = []
    for number, member in enumerate(group.members):
        turns = len(member.trace.turns)
        if signals and len(member.signals) != turns:
            problems.append(f"member {number}: {len(member.signals)} signals for {turns} turns")
        if gains and len(member.gains) != (calls := max(turns - 1, 0)):
            problems.append(f"member {number}: {len(member.gains)} gains for {calls} process turns")
    if problems:
        raise UnscorableError("\n".join(f"group {group.key}: {problem}" for problem in problems))


def rewards_of(group: Group) -> tuple[float, ...]:
    """Return the reward of every member."""
    return tuple(member.reward for member in group.members)


def credited(
    member: Member, advantages: Sequence[float], clip_scales: Sequence[float] = ()
) -> Advantages:
    """Return the credit of one member of a group that is used; muted where it trains nothing."""
    muted = None
    if not any(turn.reply for turn in member.trace.turns):
        muted = MaskReason.NO_REPLY
    elif all(abs(advantage) < NEGLIGIBLE for advantage in advantages):
        muted = MaskReason.NO_ADVANTAGE
    return Advantages(advantages=tuple(advantages), clip_scales=tuple(clip_scales), masked=muted)


def masked_group(group: Group) -> tuple[Advantages, ...]:
    """Return the credits of a group that trains nothing: it has one member, or equal rewards."""
    muted = MaskReason.SINGLE_MEMBER if len(group.members) == 1 else MaskReason.EQUAL_REWARDS
    return tuple(
        Advantages(advantages=(0.0,) * len(member.trace.turns), masked=muted)
        for member in group.members
    )


def _problems(group: Group) -> Iterator[str]:
    if not group.members:
        yield "no members"
    for number, member in enumerate(group.members):
        yield from (f"member {number}: {problem}" for problem in _member_problems(member))


def _member_problems(member: Member) -> Iterator[str]:
    if not math.isfinite(member.reward):
        yield f"reward {member.reward}"
    for what, values in (("signal", member.signals), ("gain", member.gains)):
        for turn, value in enumerate(values):
            if not math.isfinite(value):
                yield f"{what} of turn {turn} is {value}"
    for turn, drawn in enumerate(member.trace.turns):
        if len(drawn.logprobs) != len(drawn.reply):
            count = len(drawn.logprobs)
            yield f"turn {turn} has {count} log-probabilities for {len(drawn.reply)} tokens"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _std(values: Sequence[float]) -> float:
    return math.dist(values, (_mean(values),) * len(values)) / math.sqrt(len(values))
