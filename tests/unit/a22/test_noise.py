"""Noise: pooling, risk, and which gains stand out."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from harness.experiments.a22 import noise
from harness.workloads.autoresearch.trajectory import Trajectory

Trials = Callable[..., Trajectory]


def test_pooling_weighs_each_group_by_its_degrees_of_freedom() -> None:
    pooled = noise.pooled_sd([(1.0, 3.0), (10.0, 10.0, 10.0), (7.0,)])
    assert pooled == noise.PooledStd(std=math.sqrt(2.0 / 3.0), degrees_of_freedom=3)


def test_single_figures_have_no_scatter() -> None:
    assert noise.pooled_sd([(1.0,), (2.0,)]) is None


def test_the_baseline_is_a_draw_of_its_own_configuration(trials: Trials) -> None:
    trajectory = trials(("d_ff=4096", 9.9), ("n_head=8", 9.8), ("n_head=8", 9.7))
    assert list(noise.draws(trajectory).values()) == [(10.0, 9.9), (9.8, 9.7)]


@pytest.mark.parametrize(
    ("threshold", "risk"), [(0.0, 0.5), (math.sqrt(2) * 1.959964, 0.025), (-1e9, 1.0)]
)
def test_false_keep_risk_is_the_upper_tail_of_a_difference(threshold: float, risk: float) -> None:
    assert noise.false_keep_risk(threshold, sd=1.0) == pytest.approx(risk, abs=1e-6)


def test_more_trials_ask_for_a_larger_gain() -> None:
    assert noise.significant_gain(1.0, 1, 0.05) == pytest.approx(1.644854 * math.sqrt(2), rel=1e-6)
    assert noise.significant_gain(1.0, 50, 0.05) == pytest.approx(3.090232 * math.sqrt(2), rel=1e-6)


def test_only_a_gain_beyond_the_noise_is_significant(trials: Trials) -> None:
    trajectory = trials(("n_head=8", 9.9), ("n_head=4", 9.0))
    found = noise.significant_keeps(trajectory, sd=0.1, level=0.05)
    assert [each.iteration for each in found] == [2]


def test_an_effect_takes_all_draws_of_both_sides(trials: Trials) -> None:
    trajectory = trials(("d_ff=4096", 9.8), ("n_head=8", 9.4), ("n_head=8", 9.6), ("n_head=4", 9.9))
    effects = noise.effects(trajectory, sd=0.1)
    eight, four = effects.values()
    assert eight.draws == 2
    assert eight.gain == pytest.approx(0.4)
    assert eight.standard_error == pytest.approx(0.1)
    assert eight.z_score == pytest.approx(4.0)
    assert four.z_score == pytest.approx(0.0, abs=1e-9)
    assert [cfg.n_head for cfg in noise.surviving(effects, level=0.05)] == [8]
    assert noise.surviving({}, level=0.05) == ()


def test_two_processes_are_compared_while_they_do_the_same(trials: Trials) -> None:
    one = trials(("n_head=8", 9.9), ("n_head=4", 9.0))
    other = trials(("n_head=8", 9.7), ("lr=0.1", 9.0))
    assert noise.same_position_differences(one, other) == pytest.approx((0.0, 0.2))
