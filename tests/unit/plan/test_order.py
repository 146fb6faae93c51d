"""The order of runs: whole blocks, and no drift that becomes an effect."""

from __future__ import annotations

import math
from itertools import combinations
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.plan.order import blocks


@given(st.integers(1, 20), st.integers(1, 9), st.integers(0, 5))
def test_each_block_holds_each_cell_once(num_cells: int, replicates: int, seed: int) -> None:
    found = list(blocks(range(num_cells), replicates, seed))
    assert [sorted(block) for block in found] == [[*range(num_cells)]] * replicates
    assert found == list(blocks(range(num_cells), replicates, seed))


@given(st.integers(1, 20), st.integers(2, 9), st.integers(0, 5))
def test_the_places_of_a_cell_add_up_to_the_same_or_one_more(
    num_cells: int, replicates: int, seed: int
) -> None:
    found = list(blocks(range(num_cells), replicates, seed))
    sums = [sum(block.index(cell) for block in found) for cell in range(num_cells)]
    assert max(sums) - min(sums) <= replicates % 2


def test_two_cells_go_as_abba() -> None:
    first, second = blocks("ab", 2, seed=1)
    assert second == first[::-1]


def test_other_seeds_give_other_orders() -> None:
    assert len({tuple(map(tuple, blocks(range(8), 2, seed))) for seed in range(20)}) > 15


def biases(order: list[int], drift: float) -> list[float]:
    """Return the bias of each comparison of two cells under a drift in proportion to time."""
    speed = {cell: list[float]() for cell in set(order)}
    for turn, cell in enumerate(order):
        speed[cell].append(1 + drift * turn / (len(order) - 1))
    means = [fmean(each) for each in speed.values()]
    return [abs(one / other - 1) for one, other in combinations(means, 2)]


@pytest.mark.parametrize("num_cells", [2, 3, 8, 16])
@pytest.mark.parametrize("replicates", [2, 3, 4, 5, 8])
def test_a_drift_of_3_percent_over_a_sweep_biases_no_comparison_by_a_tenth_of_it(
    num_cells: int, replicates: int
) -> None:
    for seed in range(20):
        order = [cell for block in blocks(range(num_cells), replicates, seed) for cell in block]
        assert max(biases(order, -0.03)) < 0.003
    # the last axis fastest, replicates inside: what it was like before
    before = [cell for cell in range(num_cells) for _ in range(replicates)]
    assert max(biases(before, -0.03)) > 0.015


def test_a_machine_that_warms_up_and_then_stays_biases_no_comparison_on_average() -> None:
    """No order cancels a curve, but a drawn one follows no axis: the mean over seeds is small."""

    def bias(seed: int) -> float:
        order = [cell for block in blocks(range(8), 4, seed) for cell in block]
        speeds = [1 - 0.03 * (1 - math.exp(-5 * turn / len(order))) for turn in range(len(order))]
        first, last = (
            fmean(speed for cell, speed in zip(order, speeds, strict=True) if cell == end)
            for end in (0, 7)
        )
        return first / last - 1

    found = [bias(seed) for seed in range(300)]
    assert abs(fmean(found)) < 0.0005
    assert max(map(abs, found)) < 0.006
