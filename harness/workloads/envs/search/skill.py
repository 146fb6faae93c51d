"""What rollouts of one policy come to, all of them and by the number of facts. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from harness.records import record
from harness.workloads.envs.search.rollout import SearchRollout, SearchStopReason
from harness.workloads.envs.search.world import Question


@record
class SearchEvalResults:
    """What was counted over some rollouts; those that broke count nowhere.

    Attributes:
        rollouts: that count.
        exact_match: share that gave the right answer.
        no_answer: share that gave none.
        calls: mean.
    """

    rollouts: int
    exact_match: float
    no_answer: float
    calls: float


def counted(rollouts: Iterable[SearchRollout]) -> tuple[SearchRollout, ...]:
    """Return the rollouts that did not break."""
    return tuple(each for each in rollouts if each.stopped is not SearchStopReason.BROKEN)


def skill_of(rollouts: Sequence[SearchRollout]) -> SearchEvalResults:
    """Count rollouts, of which at least one did not break."""
    found = counted(rollouts)
    return SearchEvalResults(
        rollouts=len(found),
        exact_match=fmean(each.reward == 1.0 for each in found),
        no_answer=fmean(each.answer is None for each in found),
        calls=fmean(len(each.calls) for each in found),
    )


def by_hops(
    rollouts: Iterable[SearchRollout], questions: Mapping[str, Question]
) -> dict[int, tuple[SearchRollout, ...]]:
    """Return the rollouts that did not break by how many facts their questions take."""
    found: dict[int, list[SearchRollout]] = {}
    for each in counted(rollouts):
        found.setdefault(len(questions[each.question].hops), []).append(each)
    return {hops: tuple(found[hops]) for hops in sorted(found)}
