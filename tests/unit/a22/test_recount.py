"""Counting a trajectory again: decisions, tables, repetition, sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from harness.experiments.a22 import recount
from harness.workloads.autoresearch.loop_state import decide
from harness.workloads.autoresearch.trajectory import Decision, Trajectory
from harness.workloads.models.shape import num_parameters

if TYPE_CHECKING:
    from tests.unit.autoresearch.conftest import Lines

Trials = Callable[..., Trajectory]


@pytest.mark.parametrize(
    ("value", "decision"),
    [
        (9.9, Decision.KEEP),
        (9.951, Decision.REVERT),
        (10.0, Decision.REVERT),
        (11.0, Decision.REVERT),
    ],
)
def test_a_half_percent_lower_is_kept(value: float, decision: Decision) -> None:
    assert decide(10.0, value, 0.005) is decision


def test_the_threshold_itself_is_kept() -> None:
    assert decide(1.0, 0.5, 0.5) is Decision.KEEP


def test_decisions_are_recomputed_not_believed(lines: Lines) -> None:
    trajectory = lines.read(
        lines.evaluated(1, "n_head=8", 9.9, decision="revert"),
        lines.evaluated(2, "n_head=4", 9.99),
        lines.evaluated(3, "n_head=4", 9.8, improvement_frac=0.0201),
    )
    assert [each.iteration for each in recount.kept(trajectory)] == [1, 3]
    assert recount.wrong_decisions(trajectory) == (1,)
    assert recount.wrong_improvements(trajectory) == (3,)


def test_a_summary_is_checked_field_by_field(lines: Lines) -> None:
    evaluated = lines.evaluated(1, "n_head=8", 9.9)
    assert recount.wrong_summary(lines.read(evaluated, lines.loop_complete(1, 0, 9.9))) == ()
    wrong = recount.wrong_summary(lines.read(evaluated, lines.loop_complete(0, 1, 9.8)))
    assert wrong == ("accept_count", "revert_count", "best_val_bpb")
    assert recount.wrong_summary(lines.read(evaluated)) == ()


def test_a_tie_is_no_new_best(trials: Trials) -> None:
    trajectory = trials(("n_head=8", 10.2), ("n_head=4", 9.9), ("n_head=8", 9.9), ("lr=0.1", 9.8))
    assert [each.iteration for each in recount.new_bests(trajectory.evaluated)] == [1, 2, 4]


def test_rows_collect_the_trials_of_a_value_and_of_a_knob(trials: Trials) -> None:
    trajectory = trials(("d_ff=1", 9.9), ("n_head=8", 9.9), ("n_head=4", 10.1), ("n_head=8", 10.1))
    values = recount.by_value(trajectory)
    assert list(values) == ["n_head=8", "d_ff=1", "n_head=4"]  # most tried first
    eight = values["n_head=8"]
    assert (eight.iterations, eight.accepted) == ((2, 4), (2,))
    assert eight.val_bpb.std == pytest.approx(0.2 / math.sqrt(2))
    assert eight.improvements.mean == pytest.approx(0.0, abs=1e-12)
    assert values["d_ff=1"].val_bpb.std is None
    heads = recount.by_knob(trajectory)["n_head"]
    assert (heads.iterations, heads.distinct_values) == ((2, 3, 4), 2)


def test_repeats_are_counted_in_total_and_per_window() -> None:
    pairs = ["a", "b", "a", "a", "c", "b"]
    flags = recount.repeats(pairs)
    assert flags == (False, False, True, True, False, True)
    assert list(recount.window_rates(flags, 4)) == [(1, 0.5), (5, 0.5)]
    assert recount.repeats_in_view(pairs, 2) == 2  # the last b is four lines up
    assert recount.repeats_in_view(pairs, 5) == 3


def test_only_a_reverted_pair_counts_as_forgotten(trials: Trials) -> None:
    kept_then_reverted = trials(("d_ff=1", 9.9), ("d_ff=1", 10.1), ("d_ff=1", 9.9))
    assert recount.repeats_of_reverted(kept_then_reverted) == 1


def test_blocked_proposals_and_server_errors_propose_nothing(lines: Lines) -> None:
    trajectory = lines.read(
        lines.evaluated(1, "n_head=8", 9.9),
        lines.blocked(2, {"knob": "n_head"}),
        lines.nim_error(3),
        lines.eval_failed(4),
    )
    assert recount.proposed_pairs(trajectory) == ("n_head=8", "d_model=2048")


@pytest.mark.parametrize(
    ("labels", "bits"),
    [([], 0.0), (["a"] * 4, 0.0), (["a", "b"], 1.0), (["a", "b", "c", "c"], 1.5)],
)
def test_entropy(labels: list[str], bits: float) -> None:
    assert recount.entropy_bits(labels) == pytest.approx(bits)


@pytest.mark.parametrize(
    ("change", "parameters"),
    [
        ("d_model=1024", 354_601_984),
        ("d_model=768", 247_077_120),
        ("d_model=1536", 607_400_448),
        ("d_model=2048", 910_530_560),
        ("d_model=256", 69_776_128),
        ("d_ff=6144", 455_265_280),
        ("d_ff=8192", 555_928_576),
    ],
)
def test_parameter_count_of_every_size_tried(trials: Trials, change: str, parameters: int) -> None:
    assert num_parameters(trials((change, 9.9)).evaluated[0].candidate_cfg.shape) == parameters


def test_a_recorded_size_that_the_formula_contradicts_is_named(trials: Trials) -> None:
    trajectory = trials(("n_head=8", 9.9), ("d_model=768", 9.9))  # both record 354.6 M
    assert recount.wrong_parameter_counts(trajectory) == (2,)


def test_time_and_throughput(trials: Trials) -> None:
    only = trials(("n_head=8", 9.9)).evaluated[0]
    assert recount.tokens_per_step(only.candidate_cfg) == 16_384
    assert recount.throughput_token_s(only.candidate_cfg, 500.0) == 32_768.0
    assert recount.overhead_s(only) == -1.5  # 60 - 1 - 60 - 0.5: rounded parts may exceed the whole
