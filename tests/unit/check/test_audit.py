"""Which entries can fail: each kind against the figures of dead experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from harness.check import rows
from harness.check.audit import Audited, audit, cannot_fail
from harness.records import FinishedRun, Profile, VerdictKind
from harness.scenario.expectations import Expectations

from .builders import METRICS, entry, replicates, row, run


def audited(asked: Mapping[str, Any], runs: Sequence[FinishedRun]) -> Audited:
    """Audit a ledger of one entry, in both ways of asking."""
    ledger = Expectations.model_validate({"scenario": "a00-test", "expectations": [asked]})
    (only,) = audit(ledger, runs, Profile.SPARK, METRICS)
    blind = () if only.can_fail else (only.entry,)
    assert cannot_fail(ledger, runs, Profile.SPARK, METRICS) == (blind, 1)
    return only


def _policies(values: Mapping[str, float], seeds: int = 1) -> list[FinishedRun]:
    return [
        run(*(row("turns", v + s, where={"policy": p}) for p, v in values.items()), seed=s)
        for s in range(seeds)
    ]


def test_an_interval_is_as_sharp_as_it_is_narrow() -> None:
    runs = [run(row("loss", 2.0))]
    narrow = audited(entry("bound", "loss", {"value": 2.0, "rel": 0.04}), runs)
    assert narrow.noticed == ("x 0.95", "x 1.05", "x 0")
    assert narrow.missed == ()
    wide = audited(entry("bound", "loss", {"value": 2.0, "rel": 0.5}), runs)
    assert (wide.noticed, wide.missed) == (("x 0",), ("x 0.95", "x 1.05"))


def test_a_share_that_is_any_share_cannot_fail() -> None:
    found = audited(entry("bound", "loss", {"low": 0.0}), [run(row("loss", 0.5))])
    assert not found.can_fail
    assert found.kind is VerdictKind.REPRODUCED
    assert found.missed == ("x 0.95", "x 1.05", "x 0", "x 10", "x 100")


def test_a_limit_notices_what_is_far_above_it() -> None:
    found = audited(entry("bound", "loss", {"high": 0.01}), [run(row("loss", 0.0005))])
    assert found.noticed == ("x 100",)


def test_an_error_in_percent_notices_that_5_percent_are_missing() -> None:
    runs = [run(row("unaccounted", 0.009))]
    law = {"law": "all_cells", "params": {"low": -2.0, "high": 2.0}}
    assert audited(entry("law", "unaccounted", law), runs).noticed == ("+ 5 points",)
    assert not audited(entry("bound", "unaccounted", {"high": 10.0}), runs).can_fail


def test_a_count_of_no_faults_notices_one() -> None:
    found = audited(entry("exact", "turns", {"value": 0}), [run(row("turns", 0))])
    assert found.noticed == ("1, not 0",)


@pytest.mark.parametrize(("value", "other"), [("ab12", "cd34"), (True, False)])
def test_a_text_or_a_flag_notices_another_one(value: object, other: object) -> None:
    assert value != other
    runs = [run(row("hash", value))]  # type: ignore[arg-type]
    assert audited(entry("exact", "hash", {"value": value}), runs).noticed == ("another value",)


def test_a_figure_of_a_trained_policy_notices_that_of_the_untrained_one() -> None:
    runs = _policies({"base": 9.0, "trained": 4.0})
    asked = entry("bound", "turns", {"low": 1.0, "high": 6.0}, where={"policy": "trained"})
    found = audited(asked, runs)
    assert {"policy = base", "policy shuffled"} <= {*found.noticed}
    assert "policy = trained" in found.missed
    loose = audited({**asked, "expect": {"low": 1.0, "high": 20.0}}, runs)
    assert "policy = base" in loose.missed


def test_an_order_notices_that_the_arms_are_exchanged_or_one() -> None:
    than = {"metric": "turns", "where": {"policy": "base"}}
    asked = entry("ordering", "turns", {"than": than, "margin": 1.0}, where={"policy": "trained"})
    found = audited(asked, _policies({"base": 9.0, "trained": 4.0}))
    assert {"exchanged", "policy = base", "policy = trained", "policy shuffled"} <= {*found.noticed}


def test_a_ratio_notices_equal_arms_and_a_factor_of_its_own_side_alone() -> None:
    to = {"metric": "turns", "where": {"policy": "base"}}
    asked = entry(
        "ratio", "turns", {"value": 0.5, "rel": 0.02, "to": to}, where={"policy": "t"}, unit="x"
    )
    found = audited(asked, _policies({"base": 8.0, "t": 4.0}))
    assert {"x 0.95", "x 1.05", "exchanged", "policy = base"} <= {*found.noticed}


def test_a_fall_notices_that_the_last_step_is_the_first() -> None:
    runs = [run(row("loss", 1.0), row("loss.first", 3.0))]
    asked = entry("law", "loss", {"law": "falls", "params": {"than": "loss.first"}})
    found = audited(asked, runs)
    assert found.noticed == ("no change",)


def test_a_series_notices_that_it_stands_still() -> None:
    steps = [row("loss", loss, where={"step": at}) for at, loss in enumerate((3.0, 2.0, 1.0))]
    expect = {"points": [[0, 3.0], [1, 2.0], [2, 1.0]], "max_abs": 0.2, "mean_abs": 0.1}
    found = audited(entry("trajectory", "loss", expect), [run(*steps)])
    assert {"step = 0", "step shuffled", "x 0"} <= {*found.noticed}


def test_a_rate_moves_in_whole_successes() -> None:
    expect = {"successes": 50, "trials": 100}
    found = audited(
        entry("proportion", "pass_rate", expect), [run(row("pass_rate", 0.5, count=100))]
    )
    assert found.noticed == ("x 0",)


def test_one_seed_for_all_is_noticed_and_makes_no_entry_sharp() -> None:
    values = [row("loss", 0.5 + step / 8, where={"step": step}) for step in range(4)]
    runs = [
        run(*values, row("loss.first", 4.5 + seed / 8), row("wall", 1.25 + seed / 16), seed=seed)
        for seed in range(3)
    ]
    asked = entry("bound", "loss.first", {"low": 0.0})
    found = audited(asked, runs)
    assert "one seed" in found.noticed
    assert not found.can_fail


def test_what_is_no_pass_shows_that_it_can_fail() -> None:
    found = audited(entry("bound", "loss", {"high": 1.0}), [run(row("loss", 2.0))])
    assert found.kind is VerdictKind.OUTSIDE
    assert found.can_fail


@pytest.mark.parametrize("facts", [{"class": "reported"}, {"binds": {"profile": ["cpu"]}}])
def test_what_is_not_counted_is_not_asked(facts: dict[str, Any]) -> None:
    asked = {**entry("bound", "loss", {"low": 0.0}), **facts}
    ledger = Expectations.model_validate({"scenario": "a00-test", "expectations": [asked]})
    runs = replicates("loss", [1.0, 2.0])
    assert audit(ledger, runs, Profile.SPARK, METRICS) == ()
    assert cannot_fail(ledger, runs, Profile.SPARK, METRICS) == ((), 0)


def test_a_ledger_twice_as_long_over_twice_as_many_rows_is_twice_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each change is judged by the index of the rows; none of them places all rows again."""
    compared, frozen = 0, rows.frozen

    def counting(value: object) -> object:
        nonlocal compared
        compared += 1
        return frozen(value)

    monkeypatch.setattr(rows, "frozen", counting)

    def work(count: int) -> int:
        nonlocal compared
        runs = [run(*(row("loss", 2.0, where={"cell": cell}) for cell in range(count)))]
        asked = [
            {
                **entry("bound", "loss", {"value": 2.0, "rel": 0.04}, where={"cell": cell}),
                "id": f"cell-{cell}",
            }
            for cell in range(count)
        ]
        ledger = Expectations.model_validate({"scenario": "a00-test", "expectations": asked})
        compared = 0
        assert cannot_fail(ledger, runs, Profile.SPARK, METRICS) == ((), count)
        return compared

    assert work(100) < 2.5 * work(50)
