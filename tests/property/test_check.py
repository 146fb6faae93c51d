"""The algebra of tolerances, and what must not matter to a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.check.tolerance import accepted, accepts
from harness.check.verdicts import check
from harness.records import (
    FinishedRun,
    Measurement,
    Profile,
    RunOutcome,
    RunSpec,
    Scalar,
    Status,
    Usage,
    Verdict,
    VerdictKind,
)
from harness.scenario.expectations import Expectations, Tolerance
from harness.statistics import (
    Interval,
    Proportion,
    fisher_exact,
    holm,
    mcnemar_exact,
    pooled_z,
    t_quantile,
    t_tail,
    wilson,
)
from harness.units import UNITS
from harness.workloads.api.declare import Better, Metric

values = st.floats(min_value=-1e6, max_value=1e6).map(lambda x: round(x, 3))
margins = st.floats(min_value=0.0, max_value=1e6).map(lambda x: round(x, 3))
steps = st.sampled_from([0.0, 0.01, 1.0, 50.0])


# --- tolerances -----------------------------------------------------------------------------------


@given(values, margins, values, steps)
def test_a_tolerance_is_symmetric(value: float, margin: float, off: float, step: float) -> None:
    interval = accepted(Tolerance(value=value, abs=margin), step)
    above, below = value + off, value - off
    assume(abs(abs(off) - max(margin, step)) > 1e-6)  # the very end is subject to round-off
    assert accepts(interval, above) == accepts(interval, below)


@given(values, margins, margins, values, steps)
def test_more_tolerance_never_accepts_less(
    value: float, margin: float, more: float, found: float, step: float
) -> None:
    if accepts(accepted(Tolerance(value=value, abs=margin), step), found):
        assert accepts(accepted(Tolerance(value=value, abs=margin + more), step), found)


@given(values, margins, values, steps, steps)
def test_a_coarser_metric_never_accepts_less(
    value: float, margin: float, found: float, step: float, other: float
) -> None:
    tolerance = Tolerance(value=value, abs=margin)
    if accepts(accepted(tolerance, min(step, other)), found):
        assert accepts(accepted(tolerance, max(step, other)), found)


@given(values, margins)
def test_ends_and_the_value_itself_are_included(value: float, margin: float) -> None:
    interval = accepted(Tolerance(value=value, abs=margin))
    assert all(accepts(interval, each) for each in (value, value - margin, value + margin))


@given(values.filter(bool), st.floats(min_value=0.0, max_value=2.0), values)
def test_a_relative_tolerance_is_its_absolute_one(value: float, rel: float, found: float) -> None:
    relative = accepted(Tolerance(value=value, rel=rel))
    absolute = accepted(Tolerance(value=value, abs=rel * abs(value)))
    assert accepts(relative, found) == accepts(absolute, found)


@pytest.mark.parametrize("found", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_never_accepted(found: float) -> None:
    assert not accepts(Interval(low=-math.inf, high=math.inf), found)
    assert not accepts(accepted(Tolerance(low=0.0)), found)
    assert not accepts(accepted(Tolerance(high=0.0)), found)


# --- verdicts -------------------------------------------------------------------------------------

METRICS = {
    "wall": Metric(name="wall", unit="s", doc="", better=Better.LOWER),
    "rate": Metric(name="rate", unit="1", doc="", better=Better.HIGHER),
}
SEVERAL = {"metric": "wall", "where": {"size": 2}}
EXPECTED: dict[str, Mapping[str, Any]] = {
    "exact": {"value": 60},
    "bound": {"value": 60.0, "abs": 6.0},
    "ratio": {"low": 0.5, "high": 1.5, "to": SEVERAL},
    "ordering": {"than": SEVERAL},
    "trajectory": {"key": "size", "points": [[1, 60.0]], "max_abs": 6.0, "mean_abs": 3.0},
    "equivalence": {"value": 60.0, "margin": 6.0},
    "noninferiority": {"value": 60.0, "margin": 6.0},
    "law": {"law": "all_cells", "params": {"low": 54.0, "high": 66.0}},
}
LEDGER = Expectations.model_validate(
    {
        "scenario": "a00-test",
        "expectations": [
            {
                "id": kind,
                "kind": kind,
                "metric": "wall",
                "where": {"size": 1},
                "unit": "x" if kind == "ratio" else "s",
                "class": "device",
                "expect": expect,
                "source": "article 0",
                "reason": "a test",
            }
            for kind, expect in EXPECTED.items()
        ],
    }
)

walls = st.one_of(st.integers(50, 70), st.none(), st.just(math.nan), st.just("text"))
statuses = st.sampled_from([Status.FINISHED, Status.FINISHED, Status.FINISHED, Status.FAILED])


@st.composite
def stored(draw: st.DrawFn) -> list[FinishedRun]:
    """Runs of two cells, of a few seeds, some of them broken or damaged."""
    cells = draw(
        st.lists(st.tuples(st.sampled_from([1, 2]), st.integers(0, 3)), max_size=8, unique=True)
    )
    return [finished(size, seed, draw(walls), draw(statuses)) for size, seed in cells]


def finished(
    size: int, seed: int, wall: Scalar, status: Status = Status.FINISHED, unit: str = "s"
) -> FinishedRun:
    spec = RunSpec(
        scenario="a00-test",
        profile=Profile.SPARK,
        workload="noop",
        params={"size": size},
        axes=("size",),
        seed=seed,
        replicate=seed,
    )
    outcome = RunOutcome(status=status, runtime="local", device="x", usage=Usage(wall_s=1.0))
    found = Measurement(metric="wall", value=wall, unit=unit)
    return FinishedRun(spec=spec, outcome=outcome, measurements=(found,))


def checked(runs: list[FinishedRun]) -> tuple[Verdict, ...]:
    return check(LEDGER, runs, Profile.SPARK, METRICS)


@given(stored(), st.randoms(use_true_random=False))
def test_the_order_of_the_runs_does_not_matter(runs: list[FinishedRun], shuffle: Any) -> None:
    found = checked(runs)
    shuffle.shuffle(runs)
    assert checked(runs) == found


@given(stored())
def test_every_entry_has_a_verdict(runs: list[FinishedRun]) -> None:
    assert [each.expectation for each in checked(runs)] == list(EXPECTED)


@given(stored())
def test_a_damaged_figure_never_reproduces_anything(runs: list[FinishedRun]) -> None:
    cell = [run for run in runs if run.spec.params["size"] == 1]
    values = [run.measurements[0].value for run in cell]
    damaged = any(not isinstance(value, int) for value in values)
    broken = any(run.outcome.status is not Status.FINISHED for run in cell)
    if damaged or broken or not cell:
        kinds = {each.kind for each in checked(runs)}
        assert kinds <= {VerdictKind.MISSING, VerdictKind.RUN_FAILED, VerdictKind.OUTSIDE}
        assert VerdictKind.OUTSIDE not in {
            each.kind for each in checked(runs) if each.expectation != "exact"
        }


@given(
    st.lists(st.integers(3000, 4200), min_size=1, max_size=5),
    st.sampled_from([name for name, unit in UNITS.items() if unit.dimension == "time"]),
)
def test_the_unit_of_the_measurement_does_not_matter(seconds: list[int], unit: str) -> None:
    def kinds(runs: list[FinishedRun]) -> list[VerdictKind]:
        return [each.kind for each in checked(runs)]

    def measured_in(unit: str) -> list[FinishedRun]:
        factor = UNITS[unit].factor
        return [
            finished(size, seed, wall / 60 / factor, unit=unit)
            for size in (1, 2)
            for seed, wall in enumerate(seconds)
        ]

    assert kinds(measured_in(unit)) == kinds(measured_in("s"))


@given(stored())
def test_shifting_a_cell_away_never_makes_a_bound_hold(runs: list[FinishedRun]) -> None:
    clean = [run for run in runs if isinstance(run.measurements[0].value, int)]
    clean = [finished(r.spec.params["size"], r.spec.seed, r.measurements[0].value) for r in clean]
    by_id = {each.expectation: each.kind for each in checked(clean)}
    far = [
        finished(r.spec.params["size"], r.spec.seed, 1000 + float(r.measurements[0].value or 0))
        for r in clean
    ]
    moved = {each.expectation: each.kind for each in checked(far)}
    if by_id["bound"] is not VerdictKind.MISSING:
        assert moved["bound"] is VerdictKind.OUTSIDE
        assert moved["law"] is VerdictKind.OUTSIDE


# --- statistics -----------------------------------------------------------------------------------


@st.composite
def proportions(draw: st.DrawFn) -> Proportion:
    trials = draw(st.integers(1, 300))
    return Proportion(successes=draw(st.integers(0, trials)), trials=trials)


def flipped(one: Proportion) -> Proportion:
    return Proportion(successes=one.trials - one.successes, trials=one.trials)


@given(proportions())
def test_wilson_holds_the_rate_and_mirrors(one: Proportion) -> None:
    found, mirrored = wilson(one), wilson(flipped(one))
    assert 0 <= found.low <= one.rate <= found.high <= 1
    assert found.low == pytest.approx(1 - mirrored.high, abs=1e-12)


@given(proportions(), proportions())
def test_tests_of_two_proportions_have_no_order(one: Proportion, other: Proportion) -> None:
    for test in (fisher_exact, pooled_z):
        p_value = test(one, other)
        assert 0 <= p_value <= 1
        assert p_value == pytest.approx(test(other, one), rel=1e-9)
        assert p_value == pytest.approx(test(flipped(one), flipped(other)), rel=1e-9)
    assert fisher_exact(one, one) == 1.0


@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_has_no_order(one: int, other: int) -> None:
    assert mcnemar_exact(one, other) == mcnemar_exact(other, one) <= 1


@given(st.floats(0.001, 0.999), st.integers(1, 100))
def test_quantile_and_tail_are_inverse(probability: float, degrees: int) -> None:
    assert t_tail(t_quantile(probability, degrees), degrees) == pytest.approx(1 - probability)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_only_raises_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(one <= other <= 1 for one, other in zip(p_values, adjusted, strict=True))
    ranked = [adjusted[i] for i in sorted(range(len(p_values)), key=lambda i: p_values[i])]
    assert ranked == sorted(ranked)
