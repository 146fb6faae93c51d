"""Which rows answer an entry, and the verdict where none or too many do."""

from __future__ import annotations

import math
from typing import Any

import pytest

from harness.records import FinishedRun, Profile, Scalar, Status, Verdict, VerdictKind

from .builders import SPARK, entry, replicates, row, run, verdict

FOUR = {"value": 4.0, "abs": 0.5}
CELLS = [run(row("loss", float(size)), params={"size": size}) for size in (2, 4, 8)]


def loss(runs: list[FinishedRun], profile: Profile = Profile.SPARK, **facts: Any) -> Verdict:
    return verdict(entry("bound", "loss", FOUR, **facts), runs, profile)


def test_where_selects_by_swept_param_and_by_row_key() -> None:
    assert loss(CELLS, where={"size": 4}).kind is VerdictKind.REPRODUCED
    steps = run(*(row("loss", float(step), where={"step": step}) for step in range(9)))
    assert loss([steps], where={"step": 4}).measured == "4 nat"


def test_a_row_key_wins_over_a_param_of_its_name() -> None:
    one = run(row("loss", 4.0, where={"size": 9}), params={"size": 2})
    assert loss([one], where={"size": 9}).kind is VerdictKind.REPRODUCED
    assert loss([one], where={"size": 2}).kind is VerdictKind.MISSING


@pytest.mark.parametrize(("given", "asked"), [(8, 8.0), (8.0, 8), (None, None), (True, True)])
def test_equal_values_match(given: Scalar, asked: Scalar) -> None:
    runs = [run(row("loss", 4.0), params={"size": given})]
    assert loss(runs, where={"size": asked}).kind is VerdictKind.REPRODUCED


@pytest.mark.parametrize(("given", "asked"), [(1, True), (True, 1), ("8", 8), (None, False)])
def test_values_of_other_types_do_not_match(given: Scalar, asked: Scalar) -> None:
    runs = [run(row("loss", 4.0), params={"size": given})]
    assert loss(runs, where={"size": asked}).kind is VerdictKind.MISSING


def test_units_are_converted_to_the_entrys() -> None:
    fast = entry("bound", "wall", {"value": 90.0, "abs": 0.0}, unit="s")
    assert verdict(fast, [run(row("wall", 1.5, unit="min"))]).measured == "90 s"


def test_a_unit_of_another_kind_is_invalid() -> None:
    found = loss([run(row("loss", 4.0, unit="GiB"))])
    assert (found.kind, found.detail) == (
        VerdictKind.RUN_FAILED,
        "measured in 'GiB', which does not convert to 'nat'",
    )


def test_text_where_a_number_is_due_is_invalid() -> None:
    found = loss([run(row("loss", "four"))])
    assert (found.kind, found.detail) == (VerdictKind.RUN_FAILED, "loss is 'four', not a number")


@pytest.mark.parametrize(
    ("facts", "detail"),
    [
        ({"where": {"sise": 4}}, "no row of loss has the key 'sise'; nearest: size"),
        ({"where": {"size": 3}}, "no row of loss has size=3; there are 2, 4, 8"),
    ],
)
def test_what_is_missing_says_what_there_is(facts: dict[str, Any], detail: str) -> None:
    found = loss(CELLS, **facts)
    assert (found.kind, found.detail) == (VerdictKind.MISSING, detail)


def test_each_value_is_there_but_not_at_once() -> None:
    runs = [run(row("loss", 4.0), params={"a": a, "b": a}) for a in (1, 2)]
    found = loss(runs, where={"a": 1, "b": 2})
    assert (found.kind, found.detail) == (
        VerdictKind.MISSING,
        "no row of loss has a=1 b=2 at once",
    )


def test_nothing_run_and_nothing_measured_are_missing() -> None:
    assert loss([]).detail == "not run yet"
    assert loss([run(row("speed", 4.0))]).detail == "no run measured loss"


def test_an_absent_figure_is_missing_with_its_reason() -> None:
    found = loss([run(row("loss", None, absent="out of memory"))])
    assert (found.kind, found.detail) == (VerdictKind.MISSING, "loss: out of memory")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_missing(value: float) -> None:
    found = loss([run(row("loss", value))])
    assert (found.kind, found.detail) == (VerdictKind.MISSING, f"loss: {value}")


def test_one_absent_replicate_is_not_averaged_away() -> None:
    found = loss(replicates("loss", [4.0, None, 4.0]))
    assert found.kind is VerdictKind.MISSING
    assert found.detail.endswith("(1 of 3 rows)")


def test_a_figure_that_stands_twice_in_a_run_is_invalid() -> None:
    found = loss([run(row("loss", 4.0), row("loss", 4.0))])
    assert (found.kind, found.detail) == (
        VerdictKind.RUN_FAILED,
        "loss was measured twice in one run at loss",
    )


def test_two_runs_of_one_replicate_are_invalid() -> None:
    found = loss([run(row("loss", 4.0), source="a"), run(row("loss", 4.0), source="b")])
    assert found.kind is VerdictKind.RUN_FAILED
    assert "two runs of the same replicate" in found.detail


def test_several_cells_are_ambiguous_and_named() -> None:
    found = loss(CELLS)
    assert found.kind is VerdictKind.RUN_FAILED
    assert found.detail == "ambiguous: 3 rows differ in size (size=2, size=4, size=8)"


def test_several_rows_of_one_run_are_ambiguous() -> None:
    found = loss([run(row("loss", 4.0, where={"step": 1}), row("loss", 4.0, where={"step": 2}))])
    assert found.detail == "ambiguous: 2 rows differ in step (step=1, step=2)"


def test_a_broken_run_makes_its_own_cell_invalid() -> None:
    broken = run(params={"size": 8}, status=Status.OUT_OF_MEMORY, cause="killed at 119 GiB")
    runs = [*CELLS[:2], broken]
    assert loss(runs, where={"size": 4}).kind is VerdictKind.REPRODUCED
    found = loss(runs, where={"size": 8})
    assert found.kind is VerdictKind.RUN_FAILED
    assert found.detail == "run size=8 out-of-memory: killed at 119 GiB"


def test_a_broken_replicate_makes_its_cell_invalid() -> None:
    runs = [*replicates("loss", [4.0, 4.0]), run(seed=2, status=Status.FAILED, cause="exit 1")]
    assert loss(runs).kind is VerdictKind.RUN_FAILED


def test_what_a_broken_run_did_measure_satisfies_nothing() -> None:
    runs = [run(row("loss", 4.0), status=Status.TIMED_OUT, cause="600 s")]
    assert loss(runs).kind is VerdictKind.RUN_FAILED


# --- where it binds -------------------------------------------------------------------------------


def test_another_profile_is_not_comparable_but_shown() -> None:
    found = loss(
        [run(row("loss", 9.0), profile=Profile.CPU)], Profile.CPU, binds={"profile": ["spark"]}
    )
    assert found.kind is VerdictKind.OTHER_PROFILE
    assert found.measured == "9 nat"
    assert found.detail == "checked in profile spark; this is cpu"


def test_another_device_is_not_comparable_but_shown() -> None:
    found = loss([run(row("loss", 4.0), device="NVIDIA H100")], binds={"device": SPARK})
    assert found.kind is VerdictKind.OTHER_PROFILE
    assert found.measured == "4 nat"
    assert found.detail == f"checked on {SPARK}; this is NVIDIA H100"


def test_device_names_are_compared_whole() -> None:
    runs = [run(row("loss", 4.0), device=f"{SPARK}X")]
    assert loss(runs, binds={"device": SPARK}).kind is VerdictKind.OTHER_PROFILE


def test_only_the_runs_on_the_named_device_count() -> None:
    runs = [run(row("loss", 4.0)), run(row("loss", 90.0), seed=1, device="NVIDIA H100")]
    assert loss(runs, binds={"device": SPARK}).measured == "4 nat"


def test_a_run_that_broke_before_it_named_its_device_is_invalid() -> None:
    runs = [run(device="", status=Status.HOST_FAILED, cause="no image")]
    assert loss(runs, binds={"device": SPARK}).kind is VerdictKind.RUN_FAILED


def test_unbound_here_is_not_comparable_even_when_nothing_was_measured() -> None:
    found = loss([], Profile.CPU, binds={"profile": ["spark"]})
    assert (found.kind, found.measured) == (VerdictKind.OTHER_PROFILE, "")


def test_runs_of_another_profile_are_not_looked_at() -> None:
    assert loss([run(row("loss", 4.0), profile=Profile.CPU)]).kind is VerdictKind.MISSING
