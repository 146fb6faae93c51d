from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from harness.errors import InputError
from harness.records import FinishedRun, Profile
from harness.report.compare import Apart, compare_table, differences

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
    def side(shift: float, cells: int) -> list[FinishedRun]:
        return [
            make_run({"size": size}, {"loss": value + shift}, replicate=i)
            for size in range(cells)
            for i, value in enumerate((1.0, 1.1, 0.9))
        ]

    shift = 0.3
    alone = differences(make_dossier(side(0, 1)), make_dossier(side(shift, 1)))
    among = differences(make_dossier(side(0, 20)), make_dossier(side(shift, 20)))
    assert alone[0].apart is Apart.APART
    assert among[0].apart is Apart.NOT_APART


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
        ["size=2", "loss", "nat", "2", "3", "1", "1.5", "too few runs", "", ""],
        ["size=2", "step_time", "s", "1.000", "not measured", "", "", alone, "", "timing"],
        ["size=4", "loss", "nat", "no finished run", "1", "", "", alone, "", ""],
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
