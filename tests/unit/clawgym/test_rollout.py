from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.sandbox.base import CommandResult, SandboxUnavailable
from harness.sandbox.in_memory import MemorySandbox
from harness.sandbox.limits import CommandLimits
from harness.sandbox.workspace import Workspace, WorkspaceOverflow
from harness.workloads.envs.files.protocol import (
    STOP_WORD,
    FileActionKind,
    Message,
    ParserVersion,
    PromptStyle,
)
from harness.workloads.envs.files.rollout import (
    Agent,
    AgentError,
    ContextFullError,
    FileRollout,
    RolloutLog,
    RolloutSettings,
    StopReason,
    run_episode,
    scripted,
)
from harness.workloads.envs.files.task import Task
from tests.unit.clawgym.conftest import Make
from tests.unit.clawgym.test_grade import GUIDE, simple

MOVES = ("mkdir -p manual", f"mv {GUIDE} manual/guide.md")


@pytest.fixture
def task(make: Make) -> Task:
    return make(simple("file_exists", "manual/guide.md"), simple("file_not_exists", GUIDE))


def played(task: Task, agent: Agent, box: MemorySandbox | None = None) -> FileRollout:
    with box or MemorySandbox() as sandbox:
        return run_episode(task, agent, sandbox, name="test", rules=RolloutSettings())


def test_a_rollout_that_stops_is_graded(task: Task) -> None:
    rollout = played(task, scripted(MOVES))
    assert rollout.stopped is StopReason.TASK_COMPLETE
    assert [turn.response for turn in rollout.turns][-1] == STOP_WORD
    assert len(rollout.turns) == 3
    assert rollout.grade is not None
    assert rollout.grade.passed
    assert rollout.cause == ""


def test_a_rollout_in_the_brief_wording_says_so_and_plays_the_same(task: Task) -> None:
    rules = RolloutSettings(prompt_style=PromptStyle.BRIEF)
    brief = run_episode(task, scripted(MOVES), MemorySandbox(), name="test", rules=rules)
    assert brief.prompt_style is PromptStyle.BRIEF
    assert brief.turns == played(task, scripted(MOVES)).turns


def test_a_rollout_that_never_stops_is_graded_after_twelve_turns(task: Task) -> None:
    rollout = played(task, scripted([*MOVES, *["cat manual/guide.md"] * 20]))
    assert rollout.stopped is StopReason.MAX_TURNS
    assert len(rollout.turns) == 12
    assert rollout.grade is not None
    assert rollout.grade.passed


def test_a_reply_that_is_not_understood_takes_a_turn(task: Task) -> None:
    seen: list[int] = []

    def agent(messages: Sequence[Message]) -> str:
        seen.append(len(messages))
        return "Let me think." if len(seen) < 3 else STOP_WORD

    rollout = played(task, agent)
    assert seen == [2, 4, 6]
    assert [bool(turn.parse_error) for turn in rollout.turns] == [True, True, False]
    assert rollout.grade is not None
    assert rollout.grade.num_passed == 0


def test_a_stop_beside_a_command_drops_the_command(task: Task) -> None:
    rollout = played(task, lambda _: f"```bash\n{MOVES[0]}\n```\n{STOP_WORD}")
    assert rollout.turns[0].action is not None
    assert rollout.turns[0].action.kind is FileActionKind.DONE
    assert rollout.turns[0].observation is None


def test_the_parser_decides_when_it_ends(task: Task) -> None:
    agent = scripted([*MOVES, 'echo "Task complete"'])
    lengths = {
        version: len(
            run_episode(
                task, agent, MemorySandbox(), name="x", rules=RolloutSettings(parser=version)
            ).turns
        )
        for version in ParserVersion
    }
    assert lengths == {ParserVersion.PHASE5: 4, ParserVersion.PHASE6: 3}


class BrokenBox(MemorySandbox):
    def run(self, command: str, limits: CommandLimits = CommandLimits()) -> CommandResult:  # noqa: B008
        if command.startswith("mv"):
            message = "the box is gone"
            raise SandboxUnavailable(message)
        return super().run(command, limits)


class FullBox(MemorySandbox):
    def snapshot(self) -> Workspace:
        message = "too much"
        raise WorkspaceOverflow(message)


def test_a_box_that_breaks_gives_a_cause_and_no_grade(task: Task) -> None:
    rollout = played(task, scripted(MOVES), BrokenBox())
    assert rollout.stopped is StopReason.SANDBOX_UNAVAILABLE
    assert rollout.cause == "the box is gone"
    assert rollout.grade is None
    assert len(rollout.turns) == 1


def test_a_workspace_too_full_to_read_gives_a_cause_and_no_grade(task: Task) -> None:
    rollout = played(task, scripted(MOVES), FullBox())
    assert (rollout.stopped, rollout.grade) == (StopReason.WORKSPACE_OVERFLOW, None)


def test_a_model_that_breaks_gives_a_cause_and_no_grade(task: Task) -> None:
    def agent(messages: Sequence[Message]) -> str:
        cause = f"no answer to {len(messages)} messages"
        raise AgentError(cause)

    rollout = played(task, agent)
    assert (rollout.stopped, rollout.grade) == (StopReason.AGENT_ERROR, None)
    assert rollout.cause == "no answer to 2 messages"


def test_a_full_context_is_the_agents_own_doing(task: Task) -> None:
    def agent(_: Sequence[Message]) -> str:
        raise ContextFullError

    rollout = played(task, agent)
    assert rollout.stopped is StopReason.CONTEXT_FULL
    assert rollout.grade is not None


def test_a_log_gives_back_what_was_appended(task: Task, tmp_path: Path) -> None:
    log = RolloutLog(tmp_path / "log.jsonl")
    assert log.read() == ()
    rollouts = [replace(played(task, scripted(MOVES)), sample=sample) for sample in range(3)]
    for rollout in rollouts:
        log.append(rollout)
    assert log.read() == tuple(rollouts)
    assert log.done() == {("test", task.task_id, sample) for sample in range(3)}


def test_a_log_finds_what_it_is_asked_for_and_nothing_else(task: Task, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    one, other = RolloutLog(path), RolloutLog(path)
    rollouts = [replace(played(task, scripted(MOVES)), sample=sample) for sample in range(3)]
    for rollout in rollouts:
        one.append(rollout)
    wanted = [rollouts[1].key, ("test", "another task", 0)]
    assert other.find(wanted) == {rollouts[1].key: rollouts[1]}
    again = replace(rollouts[1], wall_s=9.0)
    one.append(again)
    assert other.find(wanted) == {again.key: again}
    assert other.read() == (rollouts[0], again, rollouts[2])
    assert other.find([]) == {}


def test_a_torn_line_is_cut_off_and_the_rest_kept(task: Task, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = RolloutLog(path)
    one = played(task, scripted(MOVES))
    log.append(one)
    whole = path.read_bytes()
    for torn in (b"{", whole[:-1], b'{"task_id": "\xc3'):
        path.write_bytes(whole + torn)
        assert log.read() == (one,)
        log.append(replace(one, sample=1))
        assert [rollout.sample for rollout in log.read()] == [0, 1]


def test_a_first_line_that_is_torn_leaves_an_empty_log(task: Task, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"task')
    log = RolloutLog(path)
    assert log.read() == ()
    log.append(played(task, scripted(MOVES)))
    assert len(log.read()) == 1


def test_a_damaged_line_is_named(task: Task, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = RolloutLog(path)
    log.append(played(task, scripted(MOVES)))
    path.write_bytes(path.read_bytes() + b"{}\n")
    with pytest.raises(InputError, match=r"log.jsonl:2: damaged rollout"):
        log.read()


def test_a_broken_rollout_is_to_be_done_again(task: Task, tmp_path: Path) -> None:
    log = RolloutLog(tmp_path / "log.jsonl")
    log.append(played(task, scripted(MOVES), BrokenBox()))
    assert log.done() == frozenset()
    log.append(played(task, scripted(MOVES)))
    assert len(log.done()) == 1
    assert [rollout.stopped for rollout in log.read()] == [StopReason.TASK_COMPLETE]
