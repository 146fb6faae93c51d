from __future__ import annotations

import pytest

from harness.workloads.rl.advantages import MaskReason
from harness.workloads.rl.algorithms import grpo

from .builders import rewarded


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ((0.05, 0.6333333, 0.05, 0.55), (-0.9941, 1.1471, -0.9941, 0.8412)),  # article 33, smoke
        ((0.05, 0.633, 0.05, 0.55), (-0.9942, 1.1466, -0.9942, 0.8418)),  # as printed
        ((0.93333333, 0.8, 0.4, -0.01666667), (1.0887, 0.7295, -0.3479, -1.4702)),  # article 34
        ((0.2, 0.9), (-1.0, 1.0)),
    ],
)
def test_the_articles_advantages(rewards: tuple[float, ...], expected: tuple[float, ...]) -> None:
    found = grpo.advantages(rewarded(*rewards))
    assert [each.per_turn[0] for each in found] == pytest.approx(expected, abs=1e-4)


def test_every_turn_of_a_rollout_has_its_advantage() -> None:
    credit = grpo.advantages(rewarded(0.0, 1.0, turns=3))
    assert credit[1].per_turn == pytest.approx((1.0, 1.0, 1.0))
    assert credit[1].clip_scales == ()


def test_a_group_without_variance_is_muted() -> None:
    """The last step of article 33: four rewards of .917."""
    credit = grpo.advantages(rewarded(*(0.9167,) * 4, turns=2))
    assert {each.masked for each in credit} == {MaskReason.EQUAL_REWARDS}
    assert {each.per_turn for each in credit} == {(0.0, 0.0)}


def test_a_single_rollout_is_muted() -> None:
    assert [each.masked for each in grpo.advantages(rewarded(1.0))] == [MaskReason.SINGLE_MEMBER]


def test_a_rollout_at_the_mean_is_muted_alone() -> None:
    credit = grpo.advantages(rewarded(0.0, 0.5, 1.0))
    assert [each.masked for each in credit] == [None, MaskReason.NO_ADVANTAGE, None]
