"""What holds for every group and every turn, whatever the numbers are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.workloads.rl.advantages import Group, Member, by_turn, reward_statistics, z_scores
from harness.workloads.rl.algorithms import a2tgpo, grpo, t2po
from harness.workloads.rl.algorithms.a2tgpo import PAPER, A2tgpoSettings, Normalisation, clip_scale
from harness.workloads.rl.algorithms.t2po import ResampleRule, Resampling, token_entropy
from harness.workloads.rl.rollout import Trace, TurnTrace

_REWARDS = st.lists(
    st.integers(-60, 60).map(lambda twelfths: twelfths / 12), min_size=2, max_size=9
)
_GAIN = st.integers(-1000, 1000).map(lambda thousandths: thousandths / 1000)
_GROUPS = st.lists(
    st.tuples(st.integers(-1, 1), st.lists(_GAIN, max_size=5)), min_size=2, max_size=8
)
_RULES = st.builds(
    A2tgpoSettings,
    normalisation=st.sampled_from(Normalisation),
    first_call=st.sampled_from(a2tgpo.FirstCall),
    mask=st.sampled_from(a2tgpo.GainMask),
    rescaled=st.booleans(),
    gamma=st.sampled_from((1.0, 0.9, 0.0)),
)


def _member(reward: float, gains: Sequence[float], turn_rewards: Sequence[float] = ()) -> Member:
    turn = TurnTrace(context=(1,), reply=(2,), logprobs=(-0.5,))
    trace = Trace(turns=(turn,) * (len(gains) + 1))
    return Member(trace=trace, reward=reward, gains=tuple(gains), turn_rewards=tuple(turn_rewards))


def _group(rollouts: Sequence[tuple[float, Sequence[float]]]) -> Group:
    return Group(key="q", members=tuple(_member(reward, gains) for reward, gains in rollouts))


# --- Scores ---------------------------------------------------------------------------------------


@given(_REWARDS)
def test_scores_have_mean_zero_and_variance_one_or_none(rewards: list[float]) -> None:
    scores = z_scores(rewards)
    assert math.fsum(scores) == pytest.approx(0.0, abs=1e-9)
    assert reward_statistics(scores).deviation == pytest.approx(float(len(set(rewards)) > 1))


@given(_REWARDS, st.floats(-10, 10), st.floats(0.1, 10))
def test_neither_a_shift_nor_a_scale_of_rewards_changes_scores(
    rewards: list[float], shift: float, scale: float
) -> None:
    moved = [scale * reward + shift for reward in rewards]
    assert z_scores(moved) == pytest.approx(z_scores(rewards), abs=1e-6)


@given(_REWARDS)
def test_no_score_is_further_out_than_the_groups_size_allows(rewards: list[float]) -> None:
    limit = math.sqrt(len(rewards) - 1)
    assert all(abs(score) <= limit + 1e-9 for score in z_scores(rewards))


@given(_GROUPS)
def test_every_turns_scores_have_mean_zero(rollouts: list[tuple[int, list[float]]]) -> None:
    """Equation 7; pooling them (IGPO) leaves each turn a mean of its own."""
    rows = by_turn([gains for _, gains in rollouts])
    for turn in range(max(map(len, rows))):
        column = [row[turn] for row in rows if len(row) > turn]
        assert math.fsum(column) == pytest.approx(0.0, abs=1e-9)


# --- Advantages -----------------------------------------------------------------------------------


@given(_REWARDS, st.floats(-10, 10))
def test_grpo_is_fair_and_blind_to_a_shift(rewards: list[float], shift: float) -> None:
    given = (_group([(reward + by, ()) for reward in rewards]) for by in (0.0, shift))
    found, moved = ([each.per_turn[0] for each in grpo.advantages(group)] for group in given)
    assert math.fsum(found) == pytest.approx(0.0, abs=1e-6)
    assert moved == pytest.approx(found, abs=1e-6)


@given(_GROUPS, st.booleans())
def test_t2po_adds_nothing_to_a_turn_on_average(
    rollouts: list[tuple[int, list[float]]],
    rescue: bool,  # noqa: FBT001 - drawn
) -> None:
    members = [
        _member(reward, gains, [float(gain > 0) for gain in (*gains, 1.0)])
        for reward, gains in rollouts
    ]
    group = Group(key="q", members=tuple(members))
    whole = t2po.advantages(group, t2po.T2poSettings(turn_weight=0.0, rescue=rescue))
    both = t2po.advantages(group, t2po.T2poSettings(turn_weight=1.0, rescue=rescue))
    for turn in range(max(len(each.per_turn) for each in both)):
        added = [
            more.per_turn[turn] - less.per_turn[turn]
            for more, less in zip(both, whole, strict=True)
            if len(more.per_turn) > turn
        ]
        assert math.fsum(added) == pytest.approx(0.0, abs=1e-6)


@given(_GROUPS, _RULES)
def test_a2tgpo_credits_every_turn_or_says_why_not(
    rollouts: list[tuple[int, list[float]]], rules: A2tgpoSettings
) -> None:
    group = _group(rollouts)
    for member, credit in zip(group.members, a2tgpo.advantages(group, rules), strict=True):
        turns = len(member.trace.turns)
        assert len(credit.per_turn) == turns
        assert all(map(math.isfinite, credit.per_turn))
        assert len(credit.clip_scales) == turns or credit.masked is not None
        assert all(0.7 < scale < 1.3 for scale in credit.clip_scales)


@given(_GROUPS, _GAIN)
def test_a_gain_that_all_rollouts_share_at_a_turn_changes_nothing(
    rollouts: list[tuple[int, list[float]]], shift: float
) -> None:
    moved = [(reward, [gain + shift for gain in gains]) for reward, gains in rollouts]
    for one, other in zip(
        a2tgpo.advantages(_group(rollouts), PAPER),
        a2tgpo.advantages(_group(moved), PAPER),
        strict=True,
    ):
        assert one.per_turn == pytest.approx(other.per_turn, abs=1e-6)


@given(st.floats(-30, 30), st.floats(0.01, 0.99))
def test_a_clip_scale_keeps_strictly_within_its_bounds(score: float, width: float) -> None:
    scale = clip_scale(score, width)
    assert 1 - width < scale < 1 + width
    assert scale + clip_scale(-score, width) == pytest.approx(2.0)


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=9))
def test_a_better_gain_never_narrows_the_clip(scores: list[float]) -> None:
    scales = list(map(clip_scale, sorted(scores)))
    assert scales == sorted(scales)


def test_the_root_keeps_the_variance_level_over_turns() -> None:
    """Article 36: of independent scores Var(D / sqrt(n)) is 1 at each turn; Var(D) is 6..1."""
    draws = np.random.default_rng(0).normal(size=(1, 6 * 40_000))
    scores = draws.reshape(40_000, 6)
    sums = np.cumsum(scores[:, ::-1], axis=1)[:, ::-1]
    for rescaled, expected in ((False, (6, 5, 4, 3, 2, 1)), (True, (1,) * 6)):
        rules = A2tgpoSettings(rescaled=rescaled)
        terms = np.array([a2tgpo.process_terms(row, rules) for row in scores.tolist()])
        assert terms.var(axis=0) == pytest.approx(np.array(expected), rel=0.02)
        if not rescaled:
            assert terms == pytest.approx(sums)


# --- Drawing --------------------------------------------------------------------------------------


@given(st.lists(st.floats(-30, 0), min_size=1, max_size=20))
def test_entropy_lies_between_nothing_and_the_uniform_distributions(
    logprobs: list[float],
) -> None:
    entropy = token_entropy(sorted(logprobs, reverse=True), len(logprobs))
    assert -1e-12 <= entropy <= math.log(len(logprobs)) + 1e-9


@given(st.lists(st.floats(0, 3), min_size=1, max_size=60), st.floats(0.01, 1), st.integers(0, 4))
def test_redrawing_always_ends(uncertainties: list[float], eta: float, tries: int) -> None:
    state = Resampling(rule=ResampleRule(threshold=eta, max_resamples=tries))
    for uncertainty in uncertainties:
        state = state.sampled(uncertainty)
        assert state.draws <= tries + 1
        assert state.accepted or state.draws <= tries
