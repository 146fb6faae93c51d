from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InputError
from harness.workloads.envs.files.task import compiled
from harness.workloads.envs.files.task_json import parse_task, read_tasks, to_document, write_tasks
from harness.workloads.envs.files.validate import task_problems
from tests.unit.envs_files.conftest import task_document


def files(*given: dict[str, Any]) -> dict[str, Any]:
    return {"workspace_seed": {"files": list(given)}}


def asserting(*given: dict[str, Any]) -> dict[str, Any]:
    return {"verifiable_assertions": list(given)}


GUIDE = {"path": "a.md", "kind": "text", "content": "x"}

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "id of another persona": ({"task_id": "synth-ml-engineer-00"}, "task_id: wrong id"),
    "id without number": ({"task_id": "synth-technical-writer-0"}, "task_id: wrong id"),
    "empty intent": ({"intent": " \n"}, "intent: is empty"),
    "half a letter": ({"intent": "\ud800"}, "intent: wrong type"),
    "unknown key": ({"skils_required": []}, "did you mean 'skills_required'"),
    "unknown skill": ({"skills_required": ["file.mvoe"]}, "did you mean 'file.move'"),
    "difficulty": ({"difficulty": "esay"}, "did you mean 'easy'"),
    "no steps": ({"estimated_steps": 0}, "estimated_steps: out of range"),
    "steps as text": ({"estimated_steps": "3"}, "estimated_steps: wrong type"),
    "true is no number": ({"estimated_steps": True}, "estimated_steps: wrong type"),
    "oracle": ({"oracle": ["ls", 3]}, "oracle[1]: wrong type"),
    "persona": ({"persona": {"role": "technical-writer"}}, "persona.context: is missing"),
    "no assertion": (asserting(), "wrong number of assertions"),
    "nine assertions": (
        asserting(*[{"kind": "file_exists", "path": str(n)} for n in range(9)]),
        "got 9; allowed: 1 to 8",
    ),
    "kind": (asserting({"kind": "file_exist", "path": "a"}), "did you mean 'file_exists'"),
    "no kind": (asserting({"path": "a"}), "verifiable_assertions[0].kind: unknown kind"),
    "not an object": (asserting("file_exists"), "unknown kind"),  # type: ignore[arg-type]
    "hill_climb out": (asserting({"kind": "file_exists", "path": "../x"}), "leaves the workspace"),
    "absolute": (asserting({"kind": "file_exists", "path": "/etc"}), "path is absolute"),
    "not seeded": (asserting({"kind": "file_unchanged", "path": "b"}), "is not in the seed"),
    "bad regex": (
        asserting({"kind": "file_contents_match_regex", "path": "a", "regex": "("}),
        "is no regular expression",
    ),
    "nothing to contain": (
        asserting({"kind": "file_contents_contain", "path": "a", "must_contain": []}),
        "asks for no text",
    ),
    "contains an empty text": (
        asserting({"kind": "file_contents_contain", "path": "a", "must_contain": [""]}),
        "asks for no text",
    ),
    "regex of another kind": (
        asserting({"kind": "file_exists", "path": "a", "regex": "x"}),
        "unknown key",
    ),
    "file twice": (files(GUIDE, GUIDE), "stands twice"),
    "file and directory": (
        files(GUIDE, {**GUIDE, "path": "a.md/b"}),
        "both a file and a directory",
    ),
    "directory as file": (files({**GUIDE, "path": "a/"}), "is a directory's path"),
    "negative size": (
        files({"path": "a", "kind": "binary-stub", "size_bytes": -1}),
        "size_bytes: out of range",
    ),
    "huge": (
        files({"path": "a", "kind": "binary-stub", "size_bytes": 1 << 40}),
        "workspace_seed.files: too large",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_named_with_its_key(name: str) -> None:
    changes, message = WRONG[name]
    found = [str(problem) for problem in task_problems(task_document(**changes))]
    assert any(message in problem for problem in found), found


def test_all_mistakes_come_at_once() -> None:
    wrong = task_document(intent="", difficulty="x", estimated_steps=-1, skills_required=[1, "y"])
    del wrong["persona"]
    assert len(task_problems(wrong)) == 6


@pytest.mark.parametrize("document", [None, [], "task", 3])
def test_what_is_no_object_is_no_task(document: object) -> None:
    assert "wrong type" in str(task_problems(document)[0])


def test_a_task_comes_back_from_its_file(tmp_path: Path) -> None:
    one = parse_task(task_document(oracle=["mkdir -p manual", "mv docs/guide.md manual/"]))
    other = parse_task(task_document(task_id="synth-technical-writer-01", intent="Grüße"))
    write_tasks(tmp_path / "tasks.jsonl", [one, other])
    assert read_tasks(tmp_path / "tasks.jsonl") == (one, other)
    assert to_document(one)["oracle"] == list(one.oracle)
    assert "oracle" not in to_document(other)
    assert one.workspace == {"docs/guide.md": b"# Guide\nold text\n", "images/diag.png": bytes(16)}


def test_every_bad_line_of_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    good = json.dumps(task_document())
    bad = json.dumps(task_document(intent=""))
    path.write_text(f"{good}\n{{,\n{bad}\n{good}\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_tasks(path)
    places = [problem.place for problem in caught.value.problems]
    assert places == [f"{path}:2:2", f"{path}:3", f"{path}:4"]


@pytest.mark.parametrize("regex", ["(", "a{99999999999999999999}", "(" * 3000 + ")" * 3000, "*"])
def test_what_does_not_compile_is_no_pattern(regex: str) -> None:
    assert compiled(regex) is None
