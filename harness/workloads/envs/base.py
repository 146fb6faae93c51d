"""What an environment is: what an agent is shown, what ends its episode, what it earns.

An environment knows tasks, tools, a parser and a grader. It knows nothing of models, tokens or
training. An episode is::

    shown = environment.reset(task)
    while not (step := environment.step(agent(shown))).stop_reason:
        shown = [Message(role=Role.USER, content=step.shown)]
    outcome = environment.finish(step.stop_reason)

Whatever the agent says or does has a result: an unreadable reply, a command that fails, a workspace
too full to read back, a sandbox or a retriever that breaks on what it asked for. The last is the
agent's own doing as long as another one works right after it: were its episode left out, breaking
its sandbox would raise an agent's rates. `EnvironmentFault` is for what is proven not to be its
doing: no sandbox or retriever works, or it broke before the agent had asked for anything. It says
nothing about the agent, and the episode has no reward.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self, TypeVar

from harness.errors import HarnessError
from harness.records import record
from harness.workloads.inference.chat_template import Message


class StopReason(StrEnum):
    """Why an episode ended. All but the last are the agent's own doing."""

    TASK_COMPLETE = "task_complete"  # it said that it was done
    ANSWERED = "answered"
    MAX_TURNS = "max_turns"
    OUT_OF_CALLS = "out_of_calls"  # it searched once more than it may
    NO_FORMAT = "no_format"  # a reply was neither a call nor an answer
    CONTEXT_FULL = "context_full"  # the conversation outgrew the model
    WORKSPACE_OVERFLOW = "workspace_overflow"  # it left more than is read back
    TOOL_BROKEN = "tool_broken"  # what it asked for broke its sandbox or retriever; another works
    ERROR = "error"  # the engine or the environment broke


class EnvironmentFault(HarnessError):  # noqa: N818 - a state, not a mistake
    """No sandbox or retriever works, whatever the agent did; the message is the cause."""


class EnvironmentTask(Protocol):
    """What an agent is asked to do."""

    @property
    def task_id(self) -> str:
        """Names it; no other task of a run has the same."""
        ...


@record
class StepResult:
    """What one reply led to.

    Attributes:
        shown: the user's message that follows; empty where the episode has ended.
        reward: what the turn earned by itself; 0 where an environment has no such thing.
        stop_reason: None while the episode goes on.
    """

    shown: str = ""
    reward: float = 0.0
    stop_reason: StopReason | None = None


TaskT = TypeVar("TaskT", bound=EnvironmentTask)
TaskT_contra = TypeVar("TaskT_contra", bound=EnvironmentTask, contravariant=True)
EpisodeT = TypeVar("EpisodeT")
EpisodeT_co = TypeVar("EpisodeT_co", covariant=True)


@record
class EpisodeOutcome:
    """How an episode came out.

    Attributes:
        stop_reason: as given to `Environment.finish`, or what was found there.
        reward: of the whole episode.
    """

    stop_reason: StopReason
    reward: float


class Environment(Protocol[TaskT_contra, EpisodeT_co]):
    """One place where one agent at a time works on one task; what it needs is open in its block.

    Every method raises `EnvironmentFault` for what is not the agent's doing.
    """

    def __enter__(self) -> Self:
        """Open what episodes need, such as a sandbox."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        ...

    @property
    def settings(self) -> str:
        """What decides an episode beside task and agent; others under this name are comparable."""
        ...

    def reset(self, task: TaskT_contra) -> Sequence[Message]:
        """Begin an episode; return what the agent is told first."""
        ...

    def step(self, reply: str) -> StepResult:
        """Do what a reply asks for."""
        ...

    def finish(self, stop_reason: StopReason) -> EpisodeOutcome:
        """Grade what the agent has come to."""
        ...

    @property
    def episode(self) -> EpisodeT_co:
        """What has happened since `reset`, as a record that goes to JSON and back."""
        ...
