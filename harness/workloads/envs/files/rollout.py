"""A rollout: an agent's turns on one task until it stops, as a record that is kept whole.

Article 32, section "The agent protocol": at most 12 turns, one command each, ten seconds a command.
Two things differ from it. A rollout that broke is kept with its cause and has no grade: it is never
counted as one that passed nothing. And every rollout says which parser understood it, and in which
wording it was asked.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Protocol

from harness.errors import HarnessError, InputError, Problem
from harness.records import from_json, record, to_json
from harness.sandbox.base import Sandbox, SandboxUnavailable
from harness.sandbox.limits import CommandLimits
from harness.sandbox.workspace import WorkspaceOverflow
from harness.workloads.envs.files.grade import MAX_TURNS, Grade, grade
from harness.workloads.envs.files.protocol import (
    STOP_WORD,
    FileActionKind,
    Message,
    NotUnderstoodError,
    ParserVersion,
    PromptStyle,
    Turn,
    conversation,
    parse,
    shortened,
)
from harness.workloads.envs.files.task import Task
from harness.workloads.training.trace import Trace

Key = tuple[str, str, int]  # of a rollout: agent, task, sample


class StopReason(StrEnum):
    """Why a rollout ended. The first three are the agent's own doing, and are graded."""

    TASK_COMPLETE = "task_complete"
    MAX_TURNS = "max_turns"
    CONTEXT_FULL = "context_full"  # the conversation outgrew the model
    AGENT_ERROR = "agent_error"  # the model's client broke
    SANDBOX_UNAVAILABLE = "sandbox_unavailable"
    WORKSPACE_OVERFLOW = "workspace_overflow"  # it left more than is read back


class AgentError(HarnessError):
    """The model gave no reply: its server or its client broke."""


class ContextFullError(AgentError):
    """The conversation no longer fits into the model's context."""


class Agent(Protocol):
    """Whoever answers."""

    def __call__(self, messages: Sequence[Message], /) -> str:
        """Return the reply to a conversation that ends with a user's message.

        Raises:
            AgentError: there is none.
        """
        ...


@record
class RolloutSettings:
    """What every rollout of an evaluation has in common."""

    parser: ParserVersion = ParserVersion.PHASE6
    prompt_style: PromptStyle = PromptStyle.ARTICLE
    max_turns: int = MAX_TURNS
    command: CommandLimits = CommandLimits()


@record
class Spent:
    """Where the time of a rollout went, seconds; the rest of it is bookkeeping.

    Attributes:
        engine_s: waiting for replies.
        sandbox_s: laying the workspace out, running commands, reading it back.
        grading_s: looking at the assertions.
    """

    engine_s: float = 0.0
    sandbox_s: float = 0.0
    grading_s: float = 0.0


@record
class FileRollout:
    """One rollout.

    Attributes:
        task_id: the task.
        agent: who answered: a model's name, with its adapter.
        sample: which of several rollouts of this task, from 0.
        parser: how its replies were understood.
        prompt_style: how it was spoken to.
        turns: every reply, the stop and what was not understood included.
        stopped: why it ended.
        grade: of the end state; None where it broke.
        cause: for a rollout that broke, why.
        wall_s: from the first listing to the end, seconds.
        spent: on what.
        engine: what drew the replies, with its version; empty where no model did.
        served: its weights.
        trace: what the model was shown and what it drew, token by token.
    """

    task_id: str
    agent: str
    sample: int = 0
    parser: ParserVersion
    prompt_style: PromptStyle = PromptStyle.ARTICLE
    turns: tuple[Turn, ...]
    stopped: StopReason
    grade: Grade | None = None
    cause: str = ""
    wall_s: float = 0.0
    spent: Spent = Spent()
    engine: str = ""
    served: str = ""
    trace: Trace | None = None

    @property
    def environment_s(self) -> float:
        """What a rollout takes beside the model's own time, seconds."""
        return self.wall_s - self.spent.engine_s

    @property
    def key(self) -> Key:
        """What it is the rollout of."""
        return self.agent, self.task_id, self.sample


def run_episode(
    task: Task, agent: Agent, box: Sandbox, *, name: str, sample: int = 0, rules: RolloutSettings
) -> FileRollout:
    """Let `agent` work on `task` in `cell_of`, which exists; its workspace is replaced."""
    game = _Game(task, agent, box, rules)
    graded, cause = None, ""
    began = time.monotonic()
    try:
        stopped, graded = game.play()
    except SandboxUnavailable as error:
        stopped, cause = StopReason.SANDBOX_UNAVAILABLE, str(error)
    except WorkspaceOverflow as error:
        stopped, cause = StopReason.WORKSPACE_OVERFLOW, str(error)
    except AgentError as error:
        stopped, cause = StopReason.AGENT_ERROR, str(error)
    return FileRollout(
        task_id=task.task_id,
        agent=name,
        sample=sample,
        parser=rules.parser,
        prompt_style=rules.prompt_style,
        turns=tuple(game.turns),
        stopped=stopped,
        grade=graded,
        cause=cause,
        wall_s=round(time.monotonic() - began, 6),
        spent=Spent(
            sandbox_s=round(game.sandbox.total_s, 6), grading_s=round(game.grading.total_s, 6)
        ),
    )


class _Stopwatch:
    """Adds up how long its blocks take."""

    def __init__(self) -> None:
        self.total_s = 0.0

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.total_s += time.monotonic() - self._began


class _Game:
    """One rollout while it is played."""

    def __init__(self, task: Task, agent: Agent, box: Sandbox, rules: RolloutSettings) -> None:
        self._task, self._agent, self._box, self._rules = task, agent, box, rules
        self.turns: list[Turn] = []
        self.sandbox, self.grading = _Stopwatch(), _Stopwatch()

    def play(self) -> tuple[StopReason, Grade]:
        """Take all turns, and grade what they leave."""
        with self.sandbox:
            self._box.materialise(self._task.workspace)
            listing = self._box.list()
        stopped = self._take_turns(listing)
        with self.sandbox:
            end = self._box.snapshot()
        with self.grading:
            return stopped, grade(self._task, end)

    def _take_turns(self, listing: Sequence[str]) -> StopReason:
        intent, prompt_style = self._task.intent, self._rules.prompt_style
        while len(self.turns) < self._rules.max_turns:
            try:
                reply = self._agent(conversation(intent, listing, self.turns, prompt_style))
            except ContextFullError:
                return StopReason.CONTEXT_FULL
            self.turns.append(self._take_turn(reply))
            action = self.turns[-1].action
            if action is not None and action.kind is FileActionKind.DONE:
                return StopReason.TASK_COMPLETE
        return StopReason.MAX_TURNS

    def _take_turn(self, reply: str) -> Turn:
        """Understand one reply, and run its command if it has one."""
        response = shortened(reply)
        try:
            action = parse(reply, self._rules.parser)
        except NotUnderstoodError as error:
            return Turn(response=response, parse_error=str(error))
        if action.kind is FileActionKind.DONE:
            return Turn(response=response, action=action)
        with self.sandbox:
            result = self._box.run(action.command, self._rules.command)
        return Turn(response=response, action=action, observation=result)


def scripted(commands: Sequence[str]) -> Agent:
    """Return an agent that gives these commands in turn, and then stops."""

    def reply(messages: Sequence[Message]) -> str:
        # each turn adds a reply and an observation; a system message is rounded off
        number = (len(messages) - 1) // 2
        return f"```bash\n{commands[number]}\n```" if number < len(commands) else STOP_WORD

    return reply


# --- The log ------------------------------------------------------------------------------------


class RolloutLog:
    """A file of rollouts, one whole JSON line each; a killed writer loses at most its last line.

    It remembers where each rollout stands, and reads only what it is asked for: a long run's log
    holds thousands, most of them of steps long gone. One thread at a time.

    Args:
        path: the file; made when it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._forget()

    def read(self) -> tuple[FileRollout, ...]:
        """Return the rollouts, the later one where a broken one was done again.

        Raises:
            InputError: a line that is not the last is damaged; names file and line.
        """
        self._look()
        return tuple(self.find(self._places).values())

    def find(self, keys: Iterable[Key]) -> Mapping[Key, FileRollout]:
        """Return those of the rollouts that are there.

        Raises:
            InputError: a line that is not the last is damaged; names file and line.
        """
        self._look()
        places = {key: self._places[key] for key in keys if key in self._places}
        if not places:
            return {}
        with self._path.open("rb") as file:
            return {key: self._rollout(file, place) for key, place in places.items()}

    def done(self) -> frozenset[Key]:
        """Return the keys of the rollouts that need not be done again: those with a grade."""
        return frozenset(each.key for each in self.read() if each.grade is not None)

    def append(self, rollout: FileRollout) -> None:
        """Write one rollout as one line, after cutting off what a killed writer left."""
        line = (json.dumps(to_json(rollout)) + "\n").encode()
        self._look()
        with self._path.open("ab+") as file:
            file.truncate(self._end)
            file.write(line)
        self._remember(rollout.key, len(line))

    def _forget(self) -> None:
        self._places: dict[Key, _Place] = {}
        self._end, self._lines = 0, 0  # of what has been looked at: bytes, whole lines

    def _look(self) -> None:
        """Find the rollouts of the lines that were not there when the log was last looked at."""
        size = self._path.stat().st_size if self._path.exists() else 0
        if size < self._end:
            self._forget()
        if size == self._end:
            return
        with self._path.open("rb") as file:
            file.seek(self._end)
            for line in file:
                if line.endswith(b"\n"):
                    self._remember(self._key_of(line), len(line))

    def _remember(self, key: Key, num_bytes: int) -> None:
        self._lines += 1
        self._places[key] = _Place(begin=self._end, line=self._lines)
        self._end += num_bytes

    def _key_of(self, line: bytes) -> Key:
        try:
            facts = json.loads(line)
            return facts["agent"], facts["task_id"], facts["sample"]
        except (ValueError, LookupError, TypeError) as error:
            raise self._damaged(self._lines + 1, error) from None

    def _rollout(self, file: BinaryIO, place: _Place) -> FileRollout:
        file.seek(place.begin)
        try:
            return from_json(FileRollout, json.loads(file.readline()))
        except ValueError as error:
            raise self._damaged(place.line, error) from None

    def _damaged(self, line: int, error: Exception) -> InputError:
        message = f"damaged rollout: {error}"
        return InputError([Problem(message=message, path=self._path, line=line)])


@record
class _Place:
    """Where a rollout stands: its first byte, and its line from 1."""

    begin: int
    line: int
