from __future__ import annotations

import math
from dataclasses import replace

import pytest

from harness.workloads.rl.advantages import (
    ARTICLE,
    PLAIN,
    RELEASED,
    Group,
    MaskReason,
    UnscorableError,
    by_turn,
    check,
    pooled,
    reward_statistics,
    z_scores,
)
from harness.workloads.rl.algorithms import grpo
from harness.workloads.rl.rollout import Trace, TurnTrace

from .builders import gained, member, rewarded, turn_rewarded


def test_the_deviation_is_the_populations() -> None:
    """Article 33's smoke test: recorded 0.272; the sample's would be 0.315."""
    found = reward_statistics([0.05, 0.633, 0.05, 0.55])
    assert found.deviation == pytest.approx(0.272, abs=5e-4)
    assert (found.low, found.high) == (0.05, 0.633)


def test_two_different_values_are_always_one_deviation_apart_from_their_mean() -> None:
    assert z_scores([0.3, 0.9]) == pytest.approx((-1.0, 1.0))


@pytest.mark.parametrize("deviation", [PLAIN, ARTICLE, RELEASED])
def test_nothing_to_compare_scores_zero(deviation: object) -> None:
    assert z_scores([], deviation) == ()  # type: ignore[arg-type]
    assert z_scores([3.0], deviation) == (0.0,)  # type: ignore[arg-type]
    assert z_scores([0.9167] * 7, deviation) == pytest.approx((0.0,) * 7, abs=1e-9)  # type: ignore[arg-type]


def test_rounding_is_not_taken_for_variance() -> None:
    assert z_scores([0.1 + 0.2, 0.3, 0.3]) == (0.0, 0.0, 0.0)


def test_the_released_deviation_shrinks_small_differences() -> None:
    """sqrt(1e-8) = 1e-4 stands in for a deviation of 1e-6."""
    assert z_scores([0.0, 2e-6], RELEASED)[1] == pytest.approx(1e-6 / (1e-4 + 1e-6), rel=1e-3)
    assert z_scores([0.0, 2e-6])[1] == pytest.approx(1.0)


def test_a_turn_is_compared_among_those_who_reach_it() -> None:
    rows = by_turn([[1.0, 5.0], [], [3.0], [2.0, 9.0, 7.0]])
    assert list(map(len, rows)) == [2, 0, 1, 3]
    assert [rows[0][0], rows[2][0], rows[3][0]] == pytest.approx([-1.2247, 1.2247, 0.0], abs=1e-4)
    assert (rows[0][1], rows[3][1]) == pytest.approx((-1.0, 1.0))
    assert rows[3][2] == 0.0


def test_pooling_keeps_the_rows() -> None:
    rows = pooled([[1.0], [], [3.0, 2.0]])
    assert rows[1] == ()
    assert [rows[0][0], *rows[2]] == pytest.approx([-1.2247, 1.2247, 0.0], abs=1e-4)


def test_a_group_without_members_is_refused() -> None:
    with pytest.raises(UnscorableError, match="group q: no members"):
        check(Group(key="q", members=()))


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_no_number_is_refused(reward: float) -> None:
    with pytest.raises(UnscorableError, match="group q: member 1: reward"):
        check(rewarded(0.0, reward))


def test_every_cause_is_named_at_once() -> None:
    group = Group(
        key="q",
        members=(
            member(math.nan, gains=[math.inf]),
            member(0.0, turns=2, turn_rewards=[0.0, math.nan]),
        ),
    )
    with pytest.raises(UnscorableError) as caught:
        check(group)
    assert str(caught.value).splitlines() == [
        "group q: member 0: reward nan",
        "group q: member 0: gain of turn 0 is inf",
        "group q: member 1: turn reward of turn 1 is nan",
    ]


def test_missing_logprobs_are_refused() -> None:
    turn = TurnTrace(context=(1,), reply=(2, 3), logprobs=(-0.1,))
    drawn = replace(member(1.0), trace=Trace(turns=(turn,)))
    with pytest.raises(UnscorableError, match="turn 0 has 1 log-probabilities for 2 tokens"):
        grpo.advantages(Group(key="q", members=(drawn, member(0.0))))


def test_a_rollout_without_a_drawn_token_trains_nothing_but_counts() -> None:
    silent = replace(
        member(0.0), trace=Trace(turns=(TurnTrace(context=(1,), reply=(), logprobs=()),))
    )
    credit = grpo.advantages(Group(key="q", members=(silent, member(1.0))))
    assert [each.masked for each in credit] == [MaskReason.NO_REPLY, None]
    assert credit[1].per_turn == pytest.approx((1.0,))


def test_an_empty_turn_has_credit_like_any_other() -> None:
    empty = TurnTrace(context=(1,), reply=(), logprobs=())
    some = TurnTrace(context=(1,), reply=(2,), logprobs=(-0.5,))
    mixed = replace(member(1.0), trace=Trace(turns=(some, empty)))
    credit = grpo.advantages(Group(key="q", members=(mixed, member(0.0))))
    assert credit[0].per_turn == pytest.approx((1.0, 1.0))
    assert credit[0].masked is None


def test_builders_agree_with_what_objectives_expect() -> None:
    check(turn_rewarded([0.0, 1.0], [[0.0], [1.0, 1.0]]))
    check(gained([0.0, 1.0], [[0.1], []]))
