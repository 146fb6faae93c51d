"""The law of a mean difference: each pair of one run, an interval over the replicates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from scipy import stats

from harness.check.laws import LAWS
from harness.records import FinishedRun, Verdict, VerdictKind
from harness.workloads.api.declare import build

from .builders import entry, row, run, verdict

WITH, WITHOUT = [1.0, 1.4, 1.1, 1.3, 1.2], [3.0, 3.6, 3.2, 3.3, 3.1]


def _runs(one: Sequence[float], other: Sequence[float]) -> list[FinishedRun]:
    return [
        run(
            row("loss", with_it, where={"replay": 0.25}),
            row("loss", without, where={"replay": 0.0}),
            seed=seed,
        )
        for seed, (with_it, without) in enumerate(zip(one, other, strict=True))
    ]


def _law(runs: list[FinishedRun], **params: Any) -> Verdict:
    asked = {"law": "paired_mean", "params": {"cell": {"replay": 0.0}, **params}}
    return verdict(entry("law", "loss", asked, where={"replay": 0.25}), runs)


def test_the_interval_is_that_of_a_paired_t_test() -> None:
    found = _law(_runs(WITH, WITHOUT), high=0.0)
    assert found.kind is VerdictKind.REPRODUCED
    reach = stats.ttest_rel(WITH, WITHOUT).confidence_interval(0.95)
    assert found.measured == f"-2.04 nat (95 % {reach.low:.5f} .. {reach.high:.5f} nat, 5 pairs)"
    assert found.detail.startswith("against replay=0.0, pair by pair; margin 1.898")


@pytest.mark.parametrize(
    ("ends", "kind"),
    [
        ({"high": 0.0}, VerdictKind.REPRODUCED),
        ({"low": -2.5, "high": -1.5}, VerdictKind.REPRODUCED),
        ({"low": 0.0}, VerdictKind.OUTSIDE),
        ({"high": -3.0}, VerdictKind.OUTSIDE),
        ({"high": -2.0}, VerdictKind.INCONCLUSIVE),
        ({"low": -2.0, "high": 0.0}, VerdictKind.INCONCLUSIVE),
    ],
)
def test_an_interval_that_holds_an_end_tells_nothing(
    ends: dict[str, float], kind: VerdictKind
) -> None:
    assert _law(_runs(WITH, WITHOUT), **ends).kind is kind


def test_the_pairs_are_of_one_run() -> None:
    # apart by far, and together in every run: only pairing tells the difference
    one, other = [1.0, 5.0, 9.0, 13.0], [1.1, 5.2, 9.1, 13.2]
    assert _law(_runs(one, other), high=0.0).kind is VerdictKind.REPRODUCED


def test_two_pairs_are_too_few() -> None:
    found = _law(_runs(WITH[:2], WITHOUT[:2]), high=0.0)
    assert found.kind is VerdictKind.INCONCLUSIVE
    assert found.detail == "2 pairs; a mean and its spread need 3"


@pytest.mark.parametrize("params", [{"cell": {}, "low": 0.0}, {"cell": {"replay": 0.0}}])
def test_it_is_told_another_cell_and_an_end(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"cell is empty|give low, high or both"):
        build(LAWS["paired_mean"].params, params)
