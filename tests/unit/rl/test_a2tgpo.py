from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from harness.workloads.rl.advantages import PLAIN, Advantages, MaskReason, UnscorableError
from harness.workloads.rl.algorithms import a2tgpo
from harness.workloads.rl.algorithms.a2tgpo import (
    IGPO,
    PAPER,
    RELEASED,
    A2tgpoSettings,
    FirstCall,
    GainMask,
    GainOf,
    Normalisation,
    clip_scale,
    gains,
)

from .builders import gained, rewarded

# Article 36's worked group, checked against the authors' function: 4 rollouts of 3, 2, 1, 3 calls.
_GAINS = ((0.30, 0.10, 0.05), (0.10, 0.20), (0.20,), (0.40, -0.10, 0.15))
_REWARDS = (1.0, 0.0, -1.0, 1.0)


def _credit(rules: A2tgpoSettings = PAPER) -> tuple[Advantages, ...]:
    return a2tgpo.advantages(gained(_REWARDS, _GAINS), rules)


def _rows(credit: Sequence[Advantages]) -> list[tuple[float, ...]]:
    return [each.per_turn for each in credit]


def _same(found: Sequence[Sequence[float]], expected: Sequence[Sequence[float]]) -> None:
    for row, wanted in zip(found, expected, strict=True):
        assert row == pytest.approx(wanted, abs=1e-4)


# --- Golden ---------------------------------------------------------------------------------------


def test_the_worked_advantages() -> None:
    expected = (
        (0.7397, 0.3864, -0.0954, 0.9045),
        (-0.4943, 0.7675, -0.3015),
        (-1.9548, -1.5076),
        (1.4849, 0.6667, 1.9045, 0.9045),
    )
    _same(_rows(_credit()), expected)


def test_the_worked_advantages_with_the_scripts_alpha() -> None:
    expected = (
        (0.8551, 0.7491, 0.6045, 0.9045),
        (-0.3593, 0.0192, -0.3015),
        (-1.6417, -1.5076),
        (1.0787, 0.8332, 1.2045, 0.9045),
    )
    _same(_rows(_credit(replace(PAPER, alpha=0.3))), expected)


def test_the_worked_clip_scales() -> None:
    expected = (
        (1.066, 1.0399, 0.8614, 1),
        (0.8243, 1.1466, 1),
        (0.934, 1),
        (1.1757, 0.8249, 1.1386, 1),
    )
    _same([each.clip_scales for each in _credit()], expected)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        *((-5, 0.704016), (-2, 0.771522), (-1, 0.861365), (-0.5, 0.926524), (0, 1.0)),
        *((0.5, 1.073476), (1, 1.138635), (2, 1.228478), (5, 1.295984)),
    ],
)
def test_the_worked_clip_curve(score: float, expected: float) -> None:
    assert clip_scale(score) == pytest.approx(expected, abs=1e-6)


# --- Against the equations ------------------------------------------------------------------------


def _oracle(gamma: float, *, rescaled: bool) -> list[list[float]]:
    """Equations 6 to 9 in numpy, one symbol after the other."""
    outcomes = (np.array(_REWARDS) - np.mean(_REWARDS)) / np.std(_REWARDS)
    result = []
    for number, own in enumerate(_GAINS):
        turns = len(own) + 1
        row = []
        for t in range(1, turns):
            total = 0.0
            for k in range(t, turns):
                group = np.array([other[k - 1] for other in _GAINS if len(other) >= k])
                score = 0.0 if len(group) == 1 else (own[k - 1] - group.mean()) / group.std()
                total += gamma ** (k - t) * float(score)
            terms = turns - t
            row.append(total / (math.sqrt(terms) if rescaled else 1.0) + float(outcomes[number]))
        result.append([*row, float(outcomes[number])])
    return result


@pytest.mark.parametrize("gamma", [1.0, 0.9, 0.0])
@pytest.mark.parametrize("rescaled", [True, False])
def test_advantages_are_the_equations(gamma: float, rescaled: bool) -> None:  # noqa: FBT001 - a table
    found = _rows(_credit(A2tgpoSettings(gamma=gamma, rescaled=rescaled)))
    for row, wanted in zip(found, _oracle(gamma, rescaled=rescaled), strict=True):
        assert row == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_igpo_pools_gains_and_outcomes(gamma: float) -> None:
    """Equations 4 and 5."""
    pool = np.array([*(gain for row in _GAINS for gain in row), *_REWARDS])
    found = _rows(_credit(replace(IGPO, gamma=gamma)))
    for row, own, reward in zip(found, _GAINS, _REWARDS, strict=True):
        scores = (np.array([*own, reward]) - pool.mean()) / pool.std()
        wanted = [
            sum(gamma ** (k - t) * scores[k] for k in range(t, len(scores)))
            for t in range(len(scores))
        ]
        assert row == pytest.approx(wanted, abs=1e-12)


def test_igpo_leaves_the_clip_alone() -> None:
    assert {scale for each in _credit(IGPO) for scale in each.clip_scales} == {1.0}


def test_separate_scores_outcomes_apart() -> None:
    pool = np.array([gain for row in _GAINS for gain in row])
    outcomes = (np.array(_REWARDS) - np.mean(_REWARDS)) / np.std(_REWARDS)
    found = _rows(_credit(A2tgpoSettings(normalisation=Normalisation.SEPARATE)))
    for row, own, outcome in zip(found, _GAINS, outcomes, strict=True):
        scores = [*((np.array(own) - pool.mean()) / pool.std()), outcome]
        assert row == pytest.approx(np.cumsum(scores[::-1])[::-1], abs=1e-12)


def test_the_released_turn_group_is_another_thing() -> None:
    """Gains on the outcomes' scale, accumulated from the raw outcome, scored, plus 1.5 R."""
    gamma = 0.9
    scale = float(np.std(_REWARDS) / np.std([gain for row in _GAINS for gain in row]))
    sums: list[list[float]] = []
    for own, reward in zip(_GAINS, _REWARDS, strict=True):
        following = [gamma * reward]
        for gain in reversed(own):
            following.append(gain * scale + gamma * following[-1])
        sums.append(following[:0:-1])
    outcomes = (np.array(_REWARDS) - np.mean(_REWARDS)) / np.std(_REWARDS)
    rules = A2tgpoSettings(normalisation=Normalisation.RELEASED_TURN_GROUP, gamma=gamma)
    for found, following, outcome in zip(_rows(_credit(rules)), sums, outcomes, strict=True):
        wanted = []
        for turn, value in enumerate(following):
            group = np.array([other[turn] for other in sums if len(other) > turn])
            score = 0.0 if len(group) == 1 else float((value - group.mean()) / group.std())
            wanted.append(score + 1.5 * outcome)
        assert found == pytest.approx([*wanted, outcome], abs=1e-12)


# --- Switches of the released code ----------------------------------------------------------------


def test_released_the_first_call_shares_the_seconds_credit() -> None:
    first, second, *_ = _credit(replace(PAPER, first_call=FirstCall.NOTHING))
    assert first.per_turn[0] == first.per_turn[1]
    assert first.clip_scales[0] == first.clip_scales[1] != 1.0
    assert len(first.per_turn) == 4
    assert second.per_turn[:1] == second.per_turn[1:2]


def test_released_a_single_call_has_the_answers_credit() -> None:
    credit = _credit(replace(PAPER, first_call=FirstCall.NOTHING))[2]
    assert credit.per_turn[0] == credit.per_turn[1]
    assert credit.clip_scales == (1.0, 1.0)


def test_released_the_first_gain_is_then_never_looked_at() -> None:
    rules = replace(PAPER, first_call=FirstCall.NOTHING)
    other = ((9.0, 0.10, 0.05), (-9.0, 0.20), (7.0,), (5.0, -0.10, 0.15))
    assert a2tgpo.advantages(gained(_REWARDS, other), rules) == _credit(rules)


def test_released_a_gain_of_zero_joins_its_turn_to_the_next() -> None:
    """The dropped turn also moves every later turn one place forward among its comparisons."""
    rules = replace(PAPER, mask=GainMask.NON_ZERO)
    with_zero = gained((1.0, 0.0), ((0.0, 0.3), (0.1, 0.2)))
    moved = gained((1.0, 0.0), ((0.3,), (0.1, 0.2)))
    found, wanted = a2tgpo.advantages(with_zero, rules), a2tgpo.advantages(moved, rules)
    assert found[0].per_turn == (wanted[0].per_turn[0], *wanted[0].per_turn)
    assert found[1] == wanted[1]
    assert a2tgpo.advantages(with_zero, PAPER)[0].per_turn != found[0].per_turn


def test_released_a_last_gain_of_zero_joins_its_turn_to_the_answer() -> None:
    credit = a2tgpo.advantages(
        gained((1.0, 0.0), ((0.3, 0.0), (0.1, 0.2))), replace(PAPER, mask=GainMask.NON_ZERO)
    )[0]
    assert credit.per_turn[1] == credit.per_turn[2]
    assert credit.clip_scales[1:] == (1.0, 1.0)


def test_every_switch_defaults_to_the_paper_and_has_the_released_value() -> None:
    differing = {
        name
        for name in A2tgpoSettings.__dataclass_fields__
        if getattr(PAPER, name) != getattr(RELEASED, name)
    }
    assert differing == {
        *("gain_of", "context_end", "first_call", "mask", "alpha"),
        *("deviation", "boundaries", "ratio_form", "aggregation"),
    }
    assert PAPER.deviation == PLAIN


# --- Groups that say little -----------------------------------------------------------------------


def test_equal_outcomes_still_train_by_their_gains() -> None:
    credit = a2tgpo.advantages(gained((1.0, 1.0), ((0.3,), (0.1,))), PAPER)
    assert credit[0].per_turn == pytest.approx((1.0, 0.0))
    assert [each.masked for each in credit] == [None, None]


def test_equal_outcomes_and_gains_are_muted() -> None:
    credit = a2tgpo.advantages(gained((1.0, 1.0), ((0.3,), (0.3,))), PAPER)
    assert {each.masked for each in credit} == {MaskReason.EQUAL_REWARDS}


@pytest.mark.parametrize("rules", [PAPER, IGPO, RELEASED])
def test_a_single_rollout_is_muted_though_its_own_turns_could_be_compared(
    rules: A2tgpoSettings,
) -> None:
    credit = a2tgpo.advantages(gained((1.0,), ((0.3, 0.1),)), rules)
    assert [each.masked for each in credit] == [MaskReason.SINGLE_MEMBER]


def test_answers_without_a_call_are_grpo() -> None:
    credit = a2tgpo.advantages(gained((1.0, 0.0), ((), ())), PAPER)
    assert _rows(credit) == [(1.0,), (-1.0,)]
    assert credit[0].clip_scales == (1.0,)


def test_missing_gains_are_refused_and_never_trained_on() -> None:
    with pytest.raises(UnscorableError, match="member 0: 0 gains for 2 process turns"):
        a2tgpo.objective()(rewarded(0.0, 1.0, turns=3))


# --- Gains ----------------------------------------------------------------------------------------


def test_gains_are_differences_of_the_answers_probability() -> None:
    answers = (
        (math.log(0.1), math.log(0.4)),  # geometric mean 0.2
        (math.log(0.5), math.log(0.5)),
        (math.log(0.3), math.log(0.3)),
    )
    assert gains(answers, GainOf.PROBABILITY) == pytest.approx((0.3, -0.2))
    in_logs = (math.log(0.5 / 0.2), math.log(0.3 / 0.5))
    assert gains(answers, GainOf.LOG_PROBABILITY) == pytest.approx(in_logs)


def test_no_call_gains_nothing() -> None:
    assert gains([(-1.0,)], GainOf.PROBABILITY) == ()


@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        ([], "not scored"),
        ([()], "not scored"),
        ([(-1.0, -1.0), (-1.0,)], "context 1 scored 1 of 2 answer tokens"),
        ([(-1.0,), (math.nan,)], "context 1 scored"),
        ([(-math.inf,), (-1.0,)], "context 0 scored"),
    ],
)
def test_a_gain_that_cannot_be_taken_stops_the_run(answers: list[list[float]], cause: str) -> None:
    with pytest.raises(UnscorableError, match=cause):
        gains(answers, GainOf.PROBABILITY)
