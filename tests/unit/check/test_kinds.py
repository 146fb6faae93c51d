"""One kind of expectation after the other: what it accepts, and how it explains itself."""

from __future__ import annotations

from typing import Any

import pytest

from harness.check.verdicts import exit_code
from harness.errors import ExitCode
from harness.records import FinishedRun, Profile, Scalar, Verdict, VerdictKind

from .builders import entry, replicates, row, run, verdict

REPRODUCED, OUTSIDE = VerdictKind.REPRODUCED, VerdictKind.OUTSIDE
INCONCLUSIVE, MISSING, RUN_FAILED = (
    VerdictKind.INCONCLUSIVE,
    VerdictKind.MISSING,
    VerdictKind.RUN_FAILED,
)


def one(metric: str, value: Scalar, **facts: Any) -> list[FinishedRun]:
    return [run(row(metric, value, **facts))]


# --- exact ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "found", "expected", "kind"),
    [
        ("parameters", 354_601_984, 354_601_984, REPRODUCED),
        ("parameters", 354_601_984.0, 354_601_984, REPRODUCED),
        ("parameters", 354_601_983, 354_601_984, OUTSIDE),
        ("hash", "b8ba", "b8ba", REPRODUCED),
        ("hash", "b8ba", "b8bb", OUTSIDE),
        ("hash", True, True, REPRODUCED),
        ("hash", True, 1, OUTSIDE),
        ("hash", 1, True, OUTSIDE),
        ("hash", "1", 1, OUTSIDE),
    ],
)
def test_exact_is_the_very_value(
    metric: str, found: Scalar, expected: Scalar, kind: VerdictKind
) -> None:
    assert verdict(entry("exact", metric, {"value": expected}), one(metric, found)).kind is kind


def test_exact_tells_by_how_much_and_in_how_many_samples() -> None:
    asked = entry("exact", "parameters", {"value": 16})
    assert verdict(asked, one("parameters", 19)).detail == "off by +3"
    found = verdict(asked, replicates("parameters", [16, 17, 16]))
    assert (found.kind, found.detail) == (OUTSIDE, "1 of 3 samples differ")
    assert found.measured == "17 parameter"


def test_exact_survives_a_change_of_unit() -> None:
    asked = entry("exact", "parameters", {"value": 354.601984}, unit="Mparameter")
    assert verdict(asked, one("parameters", 354_601_984)).kind is REPRODUCED


# --- bound ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expect", "value", "kind"),
    [
        ({"value": 4.61, "abs": 0.3}, 4.91, REPRODUCED),
        ({"value": 4.61, "abs": 0.3}, 4.31, REPRODUCED),
        ({"value": 4.61, "abs": 0.3}, 4.911, OUTSIDE),
        ({"value": 0.9, "abs": 0.1}, 0.8, REPRODUCED),  # 0.9 - 0.1 is not quite 0.8
        ({"value": 100.0, "rel": 0.05}, 105.0, REPRODUCED),
        ({"value": 100.0, "rel": 0.05}, 94.9, OUTSIDE),
        ({"value": -100.0, "rel": 0.05}, -105.0, REPRODUCED),
        ({"low": 6.4, "high": 9.8}, 9.8, REPRODUCED),
        ({"low": 6.4}, 6.3999, OUTSIDE),
        ({"high": 0.2}, -5.0, REPRODUCED),
        ({"value": 0.0, "abs": 0.0}, 0.0, REPRODUCED),
    ],
)
def test_bound_includes_its_ends(expect: dict[str, float], value: float, kind: VerdictKind) -> None:
    assert verdict(entry("bound", "loss", expect), one("loss", value)).kind is kind


def test_bound_tells_how_far_outside() -> None:
    found = verdict(entry("bound", "loss", {"value": 4.0, "abs": 0.5}), one("loss", 4.75))
    assert found.expected == "4 ± 0.5 nat"
    assert found.measured == "4.75 nat"
    assert found.detail == "0.25 nat above 4.5 nat"


def test_a_tolerance_is_at_least_a_step_of_the_metric() -> None:
    narrow = entry("bound", "turns", {"value": 4.0, "abs": 0.01})
    assert verdict(narrow, one("turns", 4.5)).kind is REPRODUCED
    assert verdict(narrow, one("turns", 4.6)).kind is OUTSIDE


def test_the_step_is_taken_in_the_entrys_unit() -> None:
    narrow = entry("bound", "memory", {"value": 1024.0, "abs": 0.0}, unit="MiB")
    assert verdict(narrow, one("memory", 1.01)).kind is REPRODUCED
    assert verdict(narrow, one("memory", 1.011)).kind is OUTSIDE


def test_bound_compares_the_mean_of_replicates_and_shows_their_range() -> None:
    asked = entry("bound", "loss", {"value": 4.0, "abs": 0.1})
    found = verdict(asked, replicates("loss", [3.0, 4.0, 5.0]))
    assert (found.kind, found.measured) == (REPRODUCED, "4 nat")
    assert found.detail == "mean of 3 samples, 3 .. 5 nat"


# --- ratio and ordering ---------------------------------------------------------------------------


def shapes(**speeds: list[float]) -> list[FinishedRun]:
    return [
        run(row("speed", speed), params={"precision": precision, "size": size})
        for precision, each in speeds.items()
        for size, speed in enumerate(each)
    ]


def against(kind: str, expect: dict[str, Any], side: str) -> dict[str, Any]:
    cell = {"metric": "speed", "where": {"precision": "bf16"}}
    facts = {"unit": "x"} if kind == "ratio" else {}
    return entry(kind, "speed", {**expect, side: cell}, where={"precision": "fp8"}, **facts)


def test_ratio_holds_in_every_cell_that_pairs() -> None:
    asked = against("ratio", {"low": 1.0, "high": 1.1}, "to")
    found = verdict(asked, shapes(fp8=[105.0, 210.0], bf16=[100.0, 200.0]))
    assert (found.kind, found.measured) == (REPRODUCED, "1.05 x")  # both, so one figure
    found = verdict(asked, shapes(fp8=[105.0, 230.0], bf16=[100.0, 200.0]))
    assert found.kind is OUTSIDE
    assert found.detail == "worst of 2 cells: precision=fp8 size=1; 0.05 x above 1.1 x"


@pytest.mark.parametrize(
    ("left_out", "kind"), [((0, 0), REPRODUCED), ((2, 2), REPRODUCED), ((0, 1), RUN_FAILED)]
)
def test_runs_that_left_out_more_than_others_are_not_compared(
    left_out: tuple[int, int], kind: VerdictKind
) -> None:
    runs = [
        run(
            row("speed", 100.0),
            row("rollout_errors", errors, where={"policy": "one"}),
            row("rollout_errors", 0, where={"policy": "other"}),
            params={"precision": precision},
        )
        for precision, errors in zip(("fp8", "bf16"), left_out, strict=True)
    ]
    found = verdict(against("ratio", {"low": 1.0, "high": 1.1}, "to"), runs)
    assert found.kind is kind
    if kind is RUN_FAILED:
        assert found.detail.startswith("rollout_errors: 0 at precision=fp8, 1 at precision=bf16:")


def test_ratio_of_two_metrics_of_one_run_is_free_of_their_units() -> None:
    asked = entry(
        "ratio",
        "wall",
        {"value": 50.0, "abs": 0.0, "to": {"metric": "wall", "where": {"of": "all"}}},
        where={"of": "part"},
        unit="%",
    )
    both = run(
        row("wall", 30.0, where={"of": "part"}), row("wall", 1.0, unit="min", where={"of": "all"})
    )
    assert verdict(asked, [both]).measured == "50 %"


def test_ratio_to_nothing_is_invalid() -> None:
    asked = against("ratio", {"low": 1.0}, "to")
    found = verdict(asked, shapes(fp8=[105.0], bf16=[0.0]))
    assert found.kind is RUN_FAILED
    assert "cannot divide by it" in found.detail


def test_ordering_needs_every_pair_and_tells_the_worst() -> None:
    asked = against("ordering", {"margin": 2.0}, "than")
    found = verdict(asked, shapes(fp8=[105.0, 202.0], bf16=[100.0, 200.0]))
    assert (found.kind, found.measured) == (REPRODUCED, "202 against 200 token/s")
    found = verdict(asked, shapes(fp8=[105.0, 201.0], bf16=[100.0, 200.0]))
    assert found.kind is OUTSIDE
    assert found.detail == "1 token/s better; worst of 2 pairs, precision=fp8 size=1"


def test_ordering_follows_the_metrics_direction() -> None:
    asked = entry(
        "ordering", "loss", {"than": {"metric": "loss", "where": {"arm": "b"}}}, where={"arm": "a"}
    )
    lower = [
        run(row("loss", value), params={"arm": arm}) for arm, value in (("a", 1.0), ("b", 2.0))
    ]
    assert verdict(asked, lower).kind is REPRODUCED
    higher = [
        run(row("loss", value), params={"arm": arm}) for arm, value in (("a", 2.0), ("b", 1.0))
    ]
    assert verdict(asked, higher).detail == "1 nat worse"


def test_ordering_without_a_direction_is_invalid() -> None:
    asked = entry("ordering", "memory", {"than": {"metric": "memory", "where": {"a": 1}}})
    found = verdict(asked, [run(row("memory", 1.0), params={"a": 1})])
    assert found.detail == "memory does not declare which direction is better"


def test_a_tie_is_not_better() -> None:
    asked = entry(
        "ordering", "loss", {"than": {"metric": "loss", "where": {"arm": "b"}}}, where={"arm": "a"}
    )
    runs = [run(row("loss", 0.1 + 0.2), params={"arm": arm}) for arm in "ab"]
    found = verdict(asked, [runs[0], run(row("loss", 0.3), params={"arm": "b"})])
    assert (found.kind, found.detail) == (OUTSIDE, "equal")
    as_good = {**asked, "expect": {**asked["expect"], "or_equal": True}}
    found = verdict(as_good, [runs[0], run(row("loss", 0.3), params={"arm": "b"})])
    assert (found.kind, found.expected) == (REPRODUCED, "at least as good as loss at arm=b")
    found = verdict(as_good, [runs[0], run(row("loss", 0.2), params={"arm": "b"})])
    assert (found.kind, found.detail) == (OUTSIDE, "0.1 nat worse")
    lead = {**asked, "expect": {**asked["expect"], "margin": 0.5}}
    runs[1] = run(row("loss", 0.8), params={"arm": "b"})
    assert verdict(lead, runs).kind is REPRODUCED  # by the very margin that is asked for


def test_pairs_are_of_one_replicate() -> None:
    asked = entry(
        "ordering", "loss", {"than": {"metric": "loss", "where": {"arm": "b"}}}, where={"arm": "a"}
    )
    runs = [
        run(row("loss", base + shift), params={"arm": arm}, seed=seed)
        for arm, shift in (("a", 0.0), ("b", 0.1))
        for seed, base in enumerate((1.0, 5.0, 3.0))  # the seeds differ by more than the arms
    ]
    assert verdict(asked, runs).kind is REPRODUCED
    found = verdict(asked, runs[:-1])
    assert (found.kind, found.detail) == (MISSING, "no partner for arm=a replicate=2")


def test_cells_that_differ_in_more_than_is_named_do_not_pair() -> None:
    asked = against("ordering", {}, "than")
    runs = [
        run(row("speed", 1.0), params={"precision": "fp8", "dropout": 0.1}),
        run(row("speed", 1.0), params={"precision": "bf16", "dropout": 0.0}),
    ]
    found = verdict(asked, runs)
    assert found.kind is MISSING
    assert found.detail.endswith("; no two agree in dropout")


def test_several_partners_are_ambiguous() -> None:
    asked = entry(
        "ratio", "speed", {"low": 0.0, "to": {"metric": "speed"}}, where={"size": 1}, unit="x"
    )
    runs = [run(row("speed", 1.0), params={"size": size}) for size in (1, 2)]
    found = verdict(asked, runs)
    assert found.kind is RUN_FAILED
    assert found.detail == "ambiguous: size=1 has 2 partners, size=1, size=2"


def test_one_baseline_serves_several_rows() -> None:
    asked = entry("ratio", "loss", {"high": 1.0, "to": {"metric": "loss.first"}}, unit="x")
    steps = run(row("loss.first", 8.0), *(row("loss", v, where={"step": v}) for v in (4.0, 2.0)))
    found = verdict(asked, [steps])
    assert (found.kind, found.measured) == (REPRODUCED, "0.25 .. 0.5 x")


# --- proportion -----------------------------------------------------------------------------------


def passes(successes: int, trials: int) -> list[FinishedRun]:
    return one("pass_rate", successes / trials, count=trials)


ELEVEN = entry("proportion", "pass_rate", {"successes": 11, "trials": 158})


@pytest.mark.parametrize(
    ("successes", "trials", "kind"),
    [(11, 158, REPRODUCED), (13, 158, REPRODUCED), (60, 158, OUTSIDE), (0, 158, OUTSIDE),
     (0, 4, INCONCLUSIVE), (7, 100, INCONCLUSIVE), (4, 4, OUTSIDE)],
)  # fmt: skip
def test_proportion_is_tested(successes: int, trials: int, kind: VerdictKind) -> None:
    assert verdict(ELEVEN, passes(successes, trials)).kind is kind


def test_proportion_prints_intervals_test_and_what_could_have_been_seen() -> None:
    found = verdict(ELEVEN, passes(2, 40))
    assert found.expected == "11 of 158 (6.96 %, Wilson 95 % 3.93 .. 12 %)"
    assert found.measured.startswith("2 of 40 (5 %, Wilson 95 % ")
    assert found.detail.startswith("40 trials, expected 158; Fisher's exact test p = 1; ")
    assert found.detail.endswith(f"could have seen {found.sees} with power 0.8")
    assert found.sees.startswith("a rate above ")


def test_a_sample_that_could_see_no_rate_reproduces_none() -> None:
    asked = entry("proportion", "pass_rate", {"successes": 1, "trials": 2})
    found = verdict(asked, passes(1, 2))
    assert (found.kind, found.sees) == (INCONCLUSIVE, "no other rate")


def test_replicates_of_a_proportion_are_pooled() -> None:
    runs = replicates("pass_rate", [3 / 79, 8 / 79], count=79)
    assert verdict(ELEVEN, runs).measured.startswith("11 of 158 ")


def test_a_rate_that_no_count_makes_is_invalid() -> None:
    found = verdict(ELEVEN, one("pass_rate", 0.5, count=3))
    assert (found.kind, found.detail) == (
        RUN_FAILED,
        "pass_rate: 1.5 of 3 is not a count of successes",
    )


CONSTANT = entry("proportion", "pass_rate", {"constant": 0.125, "margin": 0.125})
EIGHT = {**CONSTANT, "expect": {**CONSTANT["expect"], "clusters": 8, "icc": 1.0}}
CLUSTERED = {**ELEVEN, "expect": {"successes": 395, "trials": 790, "clusters": 158, "icc": 0.4}}


@pytest.mark.parametrize(
    ("asked", "successes", "trials", "kind"),
    [
        (CONSTANT, 12, 120, REPRODUCED),
        (CONSTANT, 63, 120, OUTSIDE),  # 52 % is better than a constant answer's 12.5 %
        (CONSTANT, 5, 24, INCONCLUSIVE),
        (EIGHT, 12, 120, INCONCLUSIVE),  # 15 answers to each of eight questions
        (EIGHT, 90, 120, OUTSIDE),
        (CLUSTERED, 450, 790, REPRODUCED),
        ({**ELEVEN, "expect": {"successes": 395, "trials": 790}}, 450, 790, OUTSIDE),
        (CLUSTERED, 510, 790, OUTSIDE),
    ],
)
def test_constants_are_no_samples_and_tasks_no_trials(
    asked: dict[str, Any], successes: int, trials: int, kind: VerdictKind
) -> None:
    assert verdict(asked, passes(successes, trials)).kind is kind


def test_a_constant_is_said_in_words() -> None:
    found = verdict(EIGHT, passes(12, 120))
    assert found.expected == "not better than 12.5 % by 12.5 %"
    assert found.measured == "12 of 120 (10 %, Wilson 95 % over 8 tasks 1.52 .. 44.4 %)"
    assert found.detail.startswith("as 8 independent trials; exact binomial test p = ")
    assert found.sees.startswith("a rate above ")


@pytest.mark.parametrize(
    "expect",
    [
        {},
        {"successes": 1},
        {"successes": 1, "trials": 8, "margin": 0.1},
        {"constant": 0.5},
        {"successes": 1, "trials": 8, "clusters": 4},
    ],
)
def test_a_proportion_has_one_form(expect: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"give either successes|go together"):
        verdict(entry("proportion", "pass_rate", expect), [])


# --- trajectory -----------------------------------------------------------------------------------


def series(*values: float) -> FinishedRun:
    return run(*(row("loss", value, where={"step": step}) for step, value in enumerate(values)))


DOWN = entry(
    "trajectory",
    "loss",
    {"points": [[0, 3.0], [1, 2.0], [2, 1.0]], "max_abs": 0.2, "mean_abs": 0.1},
)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ((3.0, 2.0, 1.0), REPRODUCED),
        ((3.2, 1.8, 1.0), REPRODUCED),
        ((3.3, 2.0, 1.0), OUTSIDE),  # a point too far
        ((3.15, 2.15, 1.15), OUTSIDE),  # every point near, all on one side
        ((3.0, 2.0, 1.0, 99.0), REPRODUCED),  # no point is expected there
        ((3.0, 2.0), MISSING),
    ],
)
def test_trajectory_bounds_points_and_drift(values: tuple[float, ...], kind: VerdictKind) -> None:
    assert verdict(DOWN, [series(*values)]).kind is kind


def test_trajectory_names_the_furthest_point_and_those_missing() -> None:
    found = verdict(DOWN, [series(3.0, 2.3, 1.0)])
    assert found.detail == "furthest +0.3 at step=1; on average +0.1 nat"
    assert verdict(DOWN, [series(3.0)]).detail == "2 points: step=1, 2"


def test_a_trajectory_is_of_one_cell() -> None:
    runs = [run(row("loss", 3.0, where={"step": 0}), params={"size": size}) for size in (1, 2)]
    found = verdict(DOWN, runs)
    assert found.kind is RUN_FAILED
    assert "differ in size" in found.detail


# --- equivalence and noninferiority ---------------------------------------------------------------

SAME = entry("equivalence", "wall", {"value": 100.0, "margin": 5.0})
NOT_WORSE = entry("noninferiority", "wall", {"value": 100.0, "margin": 5.0})
FASTER = entry("noninferiority", "speed", {"value": 100.0, "margin": 5.0})


@pytest.mark.parametrize(
    ("asked", "values", "kind"),
    [
        (SAME, [99.2, 100.1, 100.9], REPRODUCED),
        (SAME, [119.2, 120.1, 120.9], OUTSIDE),
        (SAME, [79.2, 80.1, 80.9], OUTSIDE),
        (SAME, [90.0, 100.0, 110.0], INCONCLUSIVE),
        (SAME, [104.2, 105.1, 105.9], INCONCLUSIVE),
        (SAME, [100.0, 100.0], INCONCLUSIVE),
        (SAME, [100.0], INCONCLUSIVE),
        (SAME, [102.0, 102.0, 102.0], INCONCLUSIVE),  # as likely above as below
        (SAME, [102.0] * 5, REPRODUCED),
        (NOT_WORSE, [79.2, 80.1, 80.9], REPRODUCED),  # a wall time: lower is better
        (NOT_WORSE, [119.2, 120.1, 120.9], OUTSIDE),
        (NOT_WORSE, [90.0, 104.0, 118.0], INCONCLUSIVE),
        (FASTER, [119.2, 120.1, 120.9], REPRODUCED),
        (FASTER, [79.2, 80.1, 80.9], OUTSIDE),
        (FASTER, [100.0, 101.0], INCONCLUSIVE),
    ],
)
def test_means_are_tested(asked: dict[str, Any], values: list[float], kind: VerdictKind) -> None:
    assert verdict(asked, replicates(asked["metric"], values)).kind is kind


def test_too_few_replicates_say_what_they_could_have_shown() -> None:
    assert verdict(SAME, one("wall", 100.0)).detail == (
        "needs 3 replicates, has 1: their spread is unknown"
    )
    found: Verdict = verdict(SAME, replicates("wall", [99.5, 101.2]))
    assert found.measured == "100.35 s, sd 1.20208 s, n = 2"
    assert found.detail.startswith("needs 3 replicates, has 2; could have seen a mean ")


def test_equal_samples_of_a_coarse_metric_still_have_a_spread() -> None:
    asked = entry("equivalence", "turns", {"value": 4.0, "margin": 0.01})
    found = verdict(asked, replicates("turns", [4.5, 4.5, 4.5]))
    assert found.kind is INCONCLUSIVE  # a margin of one step, and rounding alone spreads by 0.14
    assert found.measured == "4.5 turn, sd 0.144338 turn, n = 3"


NOISY = entry("bound", "wall", {"value": 100.0, "rel": 0.03, "noise": 0.01})


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([100.0], REPRODUCED),
        ([97.5], INCONCLUSIVE),  # within 3 %, and so might a true -3 % be
        ([97.5, 97.6, 97.4, 97.55], INCONCLUSIVE),
        ([98.5, 98.6, 98.4, 98.55], REPRODUCED),
        ([94.0], OUTSIDE),
        ([96.0], INCONCLUSIVE),
        ([96.0, 96.1, 95.9, 96.05, 96.02], OUTSIDE),  # more replicates see more
        ([80.0, 100.0, 120.0], INCONCLUSIVE),  # they spread by far more than the noise stated
    ],
)
def test_a_tolerance_with_noise_is_the_effect_that_matters(
    values: list[float], kind: VerdictKind
) -> None:
    assert verdict(NOISY, replicates("wall", values)).kind is kind


def test_recomputed_figures_have_no_noise() -> None:
    runs = [run(row("wall", 97.5), profile=Profile.EVIDENCE)]
    assert verdict(NOISY, runs, Profile.EVIDENCE).kind is REPRODUCED


def test_noise_is_about_a_value() -> None:
    with pytest.raises(ValueError, match="noise goes with value"):
        verdict(entry("bound", "wall", {"low": 1.0, "noise": 0.1}), [])


@pytest.mark.parametrize(
    ("values", "measured"), [([3.0], "3 nat"), ([3.0, 5.0], "3 .. 5 nat"), ([], "")]
)
def test_what_is_only_reported_is_shown_whatever_it_is(values: list[float], measured: str) -> None:
    asked = {**entry("reported", "loss", {}, **{"class": "reported"}), "expect": None}
    found = verdict(asked, replicates("loss", values))
    assert (found.kind, found.measured, found.expected) == (VerdictKind.REPORTED, measured, "")


def test_texts_that_are_only_reported_are_each_shown_once() -> None:
    asked = {**entry("reported", "hash", {}, **{"class": "reported"}), "expect": None}
    runs = replicates("hash", ["a", "b", "a"])
    assert verdict(asked, runs).measured == "a, b"


@pytest.mark.parametrize("profile", [Profile.SPARK, Profile.CPU])
def test_an_expectation_of_the_class_reported_is_compared_but_not_counted(
    profile: Profile,
) -> None:
    asked = entry(
        "bound",
        "loss",
        {"value": 1.0, "abs": 0.1},
        **{"class": "reported", "binds": {"profile": ["spark"]}, "claimed": 2, "derived": 1},
    )
    found = verdict(asked, [run(row("loss", 9.0), profile=profile)], profile)
    assert found.kind is VerdictKind.REPORTED
    assert (found.expected, found.measured) == ("1 ± 0.1 nat", "9 nat")
    elsewhere = "checked in profile spark; this is cpu"
    assert found.detail == ("7.9 nat above 1.1 nat" if profile is Profile.SPARK else elsewhere)
    assert found.claim is VerdictKind.OUTSIDE
    assert exit_code([found]) is ExitCode.INCONCLUSIVE  # nothing was compared
