"""File tasks as an environment: commands in a sandbox, and assertions about what they leave.

Article 32, section "The agent protocol": at most 12 turns, one command each, ten seconds a command.
Article 33, section "The reward"; article 34, section "Per-turn advantages". What differs: an agent
that leaves more than is read back fails its task, and so does one whose commands broke its sandbox.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from types import TracebackType
from typing import Self

from harness.records import record
from harness.sandbox.base import Sandbox, SandboxUnavailable
from harness.sandbox.limits import CommandLimits
from harness.sandbox.workspace import WorkspaceOverflow
from harness.workloads.envs.base import EnvironmentFault, EpisodeOutcome, StepResult, StopReason
from harness.workloads.envs.files.grade import (
    MAX_TURNS,
    Grade,
    binary_reward,
    failed,
    grade,
    shaped_reward,
)
from harness.workloads.envs.files.protocol import (
    STOP_WORD,
    FileActionKind,
    NotUnderstoodError,
    ParserVersion,
    PromptStyle,
    Turn,
    answer_to,
    command_block,
    opening,
    parse,
    shortened,
)
from harness.workloads.envs.files.task import Task
from harness.workloads.inference.chat_template import Message

STOP_REASONS = (
    StopReason.TASK_COMPLETE,
    StopReason.MAX_TURNS,
    StopReason.CONTEXT_FULL,
    StopReason.WORKSPACE_OVERFLOW,
    StopReason.TOOL_BROKEN,
    StopReason.ERROR,
)


class Reward(StrEnum):
    """What a rollout earns; article 33, section "The reward"."""

    SHAPED = "shaped"
    BINARY = "binary"


@record
class FileSettings:
    """What every episode of an evaluation has in common."""

    parser: ParserVersion = ParserVersion.PHASE6
    prompt_style: PromptStyle = PromptStyle.ARTICLE
    max_turns: int = MAX_TURNS
    command: CommandLimits = CommandLimits()
    reward: Reward = Reward.SHAPED


@record
class FileEpisode:
    """What happened.

    Attributes:
        turns: every reply, the stop and what was not understood included.
        grade: of the end state; None where the episode broke.
    """

    turns: tuple[Turn, ...]
    grade: Grade | None = None


class FileEnvironment:
    """The `harness.workloads.envs.base.Environment` of file tasks.

    Args:
        make_sandbox: returns a sandbox that is not open yet.
        settings: the rules.
    """

    def __init__(
        self,
        make_sandbox: Callable[[], Sandbox],
        settings: FileSettings = FileSettings(),  # noqa: B008 - frozen
    ) -> None:
        self._make_sandbox, self._settings = make_sandbox, settings
        self._turns: list[Turn] = []
        self._grade: Grade | None = None
        self._cause = ""  # how the agent's commands broke its sandbox
        self._task: Task
        self._sandbox: Sandbox

    def __enter__(self) -> Self:
        """Open a sandbox.

        Raises:
            SandboxUnavailable: none can be made.
        """
        self._sandbox = self._make_sandbox().__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self._sandbox.__exit__(kind, error, trace)

    @property
    def settings(self) -> str:
        """The parser that replies are read by, and how the agent is spoken to."""
        return f"{self._settings.parser} {self._settings.prompt_style}"

    @property
    def episode(self) -> FileEpisode:
        """What has happened so far."""
        return FileEpisode(turns=tuple(self._turns), grade=self._grade)

    def reset(self, task: Task) -> Sequence[Message]:
        """Lay the task's workspace out; return the task and the listing."""
        self._task, self._turns, self._grade, self._cause = task, [], None, ""
        try:
            listing = self._laid_out()
        except SandboxUnavailable:  # it is as the agent before left it
            self._replace_sandbox()
            try:
                listing = self._laid_out()
            except SandboxUnavailable as error:
                raise EnvironmentFault(str(error)) from error
        return opening(task.intent, listing, self._settings.prompt_style)

    def step(self, reply: str) -> StepResult:
        """Understand a reply, and run its command if it has one."""
        turn = self._turn(reply)
        self._turns.append(turn)
        stop_reason = None
        if self._cause:
            stop_reason = StopReason.TOOL_BROKEN
        elif turn.action is not None and turn.action.kind is FileActionKind.DONE:
            stop_reason = StopReason.TASK_COMPLETE
        elif len(self._turns) == self._settings.max_turns:
            stop_reason = StopReason.MAX_TURNS
        return StepResult(
            shown="" if stop_reason else answer_to(turn, self._settings.prompt_style),
            reward=turn_reward(turn),
            stop_reason=stop_reason,
        )

    def finish(self, stop_reason: StopReason) -> EpisodeOutcome:
        """Look at the assertions; none holds where there is no workspace to look at.

        So it is when the workspace is too full to read back, or the agent broke its sandbox.
        """
        try:
            workspace = None if self._cause else self._sandbox.snapshot()
        except WorkspaceOverflow as overflow:
            workspace, stop_reason = None, StopReason.WORKSPACE_OVERFLOW
            self._cause = str(overflow)
        except SandboxUnavailable as error:
            workspace, stop_reason = None, StopReason.TOOL_BROKEN
            self._blame(error)
        if workspace is None:
            self._grade = failed(self._task, self._cause)
        else:
            self._grade = grade(self._task, workspace)
        if self._settings.reward is Reward.BINARY:
            reward = binary_reward(self._grade)
        else:
            reward = shaped_reward(self._grade, len(self._turns))
        return EpisodeOutcome(stop_reason=stop_reason, reward=reward)

    def _laid_out(self) -> tuple[str, ...]:
        self._sandbox.materialise(self._task.workspace)
        return self._sandbox.list()

    def _turn(self, reply: str) -> Turn:
        response = shortened(reply)
        try:
            action = parse(reply, self._settings.parser)
        except NotUnderstoodError as error:
            return Turn(response=response, parse_error=str(error))
        if action.kind is FileActionKind.DONE:
            return Turn(response=response, action=action)
        result = None
        try:
            result = self._sandbox.run(action.command, self._settings.command)
        except SandboxUnavailable as error:
            self._blame(error, commands=1)
        return Turn(response=response, action=action, observation=result)

    def _blame(self, error: SandboxUnavailable, commands: int = 0) -> None:
        """Take a broken sandbox for the agent's doing, if it has run commands and another works.

        Args:
            error: how it broke.
            commands: how many the agent has run that are not among its turns yet.

        Raises:
            EnvironmentFault: it had run none, or no other sandbox can be made.
        """
        ran = (turn.action for turn in self._turns)
        commands += sum(each is not None and each.kind is FileActionKind.COMMAND for each in ran)
        if not commands:
            raise EnvironmentFault(str(error)) from error
        self._replace_sandbox()
        self._cause = str(error)

    def _replace_sandbox(self) -> None:
        """Open another sandbox in the place of a broken one: it runs a command of its own.

        Raises:
            EnvironmentFault: none can be made.
        """
        self._sandbox.destroy()
        try:
            self._sandbox = self._make_sandbox().__enter__()
        except SandboxUnavailable as error:
            raise EnvironmentFault(str(error)) from error


def turn_reward(turn: Turn) -> float:
    """Return what a turn earned by itself; article 34, section "Per-turn advantages".

    1 for a command that exits with 0 in time, and for the stop; else 0.
    """
    if turn.action is not None and turn.action.kind is FileActionKind.DONE:
        return 1.0
    result = turn.observation
    return float(result is not None and result.exit_code == 0 and not result.timed_out)


# --- Replies that are known before ----------------------------------------------------------------

LOOK_AROUND = "ls"  # what article 32's trained model repeats until its turns are over


def nothing(task: Task) -> Iterator[str]:  # noqa: ARG001 - whatever the task
    """Stop at once."""
    yield STOP_WORD


def oracle(task: Task) -> Iterator[str]:
    """Give the commands of the task's author, and stop."""
    yield from map(command_block, task.oracle)
    yield STOP_WORD


def never_stopping(task: Task) -> Iterator[str]:
    """Give the commands of the task's author, and look around until the turns are over.

    The fault of article 32's demonstrations, made on purpose: none of its 42 ended with a stop, and
    a model trained on them never stops either.
    """
    commands = (*task.oracle, *(LOOK_AROUND,) * MAX_TURNS)[:MAX_TURNS]
    yield from map(command_block, commands)
