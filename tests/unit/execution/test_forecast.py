"""From passes to what a run takes: worked examples, and what an interval is of."""

from __future__ import annotations

import math
from typing import Any

import pytest

from harness.execution.forecast import Expected, expected_s, loops, noise, of_plan, outside_s
from harness.workloads.api.passes import PassLine


def line(path: str, wall_s: float, of: int = 1, **more: Any) -> PassLine:
    return PassLine(path=path, of=of, wall_s=wall_s, **more)


def test_the_first_pass_warms_up_and_the_later_ones_stand_for_the_rest() -> None:
    made = [line("steps~0#0", 5.0, 10), line("steps~0#1", 2.0, 10), line("steps~0#2", 2.0, 10)]
    # 3 s before the loop, 5 + 2 + 2 that were made, 7 more
    assert expected_s([made], 12.0).mean == pytest.approx(3 + 9 + 7 * 2)


def test_a_loop_within_a_loop_is_multiplied_twice() -> None:
    made = [
        *(line("outer~0#0/inner~0#0", 1.0, 4), line("outer~0#0/inner~0#1", 1.0, 4)),
        line("outer~0#0", 2.5, 3),
        *(line("outer~0#1/inner~0#0", 1.0, 4), line("outer~0#1/inner~0#1", 1.0, 4)),
        line("outer~0#1", 2.5, 3),
    ]
    assert expected_s([made], 5.0).mean == pytest.approx(3 * (4 * 1.0 + 0.5))
    found = {each.name: each for each in loops([made])}
    assert (found["outer"].made, found["outer"].of) == (2, 3)
    assert (found["outer / inner"].made, found["outer / inner"].of) == (2, 12)


def test_what_a_run_does_some_times_is_not_done_in_every_pass() -> None:
    """An evaluation in one of two passes: of a hundred steps, five are evaluated."""
    made = [
        line("train~0#0", 2.0, 100),
        line("train~0#1/evaluations~0#0", 7.0, 5, once=True),
        line("train~0#1", 9.0, 100),
    ]
    assert expected_s([made], 11.0).mean == pytest.approx(100 * 2.0 + 5 * 7.0)


def test_a_part_of_many_units_stands_for_all_of_them() -> None:
    some = line("rollouts~0#0", 4.0, 40, done=10)
    assert expected_s([[some]], 4.0).mean == pytest.approx(16.0)
    known = line("rollouts~0#0", 4.0, 40, done=10, more_s=6.0)
    assert expected_s([[known]], 4.0).mean == pytest.approx(10.0)


def test_a_step_that_was_taken_counts_as_long_as_making_it_took() -> None:
    killed = [line("tasks~0#0", 30.0)]
    resumed = [line("tasks~0#0", 0.1, is_new=False), line("tuning~0#0", 5.0)]
    assert expected_s([killed, resumed], 7.1).mean == pytest.approx(30.0 + 5.0 + 2.0)


def test_a_pass_that_was_killed_has_its_steps() -> None:
    """The pass wrote no line in the first attempt; what was stored within it did."""
    killed = [line("train~0#0/step~0#0", 8.0)]
    resumed = [
        line("train~0#0/step~0#0", 0.0, is_new=False),
        line("train~0#0", 1.0, 2),
        line("train~0#1/step~0#0", 8.0),
        line("train~0#1", 9.0, 2),
    ]
    assert expected_s([killed, resumed], 10.0).mean == pytest.approx(2 * 9.0)


def test_passes_that_differ_make_the_interval_wider() -> None:
    def spread(*walls_s: float) -> float:
        made = [line(f"steps~0#{n}", wall_s, 100) for n, wall_s in enumerate(walls_s)]
        return expected_s([made], sum(walls_s)).variance

    assert spread(2.0, 2.0, 2.0) == 0.0
    assert spread(2.0, 1.9, 2.1) < spread(2.0, 1.0, 3.0)
    assert spread(2.0, 4.0) > 0.0  # two passes: the only one behind the first is not exact


def test_an_interval_is_of_eighty_percent() -> None:
    low, high = Expected(mean=100.0, variance=100.0).interval(0.0)
    assert low == pytest.approx(100 / math.exp(0.128), rel=1e-3)
    assert high == pytest.approx(100 * math.exp(0.128), rel=1e-3)
    assert Expected(mean=100.0).interval(0.1)[1] > 100.0
    assert Expected().interval(0.1) == (0.0, 0.0)


def test_starts_that_differ_say_how_restless_the_machine_is() -> None:
    made = [line("steps~0#0", 5.0), line("steps~0#0/inner~0#0", 4.0)]
    assert outside_s(made, 7.0) == 2.0
    assert noise([2.0, 2.0, 2.0]) == 0.0
    assert noise([2.0, 2.2, 1.8]) == pytest.approx(0.1, rel=0.02)
    assert noise([2.0, 9.0]) == 0.0  # two say nothing


def test_a_plan_is_its_cells_with_their_replicates() -> None:
    runs = {"a": Expected(mean=10.0), "b": Expected(mean=20.0)}
    assert of_plan(runs, {"a": 3, "b": 3}).mean == pytest.approx(90.0)
    unseen = of_plan(runs, {"a": 1, "b": 1, "c": 1})
    assert unseen.mean == pytest.approx(45.0)
    assert unseen.variance > of_plan(runs, {"a": 1, "b": 1}).variance
