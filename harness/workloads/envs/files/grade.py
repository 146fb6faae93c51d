"""Grading: which assertions hold of a workspace, and what reward that is.

Article 32, section "Assertions and the grader", and article 33, section "The reward". The grader is
a pure function of a workspace; two of its rules are the article's and generous: `file_exists` is
satisfied by a directory, and `file_unchanged` says nothing of a file that was no text at the start,
which therefore passes even when it is gone. The linter names the assertions that rest on them.

A regex that takes too long to search does not hold, nor does one of a file that is too long to be
searched. Article 32's grader would wait for both forever.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.records import record
from harness.sandbox.workspace import Workspace, is_there, read_tree
from harness.workloads.envs.files.regex_search import Found, search
from harness.workloads.envs.files.task import Assertion, AssertionKind, Task

MAX_TURNS = 12
TURN_PENALTY = 0.2  # article 33: what a rollout loses that uses all its turns

_NOT_FOUND = {
    Found.YES: "",
    Found.NO: "does not match",
    Found.NO_PATTERN: "the regex does not compile",
    Found.TOO_SLOW: "the regex takes too long",
    Found.TOO_LONG: "is too long for a regex",
}


@record
class Result:
    """Whether one assertion holds, and why not."""

    kind: AssertionKind
    path: str
    passed: bool
    detail: str = ""


@record
class Grade:
    """What the grader says of one end state."""

    task_id: str
    results: tuple[Result, ...]

    @property
    def num_passed(self) -> int:
        """How many assertions hold."""
        return sum(result.passed for result in self.results)

    @property
    def num_total(self) -> int:
        """How many there are."""
        return len(self.results)

    @property
    def passed(self) -> bool:
        """Whether all hold; a task without assertions passes."""
        return self.num_passed == self.num_total


def grade(task: Task, end: Workspace | Path) -> Grade:
    """Grade an end state: a workspace, or a directory that holds one.

    Raises:
        WorkspaceOverflow: the directory holds more than is read back.
    """
    workspace = read_tree(end) if isinstance(end, Path) else end
    seed = {file.path: file.text for file in task.seed if file.text is not None}
    results = (_result(assertion, workspace, seed) for assertion in task.assertions)
    return Grade(task_id=task.task_id, results=tuple(results))


def failed(task: Task, cause: str) -> Grade:
    """Grade an end state of which no assertion can be looked at: none holds."""
    results = (
        Result(kind=each.kind, path=each.path, passed=False, detail=cause)
        for each in task.assertions
    )
    return Grade(task_id=task.task_id, results=tuple(results))


def binary_reward(graded: Grade) -> float:
    """1 when every assertion holds, else 0."""
    return float(graded.passed)


def shaped_reward(graded: Grade, num_turns: int) -> float:
    """Share of the assertions that hold, less a penalty for the turns it took.

    ``passed / total - 0.2 * clip(turns / 12, 0, 1)``, and 0 for a task without assertions
    (article 33, section "The reward"); in [-0.2, 1 - 0.2 / 12].
    """
    if not graded.num_total:
        return 0.0
    return graded.num_passed / graded.num_total - TURN_PENALTY * min(num_turns / MAX_TURNS, 1.0)


def read_text(content: bytes) -> str:
    """Decode as the article's grader does: UTF-8, errors replaced, one kind of line end."""
    text = content.decode(errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _result(assertion: Assertion, workspace: Workspace, seed: dict[str, str]) -> Result:
    detail = _failure(assertion, workspace, seed)
    kind, path = assertion.kind, assertion.path
    return Result(kind=kind, path=path, passed=not detail, detail=detail)


def _failure(assertion: Assertion, workspace: Workspace, seed: dict[str, str]) -> str:
    """Say why an assertion does not hold; empty when it does."""
    path = assertion.path.removesuffix("/")
    match assertion.kind:
        case AssertionKind.EXISTS:
            return "" if is_there(workspace, path) else "does not exist"
        case AssertionKind.NOT_EXISTS:
            return "exists" if is_there(workspace, path) else ""
        case AssertionKind.UNCHANGED if path not in seed:
            return ""
    if path not in workspace:
        return "is no file"
    text = read_text(workspace[path])
    match assertion.kind:
        case AssertionKind.CONTAIN:
            absent = [each for each in assertion.must_contain if each not in text]
            return f"does not contain {absent[0]!r}" if absent else ""
        case AssertionKind.MATCH:
            return _NOT_FOUND[search(assertion.regex, [text])]
        case AssertionKind.UNCHANGED:
            return "" if text == read_text(seed[path].encode()) else "is changed"


# --- Over several tasks ---------------------------------------------------------------------------


@record
class BaselineRates:
    """Counts over some tasks; a task with no assertion counts nowhere."""

    tasks: int
    tasks_passed: int
    assertions: int
    assertions_passed: int

    @property
    def held(self) -> float:
        """Share of all assertions that hold."""
        return self.assertions_passed / self.assertions


def rates(grades: Iterable[Grade]) -> BaselineRates:
    """Count what passed."""
    counted = [each for each in grades if each.num_total]
    return BaselineRates(
        tasks=len(counted),
        tasks_passed=sum(each.passed for each in counted),
        assertions=sum(each.num_total for each in counted),
        assertions_passed=sum(each.num_passed for each in counted),
    )


def do_nothing(tasks: Iterable[Task]) -> BaselineRates:
    """Grade every workspace as it is at the start."""
    return rates(grade(task, task.workspace) for task in tasks)
