"""How much is replayed: exact counts, whatever the share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.workloads.data.mixture import ReplayMixture

shares = st.sampled_from((0.0, 0.05, 0.1, 0.25, 0.3, 0.5, 0.7, 1.0))
sizes = st.integers(min_value=1, max_value=50)
steps = st.integers(min_value=0, max_value=500)


def test_a_twentieth_of_twenty_is_one_at_every_step() -> None:
    mixture = ReplayMixture(share=0.05, batch_size=20)
    assert [mixture.replayed_before(step) for step in range(4)] == [0, 1, 2, 3]


def test_a_share_smaller_than_a_text_waits_for_its_turn() -> None:
    mixture = ReplayMixture(share=0.1, batch_size=4)
    assert [mixture.replayed_before(step) for step in range(7)] == [0, 0, 0, 1, 1, 2, 2]


def test_the_total_is_the_share_as_it_is_written() -> None:
    assert ReplayMixture(share=0.1, batch_size=3).replayed_before(1000) == 300  # 0.1 * 3 > 0.3
    assert ReplayMixture(share=0.7, batch_size=10).replayed_before(10) == 70


@given(shares, sizes, steps)
def test_every_batch_is_full_and_off_by_less_than_one_text(
    share: float, size: int, step: int
) -> None:
    mixture = ReplayMixture(share=share, batch_size=size)
    replayed = mixture.replayed_before(step + 1) - mixture.replayed_before(step)
    new = mixture.new_before(step + 1) - mixture.new_before(step)
    assert replayed + new == size
    assert abs(replayed - share * size) < 1
