"""Figures that should vary and do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.check.variation import identical_replicates, unvarying
from harness.check.verdicts import exit_code
from harness.errors import ExitCode
from harness.records import FinishedRun, VerdictKind

from .builders import METRICS, entry, row, run, verdict, verdicts


def _trained(seed: int, losses: tuple[float, ...] = (4.25, 3.5, 3.125, 2.0625)) -> FinishedRun:
    steps = [row("loss", loss, where={"step": step}) for step, loss in enumerate(losses)]
    return run(*steps, row("speed", 100.5 + seed), seed=seed)


def test_replicates_that_are_all_one_cannot_be_used() -> None:
    runs = [_trained(seed) for seed in range(3)]  # only their speed, which is the clock's, differs
    asked = entry("bound", "loss", {"high": 5.0}, where={"step": 3})
    found = verdict(asked, runs)
    assert found.kind is VerdictKind.RUN_FAILED
    assert found.detail == "seeds 0 and 2 gave the same figures: the seed reaches nothing"
    assert exit_code([found]) is ExitCode.INFRASTRUCTURE
    assert unvarying(runs, METRICS)[0] == (
        "seeds 0 and 1 gave the same figures: the seed reaches nothing"
    )


def test_two_of_three_replicates_are_enough() -> None:
    runs = [_trained(0), _trained(1, (4.25, 3.5, 3.25, 2.125)), _trained(2)]
    ((one, other),) = identical_replicates(runs, METRICS)
    assert (one.spec.seed, other.spec.seed) == (0, 2)


@pytest.mark.parametrize(
    "runs",
    [
        [_trained(0), _trained(1, (4.25, 3.5, 3.125, 2.125))],  # one figure differs
        [_trained(0), replace(_trained(0))],  # the same seed
        [run(row("turns", 4.0), seed=seed) for seed in (0, 1)],  # whole numbers
        [run(row("loss", 2.5), row("loss.first", 3.5), seed=seed) for seed in (0, 1)],  # too few
        [run(*(row("speed", 0.5, where={"step": i}) for i in range(9)), seed=s) for s in (0, 1)],
    ],
)
def test_what_may_agree_by_chance_is_no_sign(runs: list[FinishedRun]) -> None:
    assert not identical_replicates(runs, METRICS)


def test_other_entries_of_a_ledger_are_judged_all_the_same() -> None:
    other = [run(row("loss", 0.5), params={"size": 1})]
    twins = [
        run(*(row("loss", 0.5, where={"step": i}) for i in range(3)), params={"size": 2}, seed=seed)
        for seed in (0, 1)
    ]
    asked = [
        entry("bound", "loss", {"high": 1.0}, id=f"size.{size}", where={"size": size, **more})
        for size, more in ((1, {}), (2, {"step": 1}))
    ]
    kinds = [each.kind for each in verdicts(asked, [*other, *twins])]
    assert kinds == [VerdictKind.REPRODUCED, VerdictKind.RUN_FAILED]


def test_variants_that_come_to_the_same_are_named() -> None:
    losses = {"grpo": (1.5, 2.5, 3.5), "cap": (1.5, 2.5, 3.5), "full": (1.5, 2.5, 3.25)}
    found = run(
        *(
            row("loss", loss, where={"variant": name, "step": step})
            for name, some in losses.items()
            for step, loss in enumerate(some)
        )
    )
    assert unvarying([found], METRICS) == ("variant grpo and cap have the same 3 figures",)


def test_a_series_that_never_moves_is_named() -> None:
    still = [row("loss", 2.5, where={"step": step}) for step in range(4)]
    counts = [row("turns", 4.0, where={"step": step}) for step in range(4)]
    assert unvarying([run(*still, *counts)], METRICS) == ("loss is the same at every step: 2.5",)
    assert not unvarying([run(*still[:3])], METRICS)
