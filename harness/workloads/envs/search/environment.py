"""Questions of a generated world as an environment: an agent searches until it answers.

Article 36, section 2 of the paper: at most six searches, three passages each. What differs from the
paper's code: a reply in a wrong format ends the episode, and a retriever that broke fails nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from types import TracebackType
from typing import Self

from harness.records import record
from harness.workloads.envs.base import EnvironmentFault, Outcome, Step, StopReason
from harness.workloads.envs.search.protocol import (
    MAX_CALLS,
    NO_FORMAT_REWARD,
    TOP_K,
    SearchActionKind,
    SearchPromptStyle,
    is_right,
    opening,
    parse,
    result,
)
from harness.workloads.envs.search.retriever import Retriever
from harness.workloads.envs.search.world import Question
from harness.workloads.inference.chat_template import Message
from harness.workloads.inference.engine import EngineError
from harness.workloads.inference.service import ServiceDied


@record
class Call:
    """One search, and what it found."""

    query: str
    passages: tuple[str, ...]


@record
class SearchEpisode:
    """What happened.

    Attributes:
        calls: searches, in order.
        answer: what the agent says; None where it gave none.
        is_right: whether that is the right answer.
    """

    calls: tuple[Call, ...]
    answer: str | None
    is_right: bool = False


class SearchEnvironment:
    """The `harness.workloads.envs.base.Environment` of questions.

    Args:
        retriever: who is asked.
        prompt_style: how the agent is spoken to.
        max_calls: searches, at most.
        top_k: passages that a search shows.
    """

    def __init__(
        self,
        retriever: Retriever,
        prompt_style: SearchPromptStyle = SearchPromptStyle.BRIEF,
        max_calls: int = MAX_CALLS,
        top_k: int = TOP_K,
    ) -> None:
        self._retriever, self._prompt_style = retriever, prompt_style
        self._max_calls, self._top_k = max_calls, top_k
        self._calls: list[Call] = []
        self._answer: str | None = None
        self._question: Question

    def __enter__(self) -> Self:
        """Open nothing: the retriever is whoever's made this."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close nothing."""

    @property
    def settings(self) -> str:
        """How the agent is spoken to, how often it may search, and what it is shown."""
        return f"{self._prompt_style} {self._max_calls} calls of {self._top_k}"

    @property
    def episode(self) -> SearchEpisode:
        """What has happened so far."""
        said = self._answer
        right = said is not None and is_right(said, self._question.answer)
        return SearchEpisode(calls=tuple(self._calls), answer=said, is_right=right)

    def reset(self, task: Question) -> Sequence[Message]:
        """Ask a question."""
        self._question, self._calls, self._answer = task, [], None
        return opening(task.text, self._prompt_style)

    def step(self, reply: str) -> Step:
        """Understand a reply, and search if it asks for that."""
        action = parse(reply, self._prompt_style)
        if action is None:
            return Step(stop_reason=StopReason.NO_FORMAT)
        if action.kind is SearchActionKind.ANSWER:
            self._answer = action.text
            return Step(stop_reason=StopReason.ANSWERED)
        if len(self._calls) == self._max_calls:
            return Step(stop_reason=StopReason.OUT_OF_CALLS)
        try:
            hits = self._retriever.search(action.text, self._top_k)
        except ServiceDied:
            raise
        except EngineError as error:
            raise EnvironmentFault(str(error)) from error
        call = Call(query=action.text, passages=tuple(hit.contents for hit in hits))
        self._calls.append(call)
        return Step(shown=result(call.passages, self._prompt_style))

    def finish(self, stop_reason: StopReason) -> Outcome:
        """Compare the answer: 1 for the right one, 0 for a wrong one, -1 for none."""
        reward = float(self.episode.is_right) if self._answer is not None else NO_FORMAT_REWARD
        return Outcome(stop_reason=stop_reason, reward=reward)


@record
class SearchEvalResults:
    """What was counted over some episodes.

    Attributes:
        rollouts: how many.
        exact_match: share that gave the right answer.
        no_answer: share that gave none.
        calls: mean.
    """

    rollouts: int
    exact_match: float
    no_answer: float
    calls: float


def eval_results(episodes: Sequence[SearchEpisode]) -> SearchEvalResults:
    """Count episodes, of which there is at least one; those that broke are not among them."""
    return SearchEvalResults(
        rollouts=len(episodes),
        exact_match=fmean(each.is_right for each in episodes),
        no_answer=fmean(each.answer is None for each in episodes),
        calls=fmean(len(each.calls) for each in episodes),
    )
