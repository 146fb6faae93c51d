from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.sandbox.base import CommandResult, Sandbox, SandboxUnavailable
from harness.sandbox.in_memory import MemorySandbox
from harness.sandbox.limits import CommandLimits
from harness.sandbox.workspace import Workspace, WorkspaceOverflow
from harness.workloads.envs.base import StopReason
from harness.workloads.envs.files.environment import (
    FileEnvironment,
    FileEpisode,
    FileSettings,
)
from harness.workloads.envs.files.protocol import (
    STOP_WORD,
    FileActionKind,
    ParserVersion,
    PromptStyle,
    command_block,
)
from harness.workloads.envs.files.task import Task
from harness.workloads.inference.chat_template import Message
from harness.workloads.inference.engine import EngineError, PromptTooLongError
from harness.workloads.rl.rollout import Rollout, RolloutLog, Timings
from harness.workloads.rl.runner import Policy, ScriptedPolicy, run_episode
from tests.unit.envs_files.conftest import Make
from tests.unit.envs_files.test_grade import GUIDE, simple

MOVES = ("mkdir -p manual", f"mv {GUIDE} manual/guide.md")


@pytest.fixture
def task(make: Make) -> Task:
    return make(simple("file_exists", "manual/guide.md"), simple("file_not_exists", GUIDE))


def scripted(commands: Sequence[str]) -> ScriptedPolicy[Task]:
    """Give these commands in turn, and then stop."""
    replies = (*map(command_block, commands), STOP_WORD)
    return ScriptedPolicy(name="test", script=lambda _: replies)


Say = Callable[[Sequence[Message]], str]


class Saying:
    """A policy whose replies a function gives."""

    name, identity, served = "test", "", ""
    trace, engine_s = None, 0.0

    def __init__(self, say: Say) -> None:
        self.reply = say

    def agent(self, task: Task, sample: int) -> Saying:  # noqa: ARG002
        return self


def played(
    task: Task,
    policy: Policy[Task],
    sandbox: Callable[[], Sandbox] = MemorySandbox,
    settings: FileSettings = FileSettings(),  # noqa: B008
) -> Rollout[FileEpisode]:
    with FileEnvironment(sandbox, settings) as environment:
        return run_episode(policy, environment, task)


def test_a_rollout_that_stops_is_graded(task: Task) -> None:
    rollout = played(task, scripted(MOVES))
    assert rollout.stop_reason is StopReason.TASK_COMPLETE
    assert [turn.response for turn in rollout.episode.turns][-1] == STOP_WORD
    assert len(rollout.episode.turns) == 3
    assert rollout.episode.grade is not None
    assert rollout.episode.grade.passed
    assert rollout.error == ""


def test_a_rollout_in_the_brief_wording_says_so_and_plays_the_same(task: Task) -> None:
    settings = FileSettings(prompt_style=PromptStyle.BRIEF)
    brief = played(task, scripted(MOVES), settings=settings)
    assert "brief" in brief.settings
    assert brief.episode.turns == played(task, scripted(MOVES)).episode.turns


def test_a_rollout_that_never_stops_is_graded_after_twelve_turns(task: Task) -> None:
    rollout = played(task, scripted([*MOVES, *["cat manual/guide.md"] * 20]))
    assert rollout.stop_reason is StopReason.MAX_TURNS
    assert len(rollout.episode.turns) == 12
    assert rollout.episode.grade is not None
    assert rollout.episode.grade.passed


def test_a_reply_that_is_not_understood_takes_a_turn(task: Task) -> None:
    seen: list[int] = []

    def say(shown: Sequence[Message]) -> str:
        seen.append(len(shown))
        return "Let me think." if len(seen) < 3 else STOP_WORD

    rollout = played(task, Saying(say))
    assert seen == [2, 1, 1]  # the opening, and then what is new
    assert [bool(turn.parse_error) for turn in rollout.episode.turns] == [True, True, False]
    assert rollout.episode.grade is not None
    assert rollout.episode.grade.num_passed == 0


def test_a_stop_beside_a_command_drops_the_command(task: Task) -> None:
    rollout = played(task, Saying(lambda _: f"```bash\n{MOVES[0]}\n```\n{STOP_WORD}"))
    assert rollout.episode.turns[0].action is not None
    assert rollout.episode.turns[0].action.kind is FileActionKind.DONE
    assert rollout.episode.turns[0].observation is None


def test_the_parser_decides_when_it_ends(task: Task) -> None:
    policy = scripted([*MOVES, 'echo "Task complete"'])
    lengths = {
        version: len(played(task, policy, settings=FileSettings(parser=version)).episode.turns)
        for version in ParserVersion
    }
    assert lengths == {ParserVersion.PHASE5: 4, ParserVersion.PHASE6: 3}


class BrokenBox(MemorySandbox):
    def run(self, command: str, limits: CommandLimits = CommandLimits()) -> CommandResult:  # noqa: B008
        if command.startswith("mv"):
            message = "the box is gone"
            raise SandboxUnavailable(message)
        return super().run(command, limits)


class LostBox(MemorySandbox):
    """One that nothing can be read back from."""

    def snapshot(self) -> Workspace:
        message = "no answer"
        raise SandboxUnavailable(message)


class SpoiltBox(MemorySandbox):
    """One that the agent before has left so that nothing can be laid out in it."""

    def materialise(self, workspace: Workspace) -> None:
        message = f"{len(workspace)} files cannot be laid out"
        raise SandboxUnavailable(message)


def only(
    box: Callable[[], Sandbox], after: Callable[[], Sandbox] | None = None
) -> Callable[[], Sandbox]:
    """Make one sandbox of a kind, and then of another; or none, as on a machine that broke."""
    kinds = iter([box])

    def make() -> Sandbox:
        kind = next(kinds, after)
        if kind is None:
            message = "this machine makes no sandboxes any more"
            raise SandboxUnavailable(message)
        return kind()

    return make


class FullBox(MemorySandbox):
    def snapshot(self) -> Workspace:
        message = "too much"
        raise WorkspaceOverflow(message)


def test_an_agent_that_breaks_its_box_has_failed_its_task(task: Task) -> None:
    rollout = played(task, scripted(MOVES), BrokenBox)
    assert (rollout.stop_reason, rollout.error) == (StopReason.TOOL_BROKEN, "")
    assert not rollout.is_error
    graded = rollout.episode.grade
    assert graded is not None
    assert (graded.num_passed, graded.num_total) == (0, 2)
    assert {result.detail for result in graded.results} == {"the box is gone"}
    assert rollout.reward == pytest.approx(-0.2 * 2 / 12)
    assert len(rollout.episode.turns) == len(rollout.turn_rewards) == 2


def test_an_agent_whose_box_cannot_be_read_back_has_failed_its_task(task: Task) -> None:
    rollout = played(task, scripted(MOVES), LostBox)
    assert (rollout.stop_reason, rollout.is_error) == (StopReason.TOOL_BROKEN, False)
    assert rollout.reward == pytest.approx(-0.2 * 3 / 12)


@pytest.mark.parametrize("box", [BrokenBox, LostBox])
def test_where_no_box_can_be_made_any_more_nobody_has_failed(
    task: Task, box: Callable[[], Sandbox]
) -> None:
    rollout = played(task, scripted(MOVES), only(box))
    assert (rollout.stop_reason, rollout.reward) == (StopReason.ERROR, None)
    assert rollout.error == "this machine makes no sandboxes any more"
    assert rollout.episode.grade is None


def test_a_box_that_breaks_before_the_agent_has_run_anything_is_not_its_doing(task: Task) -> None:
    rollout = played(task, scripted([]), LostBox)
    assert (rollout.stop_reason, rollout.reward) == (StopReason.ERROR, None)


def test_what_an_agent_leaves_of_a_box_is_not_the_next_ones_fault(task: Task) -> None:
    rollout = played(task, scripted(MOVES), only(SpoiltBox, after=MemorySandbox))
    assert rollout.stop_reason is StopReason.TASK_COMPLETE
    assert rollout.episode.grade is not None
    assert rollout.episode.grade.passed
    assert played(task, scripted(MOVES), SpoiltBox).stop_reason is StopReason.ERROR


def test_a_workspace_too_full_to_read_is_the_agents_own_doing(task: Task) -> None:
    rollout = played(task, scripted(MOVES), FullBox)
    assert rollout.stop_reason is StopReason.WORKSPACE_OVERFLOW
    assert not rollout.is_error
    graded = rollout.episode.grade
    assert graded is not None
    assert (graded.num_passed, graded.num_total) == (0, 2)
    assert {result.detail for result in graded.results} == {"too much"}
    assert rollout.reward == pytest.approx(-0.2 * 3 / 12)


def test_a_model_that_breaks_gives_a_cause_and_no_grade(task: Task) -> None:
    def say(shown: Sequence[Message]) -> str:
        cause = f"no answer to {len(shown)} messages"
        raise EngineError(cause)

    rollout = played(task, Saying(say))
    assert (rollout.stop_reason, rollout.episode.grade) == (StopReason.ERROR, None)
    assert rollout.reward is None
    assert rollout.error == "no answer to 2 messages"


def test_a_full_context_is_the_agents_own_doing(task: Task) -> None:
    def say(_: Sequence[Message]) -> str:
        raise PromptTooLongError

    rollout = played(task, Saying(say))
    assert rollout.stop_reason is StopReason.CONTEXT_FULL
    assert rollout.episode.grade is not None
    assert rollout.reward == 0.0


def test_a_log_gives_back_what_was_appended(task: Task, tmp_path: Path) -> None:
    log = RolloutLog(tmp_path / "log.jsonl", FileEpisode)
    assert log.read() == ()
    rollouts = [replace(played(task, scripted(MOVES)), sample=sample) for sample in range(3)]
    for rollout in rollouts:
        log.append(rollout)
    assert log.read() == tuple(rollouts)
    assert [each.key for each in log.read()] == [("test", task.task_id, n) for n in range(3)]


def test_a_log_finds_what_it_is_asked_for_and_nothing_else(task: Task, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    one, other = RolloutLog(path, FileEpisode), RolloutLog(path, FileEpisode)
    rollouts = [replace(played(task, scripted(MOVES)), sample=sample) for sample in range(3)]
    for rollout in rollouts:
        one.append(rollout)
    wanted = [rollouts[1].key, ("test", "another task", 0)]
    assert other.find(wanted) == {rollouts[1].key: rollouts[1]}
    again = replace(rollouts[1], timings=Timings(total_s=9.0))
    one.append(again)
    assert other.find(wanted) == {again.key: again}
    assert other.read() == (rollouts[0], again, rollouts[2])
    assert other.find([]) == {}


def test_a_torn_line_is_cut_off_and_the_rest_kept(task: Task, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = RolloutLog(path, FileEpisode)
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
    log = RolloutLog(path, FileEpisode)
    assert log.read() == ()
    log.append(played(task, scripted(MOVES)))
    assert len(log.read()) == 1


def test_a_damaged_line_is_named(task: Task, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = RolloutLog(path, FileEpisode)
    log.append(played(task, scripted(MOVES)))
    path.write_bytes(path.read_bytes() + b"{}\n")
    with pytest.raises(InputError, match=r"log.jsonl:2: damaged rollout"):
        log.read()


def test_a_rollout_that_was_played_again_takes_the_broken_ones_place(
    task: Task, tmp_path: Path
) -> None:
    log = RolloutLog(tmp_path / "log.jsonl", FileEpisode)
    log.append(played(task, scripted(MOVES), only(BrokenBox)))
    assert [rollout.is_error for rollout in log.read()] == [True]
    log.append(played(task, scripted(MOVES)))
    assert [rollout.stop_reason for rollout in log.read()] == [StopReason.TASK_COMPLETE]
