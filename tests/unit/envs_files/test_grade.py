from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.workloads.envs.files.grade import Grade, Result, binary_reward, grade, shaped_reward
from harness.workloads.envs.files.task import AssertionKind
from tests.unit.envs_files.conftest import Make

SEED = {"docs/guide.md": b"# Guide\nold text\n", "images/diag.png": bytes(16)}
GUIDE = "docs/guide.md"


def contain(*texts: str, path: str = GUIDE) -> dict[str, Any]:
    return {"kind": "file_contents_contain", "path": path, "must_contain": list(texts)}


def match(regex: str, path: str = GUIDE) -> dict[str, Any]:
    return {"kind": "file_contents_match_regex", "path": path, "regex": regex}


def simple(kind: str, path: str) -> dict[str, Any]:
    return {"kind": kind, "path": path}


# assertion, what the workspace holds beside the seed (None: taken away), whether it holds
TABLE: list[tuple[dict[str, Any], dict[str, bytes | None], bool]] = [
    (simple("file_exists", GUIDE), {}, True),
    (simple("file_exists", "docs"), {}, True),
    (simple("file_exists", "docs/"), {}, True),
    (simple("file_exists", "doc"), {}, False),
    (simple("file_exists", "new"), {"new/": b""}, True),
    (simple("file_not_exists", GUIDE), {}, False),
    (simple("file_not_exists", "docs"), {}, False),
    (simple("file_not_exists", "docs"), {GUIDE: None}, True),
    (contain("Guide", "old"), {}, True),
    (contain("Guide", "new"), {}, False),
    (contain("x", path="docs"), {}, False),
    (contain("x", path="nothing"), {}, False),
    (contain("a\nb", path="n"), {"n": b"a\r\nb"}, True),
    (contain("a\nb", path="n"), {"n": b"a\rb"}, True),
    (contain("\ufffd", path="n"), {"n": b"\xff"}, True),
    (match("old.*"), {}, True),
    (match("^old"), {}, False),
    (match("(?m)^old"), {}, True),
    (match("OLD"), {}, False),
    (match("x", path="images/diag.png"), {}, False),
    (simple("file_unchanged", GUIDE), {}, True),
    (simple("file_unchanged", GUIDE), {GUIDE: b"# Guide\r\nold text\r\n"}, True),
    (simple("file_unchanged", GUIDE), {GUIDE: b"# Guide\n"}, False),
    (simple("file_unchanged", GUIDE), {GUIDE: None}, False),
    (simple("file_unchanged", "images/diag.png"), {"images/diag.png": b"changed"}, True),
    (simple("file_unchanged", "images/diag.png"), {"images/diag.png": None}, True),
]


@pytest.mark.parametrize(("assertion", "changes", "holds"), TABLE)
def test_the_published_table_of_the_grader(
    make: Make, assertion: dict[str, Any], changes: dict[str, bytes | None], *, holds: bool
) -> None:
    end = {path: content for path, content in {**SEED, **changes}.items() if content is not None}
    graded = grade(make(assertion), end)
    assert graded.passed is holds
    assert bool(graded.results[0].detail) is not holds


def test_a_directory_is_graded_as_its_workspace(make: Make, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / GUIDE).write_bytes(SEED[GUIDE])
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "docs" / "link").symlink_to("/etc/hostname")
    task = make(simple("file_unchanged", GUIDE), simple("file_exists", "docs/link"))
    assert [result.passed for result in grade(task, tmp_path).results] == [True, False]


def graded(passed: int, total: int) -> Grade:
    kind = AssertionKind.EXISTS
    results = [Result(kind=kind, path=str(n), passed=n < passed) for n in range(total)]
    return Grade(task_id="synth-x-00", results=tuple(results))


@pytest.mark.parametrize(
    ("passed", "total", "turns", "reward"),
    [
        (5, 5, 1, 0.9833),
        (5, 5, 2, 0.9667),
        (5, 5, 4, 0.9333),
        (5, 5, 5, 0.9167),
        (5, 5, 12, 0.8),
        (6, 6, 6, 0.9),
        (3, 5, 12, 0.4),
        (1, 4, 12, 0.05),
        (3, 4, 7, 0.6333),
        (3, 4, 12, 0.55),
        (0, 3, 12, -0.2),
        (0, 5, 1, -0.0167),
        (0, 0, 3, 0.0),
        (5, 5, 40, 0.8),
    ],
)
def test_the_published_table_of_rewards(passed: int, total: int, turns: int, reward: float) -> None:
    assert shaped_reward(graded(passed, total), turns) == pytest.approx(reward, abs=5e-5)


def test_the_binary_reward_is_all_or_nothing() -> None:
    assert binary_reward(graded(3, 3)) == 1.0
    assert binary_reward(graded(2, 3)) == 0.0
