from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from harness.workloads.rl.advantages import MaskReason, UnscorableError
from harness.workloads.rl.algorithms import grpo, t2po
from harness.workloads.rl.algorithms.t2po import (
    InterventionRule,
    ResampleRule,
    Resampling,
    T2poSettings,
    UncertaintyMixture,
    intervention,
    should_resample,
    token_entropy,
    turn_entropy,
)

from .builders import rewarded, turn_rewarded

_UNIFORM = (math.log(1 / 40),) * 20  # half of the probability, in equal parts


def _logs(*shares: float) -> tuple[float, ...]:
    return tuple(math.log(share) if share else -math.inf for share in shares)


# --- Entropy ------------------------------------------------------------------------------------


def test_the_articles_entropies() -> None:
    assert token_entropy(_logs(0.7, 0.2, 0.05), 3) == pytest.approx(0.708019, abs=1e-6)
    assert token_entropy(_UNIFORM, 20) == pytest.approx(2.995732, abs=1e-6)
    assert token_entropy(_logs(0.9), 1) == 0.0


def test_an_impossible_token_adds_nothing() -> None:
    assert token_entropy(_logs(0.5, 0.5, 0.0), 3) == pytest.approx(math.log(2))


def test_a_turn_is_the_mean_of_its_tokens() -> None:
    tokens = [_logs(0.7, 0.2, 0.05), _logs(1.0, 0.0, 0.0)]
    assert turn_entropy(tokens, top_k=3) == pytest.approx(0.708019 / 2, abs=1e-6)


def test_a_reply_without_tokens_has_no_entropy() -> None:
    assert turn_entropy([]) is None
    assert UncertaintyMixture().turn([]) is None


def test_fewer_alternatives_than_asked_for_are_refused() -> None:
    with pytest.raises(UnscorableError, match="3 alternatives of a token where 20"):
        turn_entropy([_logs(0.7, 0.2, 0.05)])


def test_more_alternatives_than_asked_for_are_left_out() -> None:
    assert token_entropy(_logs(0.4, 0.4, 0.2), 2) == pytest.approx(math.log(2))


@pytest.mark.parametrize("bad", [(math.nan, -1.0), (math.inf, -1.0), (-math.inf, -math.inf)])
def test_alternatives_that_are_no_numbers_are_refused(bad: tuple[float, ...]) -> None:
    with pytest.raises(UnscorableError, match="log-probabilities of a token"):
        token_entropy(bad, 2)


# --- The paper's mixture ------------------------------------------------------------------------


def test_the_mixture_by_hand() -> None:
    """H = 0.6931 of ln 2; C = 2.0 where 1 is ln 2 = .6931 and 3: .5666."""
    rule = UncertaintyMixture(weight=0.4, top_k=2, certain=3.0)
    logprobs = (-2.0, -2.0)
    confidence = (2.0 - math.log(2)) / (3.0 - math.log(2))
    assert rule.token(logprobs) == pytest.approx(0.4 * 1.0 + 0.6 * (1 - confidence))


def test_the_mixture_lies_between_certain_and_uniform() -> None:
    rule = UncertaintyMixture(top_k=20)
    assert rule.token((0.0, *(-100.0,) * 19)) == pytest.approx(0.0, abs=1e-9)
    assert rule.token((math.log(1 / 20),) * 20) == pytest.approx(1.0)


def test_one_certain_token_does_not_decide_a_turn() -> None:
    certain, uniform = (0.0, *(-100.0,) * 19), (math.log(1 / 20),) * 20
    assert UncertaintyMixture(floor=1e-3).turn([certain, uniform]) == pytest.approx(math.sqrt(1e-3))


# --- Redrawing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("distance", "expected"), [(0.0, False), (1e-9, True), (0.29, True), (0.3, False)]
)
def test_the_articles_rule(distance: float, expected: bool) -> None:  # noqa: FBT001 - a table
    assert should_resample(distance, 0.3) is expected


def test_the_papers_rule_draws_an_equal_turn_again() -> None:
    assert should_resample(0.0, 0.3, accept_equal=False)


def _draws(uncertainties: Sequence[float | None], rule: ResampleRule | None = None) -> list[int]:
    """How many draws each accepted turn took."""
    state, taken = Resampling(rule=rule or ResampleRule()), []
    for uncertainty in uncertainties:
        state = state.sampled(uncertainty)
        if state.accepted:
            taken.append(state.draws)
    return taken


def test_the_first_turn_is_kept_and_later_ones_are_drawn_twice_again_at_most() -> None:
    assert _draws([1.0, 1.1, 1.2, 1.25, 9.0]) == [1, 3, 1]


def test_a_distant_draw_ends_the_search() -> None:
    assert _draws([1.0, 1.1, 2.0, 2.1, 2.0]) == [1, 2, 2]  # a distance of 0 is accepted


def test_the_last_draw_is_what_the_next_turn_is_compared_with() -> None:
    state = Resampling(rule=ResampleRule())
    for uncertainty in (1.0, 1.1, 1.2, 1.25):
        state = state.sampled(uncertainty)
    assert state.accepted
    assert state.previous == 1.25


def test_without_tries_nothing_is_drawn_again() -> None:
    assert _draws([1.0, 1.0, 1.1], ResampleRule(max_resamples=0)) == [1, 1, 1]


def test_a_draw_without_tokens_is_kept_and_compared_with_nothing() -> None:
    assert _draws([None, 1.0, None, 1.1, 1.1, 1.1]) == [1, 1, 1, 3]


# --- The intervention ---------------------------------------------------------------------------


def test_it_fires_when_uncertainty_stands_still() -> None:
    rule = InterventionRule(least_tokens=4, window=3, still=0.01)
    assert intervention([0.9, 0.1, 0.8, 0.5, 0.5, 0.5, 0.5, 0.5], rule) == 7


def test_it_never_fires_before_the_least_length_or_without_a_window() -> None:
    rule = InterventionRule(least_tokens=4, window=3, still=0.01)
    assert intervention([0.5] * 4, rule) is None
    assert intervention([0.5] * 5, rule) == 5
    assert intervention([0.5] * 6, InterventionRule(least_tokens=1, window=5)) == 6
    assert intervention([], rule) is None


def test_it_never_fires_while_uncertainty_moves() -> None:
    rule = InterventionRule(least_tokens=2, window=2, still=0.01)
    assert intervention([0.1, 0.9] * 20, rule) is None


# --- Advantages -----------------------------------------------------------------------------------

_REWARDS = (0.9333, 0.8, 0.4, -0.0167)
_SIGNALS = ((1, 1, 1), (0, 1, 1, 1), (1, 0), (0, 0, 1, 0, 1))


def _oracle(whole: float, step: float) -> list[list[float]]:
    """Article 34's weights with numpy, from the definition."""
    rewards = np.array(_REWARDS)
    scores = (rewards - rewards.mean()) / (rewards.std() + 1e-8)
    weights: list[list[float]] = []
    for number, row in enumerate(_SIGNALS):
        weights.append([])
        for turn in range(len(row)):
            column = np.array([each[turn] for each in _SIGNALS if len(each) > turn], dtype=float)
            flat = len(column) < 2 or column.std() < 1e-8
            of_turn = 0.0 if flat else (row[turn] - column.mean()) / (column.std() + 1e-8)
            weights[number].append(float(whole * scores[number] + step * of_turn))
    return weights


@pytest.mark.parametrize(("whole", "step"), [(1.0, 1.0), (1.0, 0.0), (0.5, 2.0)])
def test_weights_are_those_of_the_definition(whole: float, step: float) -> None:
    credit = t2po.advantages(
        turn_rewarded(_REWARDS, _SIGNALS), T2poSettings(rollout_weight=whole, turn_weight=step)
    )
    for found, expected in zip(credit, _oracle(whole, step), strict=True):
        assert found.per_turn == pytest.approx(expected, abs=1e-12)


def test_without_the_steps_weight_it_is_grpo() -> None:
    group = turn_rewarded(_REWARDS, _SIGNALS)
    assert t2po.advantages(group, T2poSettings(turn_weight=0.0)) == grpo.advantages(group)


def test_a_muted_group_stays_muted_whatever_its_turns_say() -> None:
    group = turn_rewarded([0.5, 0.5], [[1.0, 0.0], [0.0, 1.0]])
    assert {each.masked for each in t2po.objective()(group)} == {MaskReason.EQUAL_REWARDS}


def test_the_switch_lets_turns_rescue_a_muted_group() -> None:
    group = turn_rewarded([0.5, 0.5], [[1.0, 0.0], [0.0, 1.0]])
    credit = t2po.advantages(group, T2poSettings(rescue=True))
    assert [each.masked for each in credit] == [None, None]
    assert credit[0].per_turn == pytest.approx((1.0, -1.0))


def test_turns_that_are_equal_too_rescue_nothing() -> None:
    group = turn_rewarded([0.5, 0.5], [[1.0], [1.0]])
    credit = t2po.advantages(group, T2poSettings(rescue=True))
    assert {each.masked for each in credit} == {MaskReason.EQUAL_REWARDS}


def test_a_single_rollout_is_never_rescued() -> None:
    credit = t2po.advantages(turn_rewarded([0.5], [[1.0, 0.0]]), T2poSettings(rescue=True))
    assert [each.masked for each in credit] == [MaskReason.SINGLE_MEMBER]


def test_a_turn_without_a_signal_is_refused() -> None:
    with pytest.raises(UnscorableError, match="member 0: 0 turn rewards for 1 turns"):
        t2po.advantages(rewarded(0.0, 1.0), T2poSettings())
