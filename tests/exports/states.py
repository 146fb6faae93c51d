"""End states of file tasks, as agents may leave them, with the grade that ours gives each."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from harness.records import record
from harness.sandbox.in_memory import MemorySandbox
from harness.sandbox.workspace import Workspace
from harness.workloads.envs.files.grade import Grade, grade
from harness.workloads.envs.files.task import Task
from tests.exports.conftest import make_tasks

NUM_STATES = 200


@record
class EndState:
    """What an agent left."""

    task: Task
    workspace: Workspace
    grade: Grade


def end_states(count: int) -> list[EndState]:
    """Return so many end states; both grades are often."""
    chance = random.Random(5)  # noqa: S311 - not secret
    states = [
        EndState(task=task, workspace=workspace, grade=grade(task, workspace))
        for task in make_tasks(count // 4, seed=11)
        for workspace in _workspaces(task, chance)
    ]
    assert len(states) == count
    assert count / 4 <= sum(state.grade.passed for state in states) <= 3 * count / 4
    return states


def _workspaces(task: Task, chance: random.Random) -> Iterator[Workspace]:
    """Yield four: nothing done, all, a part, and files that are wrong."""
    yield task.workspace
    for part in (len(task.oracle), chance.randrange(len(task.oracle) + 1)):
        yield _after(task, task.oracle[:part])
    wrong = dict(_after(task, task.oracle))
    for path in chance.sample(sorted(wrong), min(2, len(wrong))):
        change = chance.randrange(3)
        if change == 0:
            del wrong[path]
        elif change == 1:
            wrong[path] = wrong[path][::-1] + b"\r\n\xff"
        else:
            wrong[f"{path}.bak"] = wrong.pop(path)
    yield wrong


def _after(task: Task, commands: tuple[str, ...]) -> Workspace:
    with MemorySandbox() as sandbox:
        sandbox.materialise(task.workspace)
        for command in commands:
            sandbox.run(command)
        return sandbox.snapshot()


def lay_out(workspace: Workspace, folder: Path) -> Path:
    """Write a workspace into a new folder."""
    folder.mkdir(parents=True)
    for path, content in workspace.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def rewards_of(graded: Grade) -> dict[str, float]:
    """Return what the exported grader writes for a grade."""
    share = graded.num_passed / graded.num_total
    return {"reward": float(graded.passed), "assertion_pass_rate": share}
