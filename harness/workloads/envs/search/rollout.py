"""A rollout: a model searches until it answers, and every token is kept.

Article 36, section 2 of the paper: at most six calls, three passages each. Two things differ from
the paper's code. A rollout that broke is kept with its cause and earns nothing, neither much nor
little. And a reply in a wrong format ends the rollout.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from enum import StrEnum

from harness.errors import HostError
from harness.records import record
from harness.workloads.envs.files.agent import seed_of
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
from harness.workloads.inference.chat_template import ChatTemplate
from harness.workloads.inference.engine import (
    Engine,
    EngineError,
    PromptTooLongError,
    Reply,
    SamplingParams,
)
from harness.workloads.training.trace import Trace, TurnTrace


class SearchStopReason(StrEnum):
    """Why a rollout ended."""

    ANSWERED = "answered"
    NO_FORMAT = "no_format"  # a reply was neither a call nor an answer
    OUT_OF_CALLS = "out_of_calls"  # it searched once more than it may
    CONTEXT_FULL = "context_full"
    BROKEN = "broken"  # the engine or the retriever, by no fault of the model's


@record
class Call:
    """One search, and what it found."""

    query: str
    passages: tuple[str, ...]


@record
class SearchRollout:
    """One rollout.

    Attributes:
        question: its key.
        sample: which of several rollouts of this question, from 0.
        calls: that were made, in order.
        answer: what it says; None where it gave none.
        stopped: why it ended.
        reward: 1 for the right answer, 0 for a wrong one, -1 for none; None where it broke.
        trace: all its tokens.
        cause: for a rollout that broke, why.
        engine_s: how long the model was waited for, seconds.
        retriever_s: how long searches took, seconds.
    """

    question: str
    sample: int
    calls: tuple[Call, ...]
    answer: str | None
    stopped: SearchStopReason
    reward: float | None
    trace: Trace
    cause: str = ""
    engine_s: float = 0.0
    retriever_s: float = 0.0


@record
class SearchPolicy:
    """Who answers questions, and by what rules.

    Attributes:
        engine: who draws.
        chat_template: of the engine's model.
        retriever: who is asked.
        sampling: how replies are drawn. Its seed is the run's: each reply has one of its own, made
            of this, the question, the sample and the turn.
        prompt_style: how the model is spoken to.
        max_calls: searches, at most.
        retriever_top_k: passages a search shows.
    """

    engine: Engine
    chat_template: ChatTemplate
    retriever: Retriever
    sampling: SamplingParams
    prompt_style: SearchPromptStyle = SearchPromptStyle.BRIEF
    max_calls: int = MAX_CALLS
    retriever_top_k: int = TOP_K


def run_episodes(
    player: SearchPolicy, questions: Iterable[Question], samples: int, max_concurrency: int
) -> tuple[SearchRollout, ...]:
    """Play every question `samples` times, many at once; in the order of questions and samples.

    Raises:
        HostError: all rollouts broke.
    """
    wanted = [(question, sample) for question in questions for sample in range(samples)]
    with ThreadPoolExecutor(max_concurrency) as pool:
        played = tuple(pool.map(lambda each: run_episode(player, *each), wanted))
    if played and all(each.stopped is SearchStopReason.BROKEN for each in played):
        message = f"all {len(played)} rollouts broke: {played[0].cause}"
        raise HostError(message, "run it again once the cause is gone")
    return played


def run_episode(player: SearchPolicy, question: Question, sample: int) -> SearchRollout:
    """Play one question."""
    return _Game(player, question, sample).play()


class _Game:
    """One rollout while it is played."""

    def __init__(self, player: SearchPolicy, question: Question, sample: int) -> None:
        self._player, self._question, self._sample = player, question, sample
        self._served = player.engine.served
        self._turns: list[TurnTrace] = []
        self._tokens: list[int] = []  # everything so far
        self._calls: list[Call] = []
        self._answer: str | None = None
        self._engine_s = self._retriever_s = 0.0

    def play(self) -> SearchRollout:
        stopped, cause = SearchStopReason.BROKEN, ""
        try:
            stopped = self._until_stopped()
        except EngineError as error:
            cause = str(error)
        return SearchRollout(
            question=self._question.key,
            sample=self._sample,
            calls=tuple(self._calls),
            answer=self._answer,
            stopped=stopped,
            reward=self._reward(stopped),
            trace=Trace(turns=tuple(self._turns), served=self._served),
            cause=cause,
            engine_s=self._engine_s,
            retriever_s=self._retriever_s,
        )

    def _until_stopped(self) -> SearchStopReason:
        prompt_style = self._player.prompt_style
        context = self._player.chat_template.opening(opening(self._question.text, prompt_style))
        while True:
            try:
                reply = self._draw(context)
            except PromptTooLongError:
                return SearchStopReason.CONTEXT_FULL
            action = parse(self._player.chat_template.text(reply), prompt_style)
            if action is None:
                return SearchStopReason.NO_FORMAT
            if action.kind is SearchActionKind.ANSWER:
                self._answer = action.text
                return SearchStopReason.ANSWERED
            if len(self._calls) == self._player.max_calls:
                return SearchStopReason.OUT_OF_CALLS
            shown = result(self._search(action.text), prompt_style)
            context = self._player.chat_template.following(reply.tokens, shown)

    def _draw(self, context: Sequence[int]) -> Reply:
        seed = seed_of(
            self._player.sampling.seed, self._question.key, self._sample, len(self._turns)
        )
        sampling = replace(self._player.sampling, seed=seed)
        began = time.monotonic()
        reply = self._player.engine.reply((*self._tokens, *context), sampling)
        self._engine_s += time.monotonic() - began
        turn = TurnTrace(context=tuple(context), reply=reply.tokens, logprobs=reply.logprobs)
        self._turns.append(turn)
        self._tokens += (*turn.context, *turn.reply)
        return reply

    def _search(self, query: str) -> tuple[str, ...]:
        began = time.monotonic()
        hits = self._player.retriever.search(query, self._player.retriever_top_k)
        self._retriever_s += time.monotonic() - began
        passages = tuple(hit.contents for hit in hits)
        self._calls.append(Call(query=query, passages=passages))
        return passages

    def _reward(self, stopped: SearchStopReason) -> float | None:
        if stopped is SearchStopReason.BROKEN:
            return None
        if self._answer is None:
            return NO_FORMAT_REWARD
        return float(is_right(self._answer, self._question.answer))
