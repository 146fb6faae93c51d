"""Rates that the articles used and printed."""

from __future__ import annotations

import pytest

from harness.workloads.training.schedule import Decay, FirstStep, Schedule, warmup_cosine


def rates(schedule: Schedule) -> list[float]:
    return [schedule.lr_at(step) for step in range(schedule.num_steps)]


def test_article_32_takes_its_first_step_with_rate_zero() -> None:
    used = rates(Schedule(peak=2e-4, num_warmup=1, num_steps=11))
    assert used[0] == 0.0
    assert used[1:] == pytest.approx([2e-5 * tenths for tenths in range(10, 0, -1)])


def test_article_32_logged_the_next_step_s_rate() -> None:
    schedule = Schedule(peak=2e-4, num_warmup=1, num_steps=11)
    printed = {1: 2.0e-4, 4: 1.4e-4, 7: 8e-5, 10: 2e-5, 11: 0.0}
    assert {step: schedule.lr_at(step) for step in printed} == pytest.approx(printed)


def test_article_25_falls_along_a_cosine() -> None:
    schedule = Schedule(peak=3e-4, num_warmup=3, num_steps=30, decay=Decay.COSINE)
    printed = {2: 1.0e-4, 4: 3.0e-4, 6: 2.9596e-4, 8: 2.8404e-4, 12: 2.3957e-4, 30: 1.01e-6}
    used = {step: schedule.lr_at(step - 1) for step in printed}
    assert used == pytest.approx(printed, rel=0, abs=5e-9)  # half a unit of the last digit


def test_no_step_is_lost_where_the_warm_up_starts_at_one() -> None:
    schedule = Schedule(peak=1.0, num_warmup=4, num_steps=8, first=FirstStep.ONE)
    assert rates(schedule) == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25])


def test_without_decay_the_peak_stays() -> None:
    schedule = Schedule(peak=1.0, num_warmup=0, num_steps=3, decay=Decay.NONE)
    assert rates(schedule) == [1.0, 1.0, 1.0]


def test_a_warm_up_longer_than_the_run_is_refused() -> None:
    with pytest.raises(ValueError, match="4 warm-up steps of 3"):
        Schedule(peak=1.0, num_warmup=4, num_steps=3)


def test_article_19_warms_up_over_five_steps_and_falls_over_twenty_five() -> None:
    rate = warmup_cosine(3e-4, 5, 30).lr_at
    assert [rate(step) for step in range(6)] == pytest.approx(
        [0.6e-4, 1.2e-4, 1.8e-4, 2.4e-4, 3e-4, 3e-4]
    )
    assert rate(29) == pytest.approx(1.1828e-6, rel=1e-3)  # 1.5e-4 (1 + cos(24 pi / 25))


def test_article_18_has_the_rates_it_printed() -> None:
    rate = warmup_cosine(3e-4, 10, 100).lr_at
    assert rate(10) == pytest.approx(3e-4)
    assert rate(50) == pytest.approx(1.7605e-4, rel=1e-4)
    assert rate(99) == pytest.approx(9.1376e-8, rel=1e-4)


def test_a_warm_up_that_leaves_no_step_is_refused() -> None:
    with pytest.raises(ValueError, match="30 warm-up steps leave none of 30"):
        warmup_cosine(1.0, 30, 30)
