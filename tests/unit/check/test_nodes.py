"""A node of a cluster is a block: times are compared within one."""

from __future__ import annotations

import pytest

from harness.check import rows
from harness.records import FinishedRun, VerdictKind
from tests.unit.check.builders import entry, row, run, verdict


@pytest.fixture(autouse=True)
def _speed_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "clocked", lambda _: frozenset({"speed"}))


def done(node: str, batch: int, value: float, seed: int = 0) -> FinishedRun:
    figures = (row("speed", value), row("loss", value))
    return run(*figures, params={"batch": batch}, seed=seed, node=node)


def faster(metric: str) -> dict[str, object]:
    """More at a batch of 2 than at 1."""
    to = {"metric": metric, "where": {"batch": 1}}
    return entry("ratio", metric, {"to": to, "low": 1.5, "high": 2.5}, where={"batch": 2}, unit="x")


def test_times_of_one_replicate_on_two_nodes_are_not_compared() -> None:
    found = verdict(faster("speed"), [done("a", 1, 1.0), done("b", 2, 2.0)])
    assert found.kind is VerdictKind.INCONCLUSIVE
    assert "speed was taken on node b at batch=2, on a at batch=1" in found.detail
    assert "--replicates 2" in found.detail


def test_figures_without_a_clock_are_compared_across_nodes() -> None:
    found = verdict(faster("loss"), [done("a", 1, 1.0), done("b", 2, 2.0)])
    assert found.kind is VerdictKind.REPRODUCED


def test_a_node_a_replicate_is_compared() -> None:
    runs = [
        *(done("a", 1, 1.0), done("a", 2, 2.0)),
        *(done("b", 1, 1.5, seed=1), done("b", 2, 3.0, seed=1)),
    ]
    assert verdict(faster("speed"), runs).kind is VerdictKind.REPRODUCED


def test_a_run_of_the_machine_itself_and_one_of_a_node_are_not_compared() -> None:
    found = verdict(faster("speed"), [done("", 1, 1.0), done("b", 2, 2.0)])
    assert found.kind is VerdictKind.INCONCLUSIVE
    assert "on none at batch=1" in found.detail
