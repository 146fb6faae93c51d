from __future__ import annotations

import pytest

from harness.workloads.training.pretrain_schedule import WarmupCosine


def test_article_19_warms_up_over_five_steps_and_falls_over_twenty_five() -> None:
    rate = WarmupCosine(peak=3e-4, num_warmup=5, num_steps=30)
    assert [rate(step) for step in range(6)] == pytest.approx(
        [0.6e-4, 1.2e-4, 1.8e-4, 2.4e-4, 3e-4, 3e-4]
    )
    assert rate(29) == pytest.approx(1.1828e-6, rel=1e-3)  # 1.5e-4 (1 + cos(24 pi / 25))


def test_article_18_has_the_rates_it_printed() -> None:
    rate = WarmupCosine(peak=3e-4, num_warmup=10, num_steps=100)
    assert rate(10) == pytest.approx(3e-4)
    assert rate(50) == pytest.approx(1.7605e-4, rel=1e-4)
    assert rate(99) == pytest.approx(9.1376e-8, rel=1e-4)


def test_a_warm_up_that_leaves_no_step_is_refused() -> None:
    with pytest.raises(ValueError, match="30 warm-up steps leave none of 30"):
        WarmupCosine(peak=1.0, num_warmup=30, num_steps=30)
