"""What a run tells, and what is read of it, whatever a cut left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.follow.tail import Tail, last_lines
from harness.follow.told import Progress
from harness.variables import PROGRESS_VARIABLE
from harness.workloads.api import progress
from tests.unit.follow.conftest import BEGAN, line


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(each) for each in path.read_text(encoding="utf-8").splitlines()]


def test_without_a_file_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PROGRESS_VARIABLE, raising=False)
    progress.tell("train", 1, 2, {"loss": 1.0})
    progress.detail("rollouts", 1, 2)


def test_what_is_told_is_read(tmp_path: Path) -> None:
    path = tmp_path / progress.PROGRESS_FILE
    with progress.written_to(path):
        progress.tell("train", 1, 2, {"loss": 1.5, "ratio": float("nan")})
        progress.detail("rollouts", 3, 3, {"tokens_per_second": 7.0}, unit="rollout")
    told = Progress(tmp_path)
    assert told.update()
    assert not told.update()
    first, second = told.lines
    assert str(first.phase) == "train: step 1 of 2"
    assert first.values == {"loss": 1.5}, "what is not finite is left out"
    assert str(second.phase) == str(first.phase)
    assert str(second.detail) == "rollouts: rollout 3 of 3"
    assert told.values() == {"loss": 1.5, "tokens_per_second": 7.0}


def test_a_fast_phase_writes_few_lines_and_its_last_one(tmp_path: Path) -> None:
    path = tmp_path / progress.PROGRESS_FILE
    with progress.written_to(path):
        for step in range(10_001):
            progress.tell("count", step, 10_000)
    lines = read(path)
    assert len(lines) < 1000
    assert (lines[0]["step"], lines[-1]["step"]) == (0, 10_000)


def test_tracked_yields_its_items_and_counts_them(tmp_path: Path) -> None:
    path = tmp_path / progress.PROGRESS_FILE
    with progress.written_to(path):
        assert list(progress.tracked("ab", "letters", 2, unit="letter")) == ["a", "b"]
    last = read(path)[-1]
    assert (last["step"], last["of"], last["unit"]) == (2, 2, "letter")


def test_a_full_disk_ends_no_run() -> None:
    with progress.written_to(Path("/dev/full")):
        progress.tell("train", 1, 2)
    with progress.written_to(Path("/no/such/folder/progress.jsonl")):
        progress.tell("other", 1, 2)


def test_a_child_tells_into_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / progress.PROGRESS_FILE
    program = "from harness.workloads.api import progress; progress.tell('search', 1, 5)"
    with progress.written_to(path):
        progress.tell("start")
        subprocess.run([sys.executable, "-c", program], check=True)
        progress.tell("end")
    assert [each["phase"] for each in read(path)] == ["start", "search", "end"]


@given(st.integers(min_value=0, max_value=400), st.integers(min_value=0, max_value=64))
def test_a_cut_anywhere_loses_the_torn_line_only(cut: int, nuls: int) -> None:
    import tempfile  # noqa: PLC0415 - hypothesis and fixtures do not go together

    lines = [line(at_s, "train", at_s, 9, loss=0.5) for at_s in range(4)]
    content = "".join(f"{each}\n" for each in lines).encode()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, progress.PROGRESS_FILE)
        path.write_bytes(content[:cut] + b"\0" * nuls)
        told = Progress(Path(place), BEGAN)
        told.update()
        assert len(told.lines) == content[:cut].count(b"\n")
        whole = content[: content.rfind(b"\n", 0, cut) + 1]
        path.write_bytes(whole + b"\0" * nuls + content[len(whole) :])
        again = Progress(Path(place), BEGAN)
        again.update()
        assert [each.phase.step for each in again.lines] == [0, 1, 2, 3]


@given(st.binary(max_size=300))
def test_whatever_stands_in_the_file_nothing_breaks(content: bytes) -> None:
    import tempfile  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as place:
        Path(place, progress.PROGRESS_FILE).write_bytes(content + b"\n")
        told = Progress(Path(place))
        told.update()
        told.values()
        told.pace_s()


@pytest.mark.parametrize(
    "damaged",
    ["", "null", "[]", "{}", '{"at": "x", "phase": "y"}', '{"at": NaN, "phase": "y"}', '{"at": 1}'],
)
def test_a_damaged_line_is_skipped(tmp_path: Path, damaged: str) -> None:
    content = f"{line(0, 'one')}\n{damaged}\n{line(1, 'two')}\n"
    (tmp_path / progress.PROGRESS_FILE).write_text(content, encoding="utf-8")
    told = Progress(tmp_path)
    told.update()
    assert [each.phase.what for each in told.lines] == ["one", "two"]


def test_a_clock_that_jumps_back_adds_no_time(tmp_path: Path) -> None:
    content = "\n".join([line(10, "a", 1, 9), line(20, "a", 2, 9), line(-5000, "a", 3, 9), ""])
    (tmp_path / progress.PROGRESS_FILE).write_text(content, encoding="utf-8")
    told = Progress(tmp_path, BEGAN)
    told.update()
    assert [each.at_s for each in told.lines] == [10.0, 20.0, 20.0]


def test_the_pace_counts_what_is_done_between_steps(tmp_path: Path) -> None:
    lines = [
        line(0, "train", 0, 9),
        line(10, "train", 1, 9),
        line(12, "evaluate"),
        line(30, "train", 2, 9),
        line(33, "train", 2, 9, detail={"what": "rollouts", "step": 4, "of": 8}),
    ]
    (tmp_path / progress.PROGRESS_FILE).write_text("\n".join([*lines, ""]), encoding="utf-8")
    told = Progress(tmp_path, BEGAN)
    told.update()
    assert told.pace_s() == 15.0
    assert told.reached_s() == 30.0


def test_a_file_that_was_begun_again_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("a\nb\nto", encoding="utf-8")
    tail = Tail(path)
    assert list(tail.new()) == ["a", "b"]
    path.write_text("c\n", encoding="utf-8")
    assert list(tail.new()) == ["c"]
    path.unlink()
    assert list(tail.new()) == []


def test_the_last_lines_of_a_log_skip_empty_ones(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"one\n\ntwo\r\n\0\0\nthree")
    assert last_lines(tmp_path / "log", 2) == ["two", "three"]
    assert last_lines(tmp_path / "absent", 2) == []
