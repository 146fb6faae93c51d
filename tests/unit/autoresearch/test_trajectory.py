"""Reading a trajectory: every kind of record, and every kind of damage."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.errors import InputError, Problem
from harness.workloads.autoresearch.trajectory import (
    Blocked,
    Decision,
    EvalFailed,
    Evaluated,
    NimError,
    Paused,
    Stage,
    read_baseline,
    read_trajectory,
)

if TYPE_CHECKING:
    from .conftest import Lines


def problems_of(path: Path) -> tuple[Problem, ...]:
    with pytest.raises(InputError) as caught:
        read_trajectory(path)
    return caught.value.problems


def test_every_kind_of_record_is_read(lines: Lines) -> None:
    trajectory = lines.read(
        lines.evaluated(1, "n_head=8", 9.9),
        lines.blocked(2, ["not", "an", "object"]),
        lines.eval_failed(3),
        lines.nim_error(4),
        lines.paused(5),
        lines.evaluated(5, "lr=0.0002", 10.1),
        lines.loop_complete(1, 1, 9.9),
    )
    kinds = [type(record) for record in trajectory.records[:-1]]
    assert kinds == [Evaluated, Blocked, EvalFailed, NimError, Paused, Evaluated]
    assert [trajectory.count(stage) for stage in Stage] == [2, 1, 1, 1, 1, 1]
    assert [each.iteration for each in trajectory.iterations] == [1, 2, 3, 4, 5]
    assert [each.decision for each in trajectory.evaluated] == [Decision.KEEP, Decision.REVERT]
    assert trajectory.summary is not None
    assert trajectory.summary.accept_count == 1


def test_a_killed_loop_has_no_summary(lines: Lines) -> None:
    assert lines.read(lines.evaluated(1, "n_head=8", 9.9)).summary is None


def test_times_are_utc_and_an_iteration_starts_its_wall_before_its_end(lines: Lines) -> None:
    first = lines.read(lines.evaluated(1, "n_head=8", 9.9)).evaluated[0]
    assert first.ended_at_s == 1_777_140_060.0  # 2026-04-25 18:01:00 UTC
    assert first.started_at_s == first.ended_at_s - 60.0


@pytest.mark.parametrize("kept", [1, 30, -1])
def test_a_torn_last_line_is_kept_apart_and_never_counted(lines: Lines, kept: int) -> None:
    whole = lines.evaluated(2, "n_head=4", 9.8)
    path = lines.write(lines.header(), lines.evaluated(1, "n_head=8", 9.9), torn=whole[:kept])
    trajectory = read_trajectory(path)
    assert trajectory.torn == whole[:kept]
    assert len(trajectory.evaluated) == 1


def test_a_whole_file_has_nothing_torn(lines: Lines) -> None:
    assert lines.read(lines.evaluated(1, "n_head=8", 9.9)).torn == ""


def test_all_damaged_lines_are_named_at_once(lines: Lines) -> None:
    good = lines.evaluated(1, "n_head=8", 9.9)
    unknown_stage = good.replace('"evaluated"', '"evaluted"')
    path = lines.write(lines.header(), good, good[:50], "[]", unknown_stage)
    found = problems_of(path)
    assert [problem.line for problem in found] == [3, 4, 5]
    assert {problem.path for problem in found} == {path}
    assert "did you mean 'evaluated'?" in found[2].message


def test_fields_are_exactly_those_of_the_record(lines: Lines) -> None:
    document = json.loads(lines.evaluated(1, "n_head=8", 9.9))
    extra = json.dumps({**document, "mood": "good"})
    short = json.dumps({name: item for name, item in document.items() if name != "val_bpb"})
    wrong = json.dumps({**document, "iter": "1"})
    undated = json.dumps({**document, "ts": "yesterday"})
    found = problems_of(lines.write(lines.header(), extra, short, wrong, undated))
    assert [problem.line for problem in found] == [2, 3, 4, 5]
    for problem, word in zip(found, ("mood", "val_bpb", "iteration", "yesterday"), strict=True):
        assert word in problem.message


def test_a_figure_that_is_no_number_is_refused(lines: Lines) -> None:
    path = lines.write(lines.header(), lines.evaluated(1, "n_head=8", math.nan))
    assert "NaN is not a JSON number" in problems_of(path)[0].message


def test_an_iteration_given_twice_is_a_mistake(lines: Lines) -> None:
    path = lines.write(
        lines.header(), lines.evaluated(1, "n_head=8", 9.9), lines.paused(2), lines.nim_error(1)
    )
    (problem,) = problems_of(path)
    assert (problem.line, problem.message) == (4, "iteration 1 is already on line 2")


def test_a_file_must_begin_with_its_header(lines: Lines) -> None:
    (problem,) = problems_of(lines.write(lines.evaluated(1, "n_head=8", 9.9)))
    assert problem.line == 1


@pytest.mark.parametrize("torn", ["", '{"_meta": '])
def test_a_file_without_a_whole_line_is_refused(lines: Lines, torn: str) -> None:
    assert "no whole line" in problems_of(lines.write(torn=torn))[0].message


def test_a_damaged_baseline_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_text('{"baseline_cfg": 1}')
    with pytest.raises(InputError, match=r"baseline\.json"):
        read_baseline(path)
