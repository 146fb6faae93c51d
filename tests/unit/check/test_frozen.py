"""Expectations that are changed once the results that they judge are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.check.frozen import Checked, check_as_fixed
from harness.check.verdicts import exit_code
from harness.errors import ExitCode
from harness.records import FinishedRun, Profile, RunSpec, Verdict, VerdictKind
from harness.results.store import RunStore
from harness.scenario.expectations import Expectations, fingerprints

from .builders import METRICS, entry, row, run

K = VerdictKind
TIGHT = entry("bound", "loss", {"high": 1.0}, id="loss.low")
WIDE = {**TIGHT, "expect": {"high": 9.0}}
OTHER = entry("bound", "speed", {"low": 1.0}, id="speed.high")


def ledger(*entries: dict[str, Any]) -> Expectations:
    return Expectations.model_validate({"scenario": "a00-test", "expectations": list(entries)})


def made_with(*entries: dict[str, Any], loss: float = 5.0, **facts: Any) -> FinishedRun:
    """A run of a ledger; without entries, of a harness that kept no fingerprints."""
    known = fingerprints(ledger(*entries)) if entries else {}
    found = run(row("loss", loss), row("speed", 2.0), **facts)
    return replace(found, spec=replace(found.spec, ledger=known))


def checked(
    now: Sequence[dict[str, Any]], runs: Sequence[FinishedRun], *kept: Sequence[dict[str, Any]]
) -> Checked:
    texts = [ledger(*entries) for entries in kept]

    def earlier(spec: RunSpec) -> Expectations | None:
        return next((each for each in texts if fingerprints(each) == spec.ledger), None)

    return check_as_fixed(ledger(*now), runs, Profile.SPARK, METRICS, earlier)


def of(found: Checked, name: str = "loss.low") -> Verdict:
    return next(each for each in found.verdicts if each.expectation == name)


def test_what_did_not_change_is_judged_as_ever() -> None:
    found = checked([TIGHT, OTHER], [made_with(TIGHT, OTHER)])
    assert [(each.kind, each.changed) for each in found.verdicts] == [
        (K.OUTSIDE, False),
        (K.REPRODUCED, False),
    ]
    assert found.ledger == ledger(TIGHT, OTHER)


def test_a_widened_tolerance_saves_no_result() -> None:
    found = checked([WIDE, OTHER], [made_with(TIGHT, OTHER)], [TIGHT, OTHER])
    verdict = of(found)
    assert (verdict.kind, verdict.changed, verdict.expected) == (K.OUTSIDE, True, "<= 1 nat")
    assert verdict.detail.startswith(
        "changed after results: judged as it was; the present text gives REPRODUCED; "
    )
    assert not of(found, "speed.high").changed
    assert exit_code(found.verdicts) is ExitCode.OUTSIDE


def test_results_made_again_are_judged_by_the_present_text() -> None:
    assert of(checked([WIDE], [made_with(WIDE)], [TIGHT], [WIDE])).kind is K.REPRODUCED


def test_one_run_of_the_earlier_text_is_enough() -> None:
    runs = [
        made_with(WIDE, seed=1, started_at="2026-02-01"),
        made_with(TIGHT, started_at="2026-01-01"),
    ]
    assert of(checked([WIDE], runs, [TIGHT], [WIDE])).kind is K.OUTSIDE


def test_what_is_written_after_results_judges_none() -> None:
    found = of(checked([WIDE, OTHER], [made_with(OTHER)], [OTHER]))
    assert (found.kind, found.changed) == (K.REPORTED, True)
    assert found.detail.startswith("written after results: judges none of them until they are made")


def test_what_is_removed_still_judges() -> None:
    found = checked([OTHER], [made_with(TIGHT, OTHER)], [TIGHT, OTHER])
    assert [each.id for each in found.ledger.expectations] == ["speed.high", "loss.low"]
    assert (of(found).kind, of(found).detail.split(";")[0]) == (K.OUTSIDE, "removed after results")


def test_a_text_that_is_lost_judges_nothing() -> None:
    found = of(checked([WIDE, OTHER], [made_with(TIGHT, OTHER)]))
    assert (found.kind, found.changed) == (K.REPORTED, True)
    assert "the earlier text is lost" in found.detail


@pytest.mark.parametrize(
    "runs",
    [
        [made_with()],  # of a harness that kept no fingerprints
        [made_with(TIGHT, profile=Profile.CPU)],
        [replace(made_with(TIGHT), measurements=(row("speed", 2.0),))],  # judged by another entry
    ],
)
def test_runs_that_an_entry_does_not_judge_freeze_nothing(runs: list[FinishedRun]) -> None:
    assert not of(checked([WIDE], runs, [TIGHT])).changed


def test_prose_is_free_and_everything_else_is_not() -> None:
    def print_of(**facts: Any) -> str:
        return fingerprints(ledger({**TIGHT, **facts}))["loss.low"]

    same: list[dict[str, Any]] = [
        {"note": "a note"},
        {"source": "page 2"},
        {"reason": "why"},
        {"claimed": 3.0},
    ]
    assert {print_of(**facts) for facts in same} == {print_of()}
    other: list[dict[str, Any]] = [
        {"expect": {"high": 1.1}},
        {"binds": {"profile": ["spark"]}},
        {"where": {"step": 3}},
        {"metric": "loss.first"},
        {"class": "reported"},
    ]
    assert len({print_of(), *(print_of(**facts) for facts in other)}) == 1 + len(other)


def test_a_store_keeps_the_ledgers_of_its_runs(tmp_path: Path) -> None:
    store, other = RunStore(tmp_path / "one"), RunStore(tmp_path / "other")
    for entries in ([TIGHT, OTHER], [WIDE, OTHER], [TIGHT, OTHER]):
        store.keep_ledger(ledger(*entries))
    assert len([*(tmp_path / "one" / "a00-test" / "ledgers").iterdir()]) == 2
    found = made_with(TIGHT, OTHER)
    assert store.ledger(found.spec) == ledger(TIGHT, OTHER)
    assert other.ledger(found.spec) is None
    kept = store.ledger_file(found.spec)
    assert kept is not None
    assert kept.parent == tmp_path / "one" / "a00-test" / "ledgers"
    assert other.ledger_file(found.spec) is None
    assert store.ledger(made_with().spec) is None
