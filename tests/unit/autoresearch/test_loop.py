"""The loop keeps by its rule, writes everything down, and goes on where it was cut off."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HostError, InputError
from harness.workloads.autoresearch.loop import RECORD_FILE, TRAJECTORY_FILE
from harness.workloads.autoresearch.proposers import HostileProposer, UniformProposer
from harness.workloads.autoresearch.search_space import SMALL
from harness.workloads.autoresearch.summary import (
    FinishedLoop,
    missing,
    read_finished,
    tally,
    wrong_decisions,
)
from harness.workloads.autoresearch.trajectory import (
    Decision,
    EvalFailed,
    EvalFailure,
    Stage,
    TrainConfig,
)
from harness.workloads.trials.trial import Label
from tests.unit.autoresearch.fakes import FakeEvaluator, Scripted, change, figure, run, session

BASE = SMALL.baseline


def finished(folder: Path, answers: list[str | None], **given: Any) -> FinishedLoop:
    decided = session(iterations=given.pop("iterations", len(answers)), **given)
    run(folder, decided, Scripted(answers), FakeEvaluator())
    return read_finished(folder)


def labels(loop: FinishedLoop) -> list[Label]:
    return [trial.status for trial in loop.history.trials]


def test_a_loop_evaluates_what_passes_and_writes_both_files(tmp_path: Path) -> None:
    run(tmp_path, session(), UniformProposer(space=SMALL, seed=0), FakeEvaluator())
    loop = read_finished(tmp_path)
    assert loop.trajectory.count(Stage.EVALUATED) == 12
    assert loop.trajectory.summary is not None
    assert loop.trajectory.summary.iters_requested == 12
    assert missing(loop, 12) == ()
    assert loop.damaged == 0
    assert [trial.exp_id for trial in loop.history.trials] == [f"{n:03}" for n in range(13)]


def test_a_fixed_baseline_keeps_from_the_threshold_on_and_never_moves(tmp_path: Path) -> None:
    keeping, not_enough, worse = (change("lr", lr) for lr in (6e-3, 3.5e-3, 1e-3))
    loop = finished(tmp_path, [keeping, not_enough, worse, keeping])
    decisions = [each.decision for each in loop.trajectory.evaluated]
    assert decisions == [Decision.KEEP, Decision.REVERT, Decision.REVERT, Decision.KEEP]
    assert {each.baseline_val_bpb for each in loop.trajectory.evaluated} == {figure(BASE, 0)}
    assert all(each.candidate_cfg.d_model == BASE.d_model for each in loop.trajectory.evaluated)
    assert {trial.parent_exp for trial in loop.history.trials} == {"", "000"}
    assert wrong_decisions(loop) == ()


def test_a_climb_builds_on_its_keeps_and_keeps_no_repeat(tmp_path: Path) -> None:
    answers = [change("lr", 5e-3), change("lr", 4e-3), change("d_model", 96), change("lr", 5e-3)]
    loop = finished(
        tmp_path,
        [*answers, change("lr", 9e-3), change("d_model", 64), change("lr", 9e-3)],
        hill_climb=True,
        min_improvement=0.0,
        reseed_candidates=False,
    )
    first, second = loop.trajectory.evaluated[:2]
    assert (first.decision, second.decision) == (Decision.KEEP, Decision.REVERT)
    third = loop.trajectory.evaluated[2]
    assert third.candidate_cfg == replace(BASE, lr=5e-3, d_model=96)
    assert third.baseline_val_bpb == first.val_bpb
    refused = {each.iteration for each in loop.trajectory.iterations} - {
        each.iteration for each in loop.trajectory.evaluated
    }
    assert 4 in refused  # lr is 5e-3 already: changing nothing is refused
    keeps = [trial for trial in loop.history.trials if trial.status is Label.KEEP]
    assert keeps[0].parent_exp == "000"
    assert all(later.parent_exp == before.exp_id for before, later in pairwise(keeps))
    assert tally(loop, 0.05).depth == len(keeps) + (labels(loop)[-1] is not Label.KEEP)


def test_every_kind_of_ending_is_counted_and_labelled(tmp_path: Path) -> None:
    def breaks(cfg: TrainConfig) -> EvalFailure | None:
        if cfg.d_model == 128:
            return EvalFailure(ok=False, oom=False, error="over", timed_out=True)
        return EvalFailure(ok=False, oom=True, error="no memory") if cfg.d_ff == 512 else None

    answers = [
        *(change("lr", 6e-3), change("d_model", 128), change("d_ff", 512), "prose", None),
        *(change("seed", 1), change("lr", 1e-3)),
    ]
    run(tmp_path, session(iterations=7), Scripted(answers), FakeEvaluator(breaks))
    loop = read_finished(tmp_path)
    assert [each.stage for each in loop.trajectory.iterations] == [
        *(Stage.EVALUATED, Stage.EVAL_FAILED, Stage.EVAL_FAILED, Stage.BLOCKED, Stage.NIM_ERROR),
        *(Stage.BLOCKED, Stage.EVALUATED),
    ]
    assert labels(loop) == [
        *(Label.BASELINE, Label.KEEP, Label.TRAIN_BUDGET_OVERRUN, Label.CRASH),
        *(Label.PREFLIGHT_CRASH, Label.HARNESS_ABORT, Label.PREFLIGHT_CRASH, Label.DISCARD),
    ]
    found = tally(loop, 0.05)
    assert (found.evaluated, found.failures, found.overruns) == (2, 2, 1)
    assert (found.refused, found.unanswered, found.accepted) == (2, 1, 1)


def test_no_hostile_answer_is_evaluated(tmp_path: Path) -> None:
    evaluator = FakeEvaluator()
    run(tmp_path, session(iterations=150), HostileProposer(SMALL), evaluator)
    loop = read_finished(tmp_path)
    assert loop.trajectory.count(Stage.BLOCKED) == 150
    assert {cfg for cfg, _, _ in evaluator.asked} == {BASE}  # the baseline and its noise
    assert labels(loop)[1:] == [Label.PREFLIGHT_CRASH] * 150


def test_published_rules_let_a_nan_as_far_as_a_failure(tmp_path: Path) -> None:
    loop = finished(tmp_path, [change("lr", float("nan"))], guardrails="published")
    (failed,) = loop.trajectory.iterations
    assert isinstance(failed, EvalFailed)
    assert failed.proposal.new_value == "nan"
    assert failed.candidate_cfg == BASE


def test_each_evaluation_has_its_own_weights_or_all_the_same(tmp_path: Path) -> None:
    seeds = {}
    for own in (True, False):
        evaluator = FakeEvaluator()
        decided = session(reseed_candidates=own, seed=2)
        run(tmp_path / str(own), decided, UniformProposer(space=SMALL, seed=2), evaluator)
        seeds[own] = [seed for _, seed, _ in evaluator.asked]
    assert len(set(seeds[True])) == len(seeds[True]) == 1 + 3 + 12
    assert seeds[True][:4] == seeds[False][:4]  # the baseline, and its noise from other weights
    assert set(seeds[False][4:]) == {seeds[False][0]}


def test_noise_that_was_measured_elsewhere_is_taken(tmp_path: Path) -> None:
    evaluator = FakeEvaluator()
    decided = replace(session(iterations=1), noise=(5.1, 5.2))
    run(tmp_path, decided, UniformProposer(space=SMALL, seed=0), evaluator)
    assert read_finished(tmp_path).header.noise_val_bpb == (5.1, 5.2)
    assert len(evaluator.asked) == 2


@pytest.mark.parametrize(
    ("budget", "wall_s", "most_flop"),
    [
        ({}, 30.0, None),
        ({"eval_flop_factor": 2.5}, 30.0, 250.0),
        ({"eval_timeout_factor": 2.5}, 0.175, None),
    ],
)
def test_a_budget_is_a_multiple_of_the_baseline(
    tmp_path: Path, budget: dict[str, float], wall_s: float, most_flop: float | None
) -> None:
    evaluator = FakeEvaluator()
    decided = session(iterations=1, timeout_s=30.0, **budget)
    run(tmp_path, decided, UniformProposer(space=SMALL, seed=0), evaluator)
    *baseline, (_, _, limit) = evaluator.asked
    assert {each.wall_s for _, _, each in baseline} == {30.0}
    assert limit.wall_s == pytest.approx(wall_s)
    assert limit.most_flop == most_flop


def test_a_baseline_without_a_figure_ends_the_loop_before_it_begins(tmp_path: Path) -> None:
    failure = EvalFailure(ok=False, oom=True, error="no memory")
    with pytest.raises(HostError, match="baseline cannot be evaluated: no memory"):
        run(tmp_path, session(), Scripted(["x"]), FakeEvaluator(lambda _: failure))
    assert (tmp_path / TRAJECTORY_FILE).read_bytes() == b""


# --- going on -------------------------------------------------------------------------------------


def comparable(folder: Path) -> list[dict[str, Any]]:
    """Return the records without what depends on the clock."""
    lines = (folder / TRAJECTORY_FILE).read_text().splitlines()
    clock = ("ts", "iter_wall_s", "nim_latency_s", "loop_wall_s", "loop_wall_min")
    return [
        {name: value for name, value in json.loads(line).items() if name not in clock}
        for line in lines
    ]


def test_a_loop_cut_off_anywhere_goes_on_and_comes_to_the_same(tmp_path: Path) -> None:
    decided = session(iterations=4, hill_climb=True, min_improvement=0.0)
    proposer = UniformProposer(space=SMALL, seed=0)
    run(tmp_path / "whole", decided, proposer, FakeEvaluator())
    trajectory = (tmp_path / "whole" / TRAJECTORY_FILE).read_bytes()
    rows = (tmp_path / "whole" / RECORD_FILE).read_bytes()
    baseline = (tmp_path / "whole" / "baseline_eval.json").read_bytes()
    for number, cut in enumerate(range(0, len(trajectory) + 1, 97)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / TRAJECTORY_FILE).write_bytes(trajectory[:cut])
        # the record is never ahead of the trajectory, but may lack its last rows
        done = max(trajectory[:cut].count(b"\n") - 1, 0)
        whole = rows.splitlines(keepends=True)
        (folder / RECORD_FILE).write_bytes(b"".join(whole[: done + 1]) + whole[-1][:7])
        (folder / "baseline_eval.json").write_bytes(baseline)
        run(folder, decided, proposer, FakeEvaluator())
        assert comparable(folder) == comparable(tmp_path / "whole")
        loop = read_finished(folder)
        assert missing(loop, 4) == ()
        assert len(loop.history.trials) == 5


def test_a_finished_loop_is_left_alone(tmp_path: Path) -> None:
    decided, evaluator = session(), FakeEvaluator()
    for _ in range(2):
        run(tmp_path, decided, UniformProposer(space=SMALL, seed=0), evaluator)
    assert len(evaluator.asked) == 1 + 3 + 12


def test_a_pause_is_no_iteration_and_skips_none(tmp_path: Path) -> None:
    decided = session(iterations=3)
    run(tmp_path, decided, UniformProposer(space=SMALL, seed=0), FakeEvaluator())
    path = tmp_path / TRAJECTORY_FILE
    before = path.read_bytes().splitlines(keepends=True)[:3]  # the header and two iterations
    paused = {"iter": 3, "ts": "2026-04-25 18:30:00", "stage": "paused", "reason": "flag"}
    paused |= {"completed_iters": 2, "requested_iters": 3}
    path.write_bytes(b"".join(before) + json.dumps(paused).encode() + b"\n")
    (tmp_path / RECORD_FILE).unlink()
    run(tmp_path, decided, UniformProposer(space=SMALL, seed=0), FakeEvaluator())
    loop = read_finished(tmp_path)
    assert [each.iteration for each in loop.trajectory.iterations] == [1, 2, 3]
    assert loop.trajectory.count(Stage.PAUSED) == 1


def test_a_loop_with_other_settings_does_not_go_on(tmp_path: Path) -> None:
    run(tmp_path, session(), UniformProposer(space=SMALL, seed=0), FakeEvaluator())
    with pytest.raises(InputError, match="other settings"):
        run(tmp_path, session(seed=1), UniformProposer(space=SMALL, seed=1), FakeEvaluator())


def test_a_damaged_line_is_named_and_nothing_goes_on(tmp_path: Path) -> None:
    decided = session()
    run(tmp_path, decided, UniformProposer(space=SMALL, seed=0), FakeEvaluator())
    path = tmp_path / TRAJECTORY_FILE
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = b'{"iter": 3, "stage": "evaluated"}\n'
    path.write_bytes(b"".join(lines[:6]))
    with pytest.raises(InputError, match=r"trajectory.jsonl:4"):
        run(tmp_path, decided, UniformProposer(space=SMALL, seed=0), FakeEvaluator())
