"""Tasks as JSON, one a line: article 32's form, with an optional key ``oracle``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.appended import end_of_whole
from harness.errors import InputError, Problem
from harness.reading import read_json
from harness.workloads.envs.files.task import Assertion, AssertionKind, Difficulty, SeedFile, Task
from harness.workloads.envs.files.validate import task_problems


def to_document(task: Task) -> dict[str, Any]:
    """Return the JSON form of a task."""
    document: dict[str, Any] = {
        "task_id": task.task_id,
        "persona": {"role": task.role, "context": task.context},
        "intent": task.intent,
        "workspace_seed": {"files": [file_document(file) for file in task.seed]},
        "skills_required": list(task.skills),
        "verifiable_assertions": [_assertion_document(each) for each in task.assertions],
        "difficulty": task.difficulty.value,
        "estimated_steps": task.estimated_steps,
    }
    return {**document, "oracle": list(task.oracle)} if task.oracle else document


def file_document(file: SeedFile) -> dict[str, Any]:
    """Return the JSON form of a file of a seed."""
    if file.text is None:
        return {"path": file.path, "kind": "binary-stub", "size_bytes": file.size}
    return {"path": file.path, "kind": "text", "content": file.text}


def _assertion_document(assertion: Assertion) -> dict[str, Any]:
    document: dict[str, Any] = {"kind": assertion.kind.value, "path": assertion.path}
    if assertion.kind is AssertionKind.CONTAIN:
        document["must_contain"] = list(assertion.must_contain)
    if assertion.kind is AssertionKind.MATCH:
        document["regex"] = assertion.regex
    return document


def parse_task(document: Any) -> Task:
    """Return the task that a JSON document holds.

    Raises:
        InputError: all that is wrong with it, each with its key.
    """
    if problems := task_problems(document):
        raise InputError(problems)
    return Task(
        task_id=document["task_id"],
        role=document["persona"]["role"],
        context=document["persona"]["context"],
        intent=document["intent"],
        seed=tuple(
            SeedFile(path=file["path"], text=file.get("content"), size=file.get("size_bytes", 0))
            for file in document["workspace_seed"]["files"]
        ),
        skills=tuple(document["skills_required"]),
        assertions=tuple(
            Assertion(
                kind=AssertionKind(each["kind"]),
                path=each["path"],
                must_contain=tuple(each.get("must_contain", ())),
                regex=each.get("regex", ""),
            )
            for each in document["verifiable_assertions"]
        ),
        difficulty=Difficulty(document["difficulty"]),
        estimated_steps=document["estimated_steps"],
        oracle=tuple(document.get("oracle", ())),
    )


def write_tasks(path: Path, tasks: Iterable[Task]) -> None:
    """Write one task a line."""
    lines = [json.dumps(to_document(task), ensure_ascii=False) + "\n" for task in tasks]
    path.write_text("".join(lines), encoding="utf-8")


def begun_tasks(path: Path) -> tuple[Task, ...]:
    """Return the tasks of a file that `append_tasks` was writing when it was killed.

    What it left of a line is cut off.
    """
    if not path.exists():
        return ()
    with path.open("rb+") as file:
        file.truncate(end_of_whole(file.read()))
    return read_tasks(path)


def append_tasks(path: Path, tasks: Iterable[Task]) -> None:
    """Write one task a line, behind those that are there."""
    lines = [json.dumps(to_document(task), ensure_ascii=False) + "\n" for task in tasks]
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(lines))


def read_tasks(path: Path) -> tuple[Task, ...]:
    """Return the tasks of a file.

    Raises:
        InputError: all that is wrong in all its lines, each with file and line.
    """
    tasks: dict[str, Task] = {}
    problems: list[Problem] = []
    for number, line in _lines(path):
        try:
            task = parse_task(read_json(line))
        except json.JSONDecodeError as error:
            problems.append(Problem(message=error.msg, line=number, column=error.colno))
        except ValueError as error:
            problems.append(Problem(message=str(error), line=number))
        except InputError as error:
            problems += [replace(problem, line=number) for problem in error.problems]
        else:
            if task.task_id in tasks:
                message, given = "stands twice", task.task_id
                problems.append(Problem(message=message, line=number, key="task_id", value=given))
            tasks[task.task_id] = task
    if problems:
        raise InputError([replace(problem, path=path) for problem in problems])
    return tuple(tasks.values())


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    yield from enumerate(lines if lines[-1] else lines[:-1], 1)
