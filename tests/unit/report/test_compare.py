from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from harness.errors import ExitCode, InputError
from harness.records import FinishedRun, Measurement, Profile
from harness.report.compare import (
    Allowance,
    Apart,
    FigureDifference,
    compare_table,
    differences,
    judge_allowance,
)
from harness.report.dossier import ScenarioReport

from .conftest import MakeDossier, MakeRun

MakeRuns = Callable[..., list[FinishedRun]]


@pytest.fixture
def runs(make_run: MakeRun) -> MakeRuns:
    def make(values: Sequence[object], metric: str = "loss", **facts: object) -> list[FinishedRun]:
        return [
            make_run({"size": 2}, {metric: value}, replicate=i, **facts)
            for i, value in enumerate(values)
        ]

    return make


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ([1.0], [1.0], Apart.SAME),
        ([1.0, 1.1], [1.0, 1.1], Apart.SAME),
        ([1.0, 1.0], [1.0], Apart.SAME),
        ([1.0], [2.0], Apart.TOO_FEW),
        ([1.0, 1.1], [2.0], Apart.TOO_FEW),
        ([1.0, 1.1, 0.9], [1.05, 1.01, 1.12], Apart.NOT_APART),
        ([1.0, 1.1, 0.9], [1.0, 5.1, 4.9], Apart.TOO_FEW),  # equal values are counted ones
        ([1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0], Apart.APART),
        ([1.0, 1.1], [5.0, 5.1], Apart.TOO_FEW),
        ([1.0, 1.1, 0.9], [5.0, 5.1, 4.9], Apart.APART),
        ([None], [1.0], Apart.ONE_SIDED),
        ([None], [None], Apart.NOWHERE),
    ],
)
def test_whether_replicates_tell_them_apart(
    runs: MakeRuns,
    make_dossier: MakeDossier,
    one: list[float | None],
    other: list[float | None],
    apart: Apart,
) -> None:
    sides = [make_dossier(runs(values)) for values in (one, other)]
    (found,) = differences(*sides)
    assert found.apart is apart


def test_words_are_different_or_the_same(runs: MakeRuns, make_dossier: MakeDossier) -> None:
    one, other = (make_dossier(runs([word], "grade")) for word in "ab")
    assert [each.apart for each in differences(one, other)] == [Apart.DIFFERENT]
    assert [each.apart for each in differences(one, one)] == [Apart.SAME]


def test_many_tests_make_each_stricter(make_run: MakeRun, make_dossier: MakeDossier) -> None:
    def side(values: tuple[float, ...], cells: int) -> list[FinishedRun]:
        return [
            make_run({"size": size}, {"loss": value}, replicate=i)
            for size in range(cells)
            for i, value in enumerate(values)
        ]

    one, other = (1.0, 1.1, 0.9), (1.3, 1.47, 1.15)
    alone = differences(make_dossier(side(one, 1)), make_dossier(side(other, 1)))
    among = differences(make_dossier(side(one, 40)), make_dossier(side(other, 40)))
    assert alone[0].apart is Apart.APART
    assert among[0].apart is Apart.NOT_APART
    assert among[0].needed is not None
    assert among[0].needed > 3


def test_both_values_difference_ratio_and_timing(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    one = make_dossier([make_run({"size": 2}, {"loss": 2.0, "step_time": 1.0})])
    other = make_dossier(
        [make_run({"size": 2}, {"loss": 3.0}), make_run({"size": 4}, {"loss": 1.0})]
    )
    table = compare_table(one, other)
    shown = [[box.text for box in row] for row in table.rows]
    alone = "in one set only"
    assert shown == [
        ["size=2", "loss", "nat", "2", "3", "1", "1.5", "", "", "too few runs", *[""] * 4],
        [
            "size=2",
            "step_time",
            "s",
            "1.000",
            "not measured",
            *[""] * 4,
            alone,
            *[""] * 3,
            "timing",
        ],
        ["size=4", "loss", "nat", "no finished run", "1", *[""] * 4, alone, *[""] * 4],
    ]
    assert "A: Device box; runtime local." in table.caption


def test_a_ratio_to_zero_is_absent(runs: MakeRuns, make_dossier: MakeDossier) -> None:
    one, other = (make_dossier(runs([value])) for value in (0.0, 1.0))
    assert compare_table(one, other).rows[0][6].absent == "A is 0"


def test_points_match_by_id_within_a_profile_and_by_cell_across(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    small = make_run({"size": 2}, {"loss": 1.0})
    other_params = make_run({"size": 2}, {"loss": 1.0}, params={"rate": 0.5})
    one = make_dossier([small])
    assert [each.apart for each in differences(one, make_dossier([other_params]))] == [
        Apart.ONE_SIDED,
        Apart.ONE_SIDED,
    ]
    far = make_run({"size": 2}, {"loss": 1.0}, params={"rate": 0.5}, profile=Profile.CUDA)
    across = differences(one, make_dossier([far], profile=Profile.CUDA))
    assert [each.apart for each in across] == [Apart.SAME]


def test_a_set_from_two_devices_is_refused(make_run: MakeRun, make_dossier: MakeDossier) -> None:
    mixed = make_dossier(
        [make_run({"size": 2}, {"loss": 1.0}, device=device) for device in ("box", "other")]
    )
    with pytest.raises(InputError, match="box, local and other, local"):
        differences(mixed, mixed)


Noise = Callable[[], float]


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - noise, not secrecy


def sweep(
    make_run: MakeRun, noise: Noise, *, cells: int, replicates: int, factor: float = 1.0
) -> list[FinishedRun]:
    """A sweep whose cells differ much, and whose step times have some noise."""
    return [
        make_run(
            {"size": size}, {"step_time": factor * (size + 1) * (1 + noise())}, replicate=number
        )
        for size in range(cells)
        for number in range(replicates)
    ]


def over_cells(found: Sequence[FigureDifference], metric: str = "step_time") -> FigureDifference:
    (over,) = (each for each in found if each.cells and each.metric.name == metric)
    return over


def test_what_is_5_percent_off_in_each_of_16_cells_is_seen_without_replicates(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    draw = seeded(5)
    sides = [
        make_dossier(
            sweep(make_run, lambda: draw.gauss(0, 0.01), cells=16, replicates=1, factor=factor)
        )
        for factor in (1.0, 0.95)
    ]
    found = differences(*sides)
    assert {each.apart for each in found if not each.cells} == {Apart.TOO_FEW}
    over = over_cells(found)
    assert (over.apart, over.cells) == (Apart.APART, 16)
    assert over.change is not None
    assert math.exp(over.change.mean) == pytest.approx(0.95, abs=0.01)
    assert over.interval is not None
    assert over.interval.low < math.log(0.95) < over.interval.high
    (row,) = compare_table(sides[0], sides[1]).groups[1].rows
    assert [row[0].text, row[9].text, row[11].text] == ["16 cells", "yes", "16"]


def test_the_row_keys_of_one_run_count_as_one_value(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    def side(factor: float) -> list[FinishedRun]:
        return [
            make_run(
                {"size": size},
                [
                    Measurement(
                        metric="loss", value=factor + size + step, unit="nat", where={"step": step}
                    )
                    for step in range(50)
                ],
            )
            for size in range(2)
        ]

    found = differences(make_dossier(side(1.0)), make_dossier(side(1.1)))
    assert not [each for each in found if each.cells]  # two cells are too few, 100 rows or not


def test_equal_stores_raise_nothing(make_run: MakeRun, make_dossier: MakeDossier) -> None:
    draw = seeded(1)
    runs = sweep(make_run, lambda: draw.gauss(0, 0.01), cells=4, replicates=3)
    found = differences(make_dossier(runs), make_dossier(runs))
    assert {each.apart for each in found} == {Apart.SAME}
    verdict = judge_allowance(Allowance(metric="step_time", share=0.03), found)
    assert verdict.code is ExitCode.OK


@pytest.mark.parametrize(("cells", "replicates"), [(1, 3), (4, 3), (4, 5), (16, 1)])
def test_two_stores_of_one_machine_raise_an_alarm_in_one_comparison_of_twenty_at_most(
    make_run: MakeRun, make_dossier: MakeDossier, cells: int, replicates: int
) -> None:
    draw, alarms, failures, times = seeded(7), 0, 0, 300
    limit = Allowance(metric="step_time", share=0.03)
    for _ in range(times):
        one, other = (
            make_dossier(
                sweep(make_run, lambda: draw.gauss(0, 0.01), cells=cells, replicates=replicates)
            )
            for _ in range(2)
        )
        found = differences(one, other)
        alarms += any(each.apart is Apart.APART for each in found)
        failures += judge_allowance(limit, found).code is ExitCode.OUTSIDE
    # the bound of 5 %, and what chance adds to it in a thousandth of the cases
    assert alarms <= 0.05 * times + 3.1 * math.sqrt(0.05 * 0.95 * times)
    assert failures <= 1


def test_pairs_see_what_means_do_not(make_run: MakeRun, make_dossier: MakeDossier) -> None:
    """Seeds differ by 10 %, the variants by 1 %: only pairs of a seed can tell."""
    draw = seeded(3)
    seeds = [draw.gauss(1, 0.1) for _ in range(6)]

    def side(factor: float, metric: str) -> ScenarioReport:
        return make_dossier(
            [
                make_run({"size": 2}, {metric: factor * one + draw.gauss(0, 1e-3)}, replicate=i)
                for i, one in enumerate(seeds)
            ]
        )

    (loss,) = differences(side(1.0, "loss"), side(1.01, "loss"))
    assert (loss.apart, loss.change and loss.change.count) == (Apart.APART, 6)
    # a clock of another day has nothing in common with this seed's
    (timing,) = differences(side(1.0, "step_time"), side(1.01, "step_time"))
    assert timing.apart is Apart.NOT_APART
    blocks = side(1.0, "step_time"), side(1.01, "step_time")
    (timing,) = differences(*blocks, in_blocks=True)
    assert timing.apart is Apart.APART


@pytest.mark.parametrize(
    ("factor", "noise", "cells", "replicates", "code"),
    [
        (1.10, 0.005, 4, 3, ExitCode.OUTSIDE),
        (1.05, 0.005, 16, 1, ExitCode.OUTSIDE),
        (0.90, 0.005, 4, 3, ExitCode.OK),  # better is not worse
        (1.00, 0.005, 16, 1, ExitCode.OK),
        (1.00, 0.08, 4, 3, ExitCode.INCONCLUSIVE),
        (1.10, 0.005, 1, 2, ExitCode.INCONCLUSIVE),
    ],
)
def test_a_limit_fails_holds_or_cannot_be_told(  # noqa: PLR0913, PLR0917 - a line of the table each
    make_run: MakeRun,
    make_dossier: MakeDossier,
    factor: float,
    noise: float,
    cells: int,
    replicates: int,
    code: ExitCode,
) -> None:
    draw = seeded(11)
    one, other = (
        make_dossier(
            sweep(
                make_run,
                lambda: draw.gauss(0, noise),
                cells=cells,
                replicates=replicates,
                factor=each,
            )
        )
        for each in (1.0, factor)
    )
    verdict = judge_allowance(Allowance(metric="step_time", share=0.03), differences(one, other))
    assert verdict.code is code
    if code is ExitCode.OUTSIDE:
        assert verdict.sentence.startswith("step_time is worse by more than 3 %: +")
    if code is ExitCode.INCONCLUSIVE and replicates > 2:
        assert "cannot tell whether it is worse by 3 %; that needs about" in verdict.sentence


def test_a_metric_without_a_direction_fails_both_ways(
    make_run: MakeRun, make_dossier: MakeDossier
) -> None:
    draw = seeded(2)

    def side(factor: float) -> ScenarioReport:
        return make_dossier(
            [
                make_run({"size": 2}, {"loss": factor * (1 + draw.gauss(0, 1e-3))}, replicate=i)
                for i in range(4)
            ]
        )

    for factor in (0.9, 1.1):
        found = [
            replace(each, metric=replace(each.metric, better=None))
            for each in differences(side(1.0), side(factor))
        ]
        assert judge_allowance(Allowance(metric="loss", share=0.03), found).code is ExitCode.OUTSIDE
