"""What holds for file tasks, their grader and their parsers whatever is thrown at them."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harness.sandbox.base import CommandResult
from harness.sandbox.workspace import (
    Workspace,
    list_tree,
    read_tree,
    workspace_problems,
    write_tree,
)
from harness.workloads.envs.base import StopReason
from harness.workloads.envs.files.environment import FileEpisode
from harness.workloads.envs.files.grade import grade, shaped_reward
from harness.workloads.envs.files.lint import lint_task, linted
from harness.workloads.envs.files.llm_author import extract
from harness.workloads.envs.files.personas import PERSONAS, Slot
from harness.workloads.envs.files.protocol import (
    MAX_CHARS,
    FileAction,
    FileActionKind,
    NotUnderstoodError,
    ParserVersion,
    Turn,
    parse,
    shortened,
)
from harness.workloads.envs.files.regex_check import satisfiable
from harness.workloads.envs.files.task import Assertion, AssertionKind, Task, compiled
from harness.workloads.envs.files.task_json import parse_task, to_document
from harness.workloads.envs.files.template_author import TemplateAuthor
from harness.workloads.envs.files.validate import task_problems
from harness.workloads.rl.rollout import Rollout, RolloutLog, Trace, TurnTrace

segments = st.text(st.sampled_from("ab. é\n*'"), min_size=1, max_size=3)
paths = st.lists(segments, min_size=1, max_size=3).map("/".join)
contents = st.binary(max_size=20) | st.sampled_from([b"a\r\nb", b"a\nb", b"\xff"])


def sound(workspace: Workspace) -> bool:
    return not any(workspace_problems(workspace))


workspaces = st.dictionaries(paths, contents, max_size=6).filter(sound)
fragments = st.lists(
    st.sampled_from(
        ["a", "b", ".", "^", "$", r"\b", "[ab]", "[^a]", "a+", "(a|b)", r"\n", "b{2}", r"\d?"]
    ),
    max_size=6,
).map("".join)
assertions = st.builds(
    Assertion,
    kind=st.sampled_from(AssertionKind),
    path=paths,
    must_contain=st.lists(st.text(max_size=3), max_size=2).map(tuple),
    regex=fragments,
)
slots = st.builds(
    Slot,
    persona=st.sampled_from(PERSONAS),
    index=st.integers(0, 99),
    seed=st.integers(0, 10**9),
)
tasks = st.builds(
    lambda slot, given: replace(TemplateAuthor().write(slot), assertions=tuple(given)),
    slots,
    st.lists(assertions, max_size=5),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
replies = st.text() | st.lists(
    st.sampled_from(
        ["```bash", "```", "\n", "ls", "# c", "TASK_COMPLETE", "echo", " Task complete", "'"]
    )
).map("".join)


@given(replies, st.sampled_from(ParserVersion))
def test_a_parser_answers_every_reply(reply: str, version: ParserVersion) -> None:
    try:
        action = parse(reply, version)
    except NotUnderstoodError:
        return
    assert bool(action.command) is (action.kind is FileActionKind.COMMAND)
    assert "\n" not in action.command
    assert action.command == action.command.strip()


@given(replies)
def test_the_second_parser_only_stops_earlier(reply: str) -> None:
    try:
        first = parse(reply, ParserVersion.PHASE5)
    except NotUnderstoodError:
        first = None
    try:
        second = parse(reply, ParserVersion.PHASE6)
    except NotUnderstoodError:
        second = None
    assert second == first or (second is not None and second.kind is FileActionKind.DONE)


@given(st.text(max_size=9000))
def test_a_shortened_text_is_short_and_stays_as_it_is(text: str) -> None:
    short = shortened(text)
    assert len(short) <= MAX_CHARS
    assert shortened(short) == short


@given(workspaces)
def test_a_workspace_comes_back_from_a_directory(workspace: Workspace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_tree(Path(folder), workspace)
        assert read_tree(Path(folder)) == workspace
        assert list_tree(Path(folder)) == tuple(sorted(workspace))


@given(tasks, workspaces)
def test_grading_is_a_function_of_the_workspace(task: Task, workspace: Workspace) -> None:
    graded = grade(task, workspace)
    assert graded == grade(task, dict(reversed(list(workspace.items()))))
    assert graded.num_total == len(task.assertions)
    assert graded.passed is (graded.num_passed == graded.num_total)
    with tempfile.TemporaryDirectory() as folder:
        write_tree(Path(folder), workspace)
        assert grade(task, Path(folder)) == graded


@given(tasks, workspaces, st.integers(1, 30))
def test_a_reward_stays_in_its_range_and_never_grows_with_turns(
    task: Task, workspace: Workspace, turns: int
) -> None:
    graded = grade(task, workspace)
    assert -0.2 <= shaped_reward(graded, turns) <= 1 - 0.2 / 12
    assert shaped_reward(graded, turns + 1) <= shaped_reward(graded, turns)


@given(workspaces, paths)
def test_exists_and_not_exists_never_agree(workspace: Workspace, path: str) -> None:
    slot = Slot(persona=PERSONAS[2], index=0, seed=0)
    both = tuple(
        Assertion(kind=kind, path=path) for kind in (AssertionKind.EXISTS, AssertionKind.NOT_EXISTS)
    )
    task = replace(TemplateAuthor().write(slot), assertions=both)
    assert grade(task, workspace).num_passed == 1


@given(tasks)
def test_what_the_linter_leaves_has_nothing_left_to_find(task: Task) -> None:
    left = linted(task)
    assert all(finding.assertion is None for finding in lint_task(left))


@given(slots)
def test_a_template_gives_a_valid_sound_task_for_every_slot(slot: Slot) -> None:
    task = TemplateAuthor().write(slot)
    assert parse_task(json.loads(json.dumps(to_document(task)))) == task
    assert lint_task(task) == ()


@given(fragments, st.text(st.sampled_from("ab\n1"), max_size=8))
def test_a_pattern_that_matches_something_is_satisfiable(regex: str, text: str) -> None:
    pattern = compiled(regex)
    if pattern is not None and pattern.search(text):
        assert satisfiable(regex)


@given(
    json_values,
    st.sampled_from(
        sorted(to_document(TemplateAuthor().write(Slot(persona=PERSONAS[0], index=0, seed=0))))
    ),
)
def test_the_validator_answers_every_document(value: Any, key: str) -> None:
    document = to_document(TemplateAuthor().write(Slot(persona=PERSONAS[0], index=0, seed=0)))
    assert task_problems(value)
    document[key] = value
    if not task_problems(document):
        parse_task(document)


@given(st.text() | json_values.map(json.dumps))
def test_an_object_is_looked_for_in_every_reply(reply: str) -> None:
    assert isinstance(extract(reply), dict)


commands = st.builds(FileAction, kind=st.just(FileActionKind.COMMAND), command=st.text(min_size=1))
results = st.builds(
    CommandResult, exit_code=st.integers(0, 255), stdout=st.text(), stderr=st.text()
)
turns = st.builds(
    Turn,
    response=st.text(),
    action=st.none() | commands,
    observation=st.none() | results,
    parse_error=st.text(),
)
traces = st.builds(
    Trace,
    turns=st.lists(
        st.builds(
            TurnTrace,
            context=st.lists(st.integers(0, 9)).map(tuple),
            reply=st.just((3, 4)),
            logprobs=st.just((-0.5, -1.25)),
            entropy=st.none() | st.floats(0, 9),
        ),
        max_size=2,
    ).map(tuple),
)
rollouts = st.builds(
    Rollout,
    task_id=st.just("synth-x-00"),
    policy=st.text(max_size=5),
    sample=st.integers(0, 3),
    settings=st.text(max_size=5),
    stop_reason=st.sampled_from(StopReason),
    reward=st.none() | st.floats(-1, 1),
    episode=st.builds(FileEpisode, turns=st.lists(turns, max_size=3).map(tuple)),
    trace=st.none() | traces,
    error=st.text(),
)


@given(st.lists(rollouts, max_size=4))
def test_a_log_keeps_every_rollout_whole(given_rollouts: list[Rollout[FileEpisode]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = RolloutLog(Path(folder) / "log.jsonl", FileEpisode)
        for rollout in given_rollouts:
            log.append(rollout)
        assert list(log.read()) == list({each.key: each for each in given_rollouts}.values())
