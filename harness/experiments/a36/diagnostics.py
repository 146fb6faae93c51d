"""Figures of the advantages that an objective gave to a run's groups. Loads no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import fmean, pstdev

from harness.records import Scalar, record
from harness.workloads.rl.advantages import Advantages, Group
from harness.workloads.rl.algorithms.a2tgpo import A2tgpoSettings, turn_scores

Figure = tuple[str, Scalar, Mapping[str, Scalar]]


@record
class ScoredGroup:
    """A group, and what the objective said of it."""

    group: Group
    advantages: tuple[Advantages, ...]


def figures(scored: Sequence[ScoredGroup], settings: A2tgpoSettings) -> Iterator[Figure]:
    """Yield every figure; none if no rollout made a call."""
    gains = [len(member.gains) for each in scored for member in each.group.members]
    yield "gain.count", sum(gains), {}
    if not any(gains):
        return
    yield "gain.singletons", 100 * fmean(_alone(each.group) for each in scored), {}
    yield "advantage.turn_bias", fmean(_biases(scored, settings)), {}
    yield from _spreads([each for each in scored if len(each.group.members) > 1])
    used = [each for one in scored for each in one.advantages if each.masked is None]
    neighbours = [pair for each in used for pair in pairwise(each.per_turn)]
    if neighbours:
        yield "advantage.repeated_turns", 100 * fmean(one == other for one, other in neighbours), {}
    yield from _clip_scales(used)


def _alone(group: Group) -> float:
    """Return the share of a group's gains that have nothing to be compared with."""
    reaching = Counter(turn for member in group.members for turn in range(len(member.gains)))
    total = sum(reaching.values())
    return sum(count == 1 for count in reaching.values()) / total if total else 0.0


def _biases(scored: Iterable[ScoredGroup], settings: A2tgpoSettings) -> Iterator[float]:
    """Yield |mean of the scores| of every turn of every group that two members reach."""
    for each in scored:
        rows = turn_scores(each.group, settings)
        for turn in range(max(map(len, rows), default=0)):
            column = [row[turn] for row in rows if len(row) > turn]
            if len(column) > 1:
                yield abs(fmean(column))


def _spreads(scored: Iterable[ScoredGroup]) -> Iterator[Figure]:
    """Yield the spread of what process turns add to the answer's advantage.

    Of rollouts with the same number of calls, the most frequent one above 1, so that a turn's place
    is not mixed up with how long rollouts are.
    """
    several = [each for one in scored for each in one.advantages if len(each.per_turn) > 2]  # noqa: PLR2004 - two calls and the answer
    if not several:
        return
    ((length, _),) = Counter(len(each.per_turn) for each in several).most_common(1)
    rows = [each.per_turn for each in several if len(each.per_turn) == length]
    spreads = [pstdev(row[turn] - row[-1] for row in rows) for turn in range(length - 1)]
    for turn, spread in enumerate(spreads, 1):
        yield "advantage.process_std", spread, {"turn": turn}
    if spreads[-1]:
        yield "advantage.depth_ratio", spreads[0] / spreads[-1], {}


def _clip_scales(used: Iterable[Advantages]) -> Iterator[Figure]:
    scales = [scale for each in used for scale in each.clip_scales[:-1]]
    if not scales:
        return
    yield "clip.scale_mean", fmean(scales), {}
    yield "clip.scale_std", pstdev(scales), {}
    yield "clip.scale_min", min(scales), {}
    yield "clip.scale_max", max(scales), {}
