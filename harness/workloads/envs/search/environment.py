"""Questions of a generated world as an environment: an agent searches until it answers.

Article 36, section 2 of the paper: at most six searches, three passages each. What differs from the
paper's code: a reply in a wrong format ends the episode, and so does a query that the retriever
breaks on twice, as long as it answers another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Self

from harness.records import record
from harness.workloads.envs.base import EnvironmentFault, EpisodeOutcome, StepResult, StopReason
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
from harness.workloads.envs.search.retriever import Hit, Retriever
from harness.workloads.envs.search.world import Question
from harness.workloads.inference.chat_template import Message
from harness.workloads.inference.engine import EngineError
from harness.workloads.inference.service import ServiceDied

_TRIES = 2  # of one query; a server may stumble


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

    def __exit__(self, *_: object) -> None:
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

    def step(self, reply: str) -> StepResult:
        """Understand a reply, and search if it asks for that."""
        action = parse(reply, self._prompt_style)
        if action is None:
            return StepResult(stop_reason=StopReason.NO_FORMAT)
        if action.kind is SearchActionKind.ANSWER:
            self._answer = action.text
            return StepResult(stop_reason=StopReason.ANSWERED)
        if len(self._calls) == self._max_calls:
            return StepResult(stop_reason=StopReason.OUT_OF_CALLS)
        hits = self._search(action.text)
        if hits is None:
            return StepResult(stop_reason=StopReason.TOOL_BROKEN)
        call = Call(query=action.text, passages=tuple(hit.contents for hit in hits))
        self._calls.append(call)
        return StepResult(shown=result(call.passages, self._prompt_style))

    def _search(self, query: str) -> tuple[Hit, ...] | None:
        """Search, twice if need be; None where the retriever answers, but not to this query.

        Raises:
            EnvironmentFault: it does not answer to the question either.
        """
        broken = EngineError()
        for _ in range(_TRIES):
            try:
                return self._retriever.search(query, self._top_k)
            except ServiceDied:
                raise
            except EngineError as error:
                broken = error
        try:
            self._retriever.search(self._question.text, self._top_k)
        except ServiceDied:
            raise
        except EngineError:
            raise EnvironmentFault(str(broken)) from broken
        return None

    def finish(self, stop_reason: StopReason) -> EpisodeOutcome:
        """Compare the answer: 1 for the right one, 0 for a wrong one, -1 for none."""
        reward = float(self.episode.is_right) if self._answer is not None else NO_FORMAT_REWARD
        return EpisodeOutcome(stop_reason=stop_reason, reward=reward)


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
