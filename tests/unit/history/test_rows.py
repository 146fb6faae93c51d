import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.history.pairs import Outcome
from harness.history.rows import (
    Accepted,
    Renamed,
    append_rows,
    path_of,
    profiles_of,
    read_rows,
)
from harness.records import Profile
from tests.unit.history.builders import finding, night

ROOT = Path(__file__).resolve().parents[3]


def test_what_is_added_is_read_again(tmp_path: Path) -> None:
    path = path_of(tmp_path, "a99-example", Profile.SPARK)
    accepted = Accepted(id="a", time="2026-03-03T00:00:00+00:00", finding="f", why="meant")
    renamed = Renamed(id="r", time="2026-03-03T00:00:00+00:00", old="x", new="y", why="clearer")
    nights = (night(0, 100.0), night(1, 101.0))
    append_rows(path, [nights[1]])
    append_rows(path, [nights[0], finding(1, Outcome.REGRESSED), accepted, renamed])
    rows = read_rows(path)
    assert rows.nights == nights
    assert rows.findings == (finding(1, Outcome.REGRESSED),)
    assert (rows.accepted, rows.renamed) == ((accepted,), (renamed,))
    assert not rows.problems
    assert profiles_of(tmp_path, "a99-example") == [Profile.SPARK]
    assert read_rows(tmp_path / "none").nights == ()


def test_damaged_rows_are_named_and_the_others_used(tmp_path: Path) -> None:
    path = tmp_path / "spark.jsonl"
    append_rows(path, [night(0, 100.0)])
    good = path.read_text(encoding="utf-8")
    wrong = json.loads(good)
    wrong["id"] = "other"
    wrong["seed"] = "zero"
    lines = [
        *("<<<<<<< HEAD", good.strip(), "=======", ">>>>>>> theirs"),
        *(good[:40], "[]", '{"kind":"holiday"}', json.dumps(wrong), "\x00\x00"),
        good.strip().replace("100.0", "90.0"),
    ]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    rows = read_rows(path)
    assert rows.nights == (night(0, 100.0),)
    assert [each.line for each in rows.problems] == [1, 3, 4, 5, 6, 7, 8, 9, 10]
    told = "\n".join(map(str, rows.problems))
    for part in ("keep the rows of both sides", "kind is none of", "seed", "contradicts"):
        assert part in told


def test_a_row_is_not_swallowed_by_what_a_killed_writer_left(tmp_path: Path) -> None:
    path = tmp_path / "spark.jsonl"
    append_rows(path, [night(0, 100.0)])
    with path.open("a", encoding="utf-8") as file:
        file.write('{"kind":"night","id":"ha')
    append_rows(path, [night(1, 101.0)])
    rows = read_rows(path)
    assert rows.nights == (night(0, 100.0), night(1, 101.0))
    assert [each.line for each in rows.problems] == [2]


def test_a_night_whose_clock_is_wrong_stays_where_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "spark.jsonl"
    jumped = night(1, 101.0, time="2019-01-01T00:00:00+00:00")
    ahead = night(2, 102.0, time="2031-01-01T00:00:00+00:00")
    warned = night(3, 103.0, time="2026-01-01T00:00:00+00:00", clock="it was set back")
    append_rows(path, [night(0, 100.0), jumped, ahead, warned, night(4, 104.0)])
    rows = read_rows(path, today=datetime(2026, 4, 1, tzinfo=UTC))
    assert [each.id for each in rows.nights] == [f"night-{at}" for at in range(5)]
    assert [bool(each.clock) for each in rows.nights] == [False, True, True, True, False]


def test_git_merges_what_two_machines_added(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=x", "-c", "user.email=x@x.example")
        command = ("git", "-C", str(tmp_path), *identity, *arguments)
        subprocess.run(command, check=True, capture_output=True)

    path = path_of(tmp_path / "results" / "history", "a99-example", Profile.SPARK)
    (tmp_path / ".gitattributes").write_bytes((ROOT / ".gitattributes").read_bytes())
    append_rows(path, [night(0, 100.0)])
    git("init", "--quiet", "--initial-branch=one")
    git("add", "--all")
    git("commit", "--quiet", "--message=begin")
    git("branch", "two")
    append_rows(path, [night(1, 101.0), night(3, 103.0)])
    git("commit", "--quiet", "--all", "--message=one")
    git("checkout", "--quiet", "two")
    append_rows(path, [night(2, 102.0), night(3, 103.0)])
    git("commit", "--quiet", "--all", "--message=two")
    git("merge", "--quiet", "one", "--message=both")
    rows = read_rows(path)
    assert [each.id for each in rows.nights] == [f"night-{at}" for at in range(4)]
    assert not rows.problems


def test_a_folder_is_no_history(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_rows(tmp_path)
