"""What is wrong with a task that is well-formed: assertions that measure nothing.

Article 32 published none of its tasks and checked none of this; its author guessed that a linter
would lift the reachable share of assertions from 80 to 95 %. Every finding names the assertion, so
that rates can be given with and without those that a linter would have sent back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from enum import StrEnum
from itertools import chain

from harness.records import record
from harness.workloads.envs.files.grade import grade, read_text
from harness.workloads.envs.files.regex_check import satisfiable, stalls
from harness.workloads.envs.files.regex_search import Found, search
from harness.workloads.envs.files.task import Assertion, AssertionKind, Task

ASKED_FOR = (2, 6)  # assertions a task, by the prompt of article 32


class LintRule(StrEnum):
    """What a linter looks for."""

    TRUE_AT_START = "true-at-start"  # holds before anything is done
    UNCOMPARED = "uncompared"  # `file_unchanged` of a stub, which the grader never looks at
    UNSATISFIABLE = "unsatisfiable"  # a regex that no text matches
    SLOW = "slow"  # a regex that some text keeps searching for longer than the grader waits
    CONTRADICTION = "contradiction"  # cannot hold together with another one
    DUPLICATE = "duplicate"  # says what another one says
    STUB_TEXT = "stub-text"  # asks for text in a file that starts as zero bytes
    COUNT = "count"  # more or fewer assertions than the author was asked for
    DUPLICATE_TASK = "duplicate-task"  # asserts what another task on the same workspace asserts


@record
class LintFinding:
    """One thing that is wrong.

    Attributes:
        assertion: which assertion of the task, from 0; None where it is the task.
        text: what exactly, in a clause.
    """

    task_id: str
    rule: LintRule
    assertion: int | None
    text: str


def lint(tasks: Iterable[Task]) -> tuple[LintFinding, ...]:
    """Return every finding of every task, in order; those between tasks come last."""
    given = tuple(tasks)
    findings = [finding for task in given for finding in lint_task(task)]
    return (*findings, *_duplicate_tasks(given))


def lint_task(task: Task) -> tuple[LintFinding, ...]:
    """Return every finding of one task."""
    texts = {file.path: file.text for file in task.seed}
    found = (_single(task, texts), _at_start(task), _between(task, texts), _count(task))
    return tuple(
        LintFinding(task_id=task.task_id, rule=rule, assertion=index, text=text)
        for rule, index, text in chain(*found)
    )


def linted(task: Task) -> Task:
    """Return the task without the assertions that have a finding; it may have none left."""
    faulty = {finding.assertion for finding in lint_task(task)}
    kept = [each for index, each in enumerate(task.assertions) if index not in faulty]
    return replace(task, assertions=tuple(kept))


Texts = dict[str, str | None]  # of the seed; None for a stub
Faults = Iterator[tuple[LintRule, int | None, str]]  # the rule, which assertion, what exactly


def _single(task: Task, texts: Texts) -> Faults:
    """Yield what is wrong with one assertion by itself."""
    for index, assertion in enumerate(task.assertions):
        kind, path = assertion.kind, assertion.path
        is_stub = path in texts and texts[path] is None
        if kind is AssertionKind.UNCHANGED and is_stub:
            yield LintRule.UNCOMPARED, index, f"{path} is a stub, which the grader does not compare"
        if kind in {AssertionKind.CONTAIN, AssertionKind.MATCH} and is_stub:
            yield LintRule.STUB_TEXT, index, f"{path} starts as zero bytes"
        if kind is AssertionKind.MATCH and not satisfiable(assertion.regex):
            yield LintRule.UNSATISFIABLE, index, f"no text matches {assertion.regex!r}"
        if kind is AssertionKind.MATCH and stalls(assertion.regex):
            yield LintRule.SLOW, index, f"{assertion.regex!r} takes too long on some texts"


def _at_start(task: Task) -> Faults:
    """Yield what holds before anything is done; that a file stays as it is, must."""
    for index, result in enumerate(grade(task, task.workspace).results):
        if result.passed and result.kind is not AssertionKind.UNCHANGED:
            yield LintRule.TRUE_AT_START, index, f"{result.kind} {result.path} holds in the seed"


def _between(task: Task, texts: Texts) -> Faults:
    """Yield duplicates and contradictions; the later of the two assertions is the one named."""
    for index, later in enumerate(task.assertions):
        for earlier in task.assertions[:index]:
            if later == earlier:
                yield LintRule.DUPLICATE, index, f"{later.kind} {later.path} stands twice"
            elif text := _conflict(earlier, later, texts) or _conflict(later, earlier, texts):
                yield LintRule.CONTRADICTION, index, text


def _count(task: Task) -> Faults:
    low, high = ASKED_FOR
    if not low <= len(task.assertions) <= high:
        yield LintRule.COUNT, None, f"{len(task.assertions)} assertions, asked for {low} to {high}"


_NEEDS_FILE = {AssertionKind.CONTAIN, AssertionKind.MATCH, AssertionKind.UNCHANGED}


def _conflict(one: Assertion, other: Assertion, texts: Texts) -> str:
    """Say why `one` cannot hold when `other` does; empty when it can, or when nobody knows."""
    path, above = one.path.removesuffix("/"), f"{other.path.removesuffix('/')}/"
    must_be_there = one.kind is not AssertionKind.NOT_EXISTS and not _is_free(one, texts)
    if other.kind is AssertionKind.NOT_EXISTS and must_be_there and f"{path}/".startswith(above):
        return f"{other.path} must not exist, yet {path} must"
    is_file = other.kind in _NEEDS_FILE and not _is_free(other, texts)
    if is_file and must_be_there and path.startswith(above):
        return f"{other.path} must be a file, yet {path} lies in it"
    before = texts.get(other.path)
    if other.kind is AssertionKind.UNCHANGED and other.path == path and before is not None:
        text = read_text(before.encode())
        if not all(each in text for each in one.must_contain):
            return f"{path} must stay as it is, yet contain what it does not"
        if one.kind is AssertionKind.MATCH and search(one.regex, [text]) is Found.NO:
            return f"{path} must stay as it is, yet match what it does not"
    return ""


def _is_free(assertion: Assertion, texts: Texts) -> bool:
    return assertion.kind is AssertionKind.UNCHANGED and texts.get(assertion.path) is None


def _duplicate_tasks(tasks: tuple[Task, ...]) -> Iterator[LintFinding]:
    alike: dict[object, list[str]] = defaultdict(list)
    for task in tasks:
        alike[task.seed, frozenset(task.assertions)].append(task.task_id)
    for first, *others in alike.values():
        for task_id in others:
            text = f"same workspace and assertions as {first}"
            yield LintFinding(
                task_id=task_id, rule=LintRule.DUPLICATE_TASK, assertion=None, text=text
            )
