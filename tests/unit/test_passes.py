"""Passes: a run makes all of them; a rehearsal two of each loop, and says where it was."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.execution.forecast import read_passes
from harness.records import Rehearsal
from harness.variables import REHEARSAL_VARIABLE
from harness.workloads.api import passes as module
from harness.workloads.api.passes import PassLine, part, passes, portion, rehearsed, uncut

TWO = Rehearsal(passes=2)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LEAST_S", 0.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "passes.jsonl"


def paths(file: Path) -> list[str]:
    return [line.path for line in read_passes(file)]


def test_a_run_makes_every_pass_and_writes_nothing(file: Path) -> None:
    assert [*passes(range(5), "steps")] == [0, 1, 2, 3, 4]
    assert [*passes(range(5), "steps", with_last=True)] == [0, 1, 2, 3, 4]
    assert portion("abcdef", 2) == "abcdef"
    with part("evaluations", 3) as said:
        assert said.is_new
    assert not file.exists()


def test_a_rehearsal_makes_two_of_each_loop(file: Path) -> None:
    with rehearsed(TWO, file):
        for _ in passes(range(9), "outer"):
            assert [*passes(iter("abc"), "inner", 3)] == ["a", "b"]
    assert paths(file) == [
        *("outer~0#0/inner~0#0", "outer~0#0/inner~0#1", "outer~0#0"),
        *("outer~0#1/inner~0#0", "outer~0#1/inner~0#1", "outer~0#1"),
    ]
    assert {line.of for line in read_passes(file)} == {9, 3}


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_the_last_one_is_made_where_something_is_done_only_then(file: Path, count: int) -> None:
    with rehearsed(TWO, file):
        made = [*passes(range(count), "steps", with_last=True)]
    assert made == ([0, count - 1] if count > 1 else [0])


def test_a_loop_that_comes_again_is_another_one(file: Path) -> None:
    with rehearsed(TWO, file):
        for _ in range(2):
            assert len([*passes(range(2), "steps")]) == 2
    assert paths(file) == ["steps~0#0", "steps~0#1", "steps~1#0", "steps~1#1"]


def test_what_follows_may_need_all_of_them(file: Path) -> None:
    with rehearsed(TWO, file), uncut():
        assert [*passes(range(4), "rows")] == [0, 1, 2, 3]
        assert portion("abc", 1) == "abc"
    assert len(paths(file)) == 4


def test_a_loop_that_its_caller_leaves_has_ended_its_pass(file: Path) -> None:
    with rehearsed(TWO, file):
        for _ in passes(range(4), "steps"):
            break
        assert [*passes(range(2), "later")] == [0, 1]
    assert paths(file) == ["steps~0#0", "later~0#0", "later~0#1"]


def test_making_an_item_is_timed_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("harness.workloads.api.passes.time.monotonic", lambda: clock[0])

    def steps() -> Iterator[int]:
        for number in range(3):
            clock[0] += 10.0
            yield number

    with rehearsed(TWO, file):
        for _ in passes(steps(), "steps", 3):
            clock[0] += 1.0
    assert [line.wall_s for line in read_passes(file)] == [11.0, 11.0]


def test_a_portion_is_of_all_parts(file: Path) -> None:
    with rehearsed(TWO, file):
        assert [*portion(range(12), 4)] == [0, 3, 6, 9]
        assert [*portion(range(3), 1)] == [0, 1]
        assert [*portion(range(3), 9)] == [0, 1, 2]
        with part("rollouts", 12, done=4) as said:
            said.more_s = 8.0
    (line,) = read_passes(file)
    assert (line.of, line.done, line.more_s) == (12, 4, 8.0)


def test_a_process_that_is_started_goes_on_where_it_was_started(file: Path) -> None:
    program = (
        "from harness.workloads.api import passes as m; m._LEAST_S = 0.0\n"
        "print(len([*m.passes(range(9), 'iterations')]))"
    )
    with rehearsed(TWO, file), part("search"):
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, check=True, capture_output=True, env=dict(os.environ))
    assert done.stdout == b"2\n"
    assert paths(file) == [
        "search~0#0/iterations~0#0",
        "search~0#0/iterations~0#1",
        "search~0#0",
    ]


def test_a_part_that_fails_is_no_part_that_has_ended(file: Path) -> None:
    with rehearsed(TWO, file), pytest.raises(ValueError, match="broken"), part("step"):
        raise ValueError("broken")  # noqa: EM101 - a test's
    assert read_passes(file) == []
    assert REHEARSAL_VARIABLE not in os.environ


def test_a_torn_last_line_is_left_out(file: Path) -> None:
    with rehearsed(TWO, file):
        assert len([*passes(range(2), "steps")]) == 2
    file.write_bytes(file.read_bytes()[:-9])
    assert [line.path for line in read_passes(file)] == ["steps~0#0"]
    assert isinstance(read_passes(file)[0], PassLine)
