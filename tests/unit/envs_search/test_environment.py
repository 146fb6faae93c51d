from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest

from harness.errors import HostError
from harness.workloads.envs.base import StopReason
from harness.workloads.envs.search.environment import (
    SearchEnvironment,
    SearchEpisode,
    eval_results,
)
from harness.workloads.envs.search.protocol import answer, search
from harness.workloads.envs.search.retriever import Hit
from harness.workloads.envs.search.world import Question, World
from harness.workloads.inference.chat_template import ChatTemplate
from harness.workloads.inference.engine import EngineError, SamplingParams
from harness.workloads.inference.service import ServiceDied
from harness.workloads.rl.rollout import Rollout, TurnTrace
from harness.workloads.rl.runner import EnginePolicy, Runner, run_episode

from .fakes import END, Letters, Say, SayingEngine, Shelf, logprob

_WORLD = World(0, 20)
_QUESTION = _WORLD.questions(0, 3, (3,))[0]
_SHELF = Shelf(_WORLD.passages)


def _policy(say: Say, max_model_len: int = 10_000) -> tuple[EnginePolicy, SayingEngine]:
    engine = SayingEngine(say, max_model_len)
    policy = EnginePolicy(
        name="voice",
        engine=engine,
        chat_template=ChatTemplate(Letters()),
        sampling=SamplingParams(temperature=1.0, max_new_tokens=64, seed=5),
        seed_has_draw=False,
    )
    return policy, engine


def _played(policy: EnginePolicy) -> Rollout[SearchEpisode]:
    with SearchEnvironment(_SHELF) as environment:
        return run_episode(policy, environment, _QUESTION)


def _turns(rollout: Rollout[SearchEpisode]) -> tuple[TurnTrace, ...]:
    assert rollout.trace is not None
    return rollout.trace.turns


def _runner(max_concurrency: int) -> Runner[Question, SearchEpisode]:
    return Runner(environment=partial(SearchEnvironment, _SHELF), max_concurrency=max_concurrency)


def _in_turn(*replies: str) -> Say:
    left = iter(replies)
    return lambda _prompt, _seed: next(left)


def _oracle(question: Question) -> Sequence[str]:
    return (*(search(fact.phrase) for fact in question.hops), answer(question.answer))


def test_the_oracle_finds_every_fact_and_is_right() -> None:
    policy, _ = _policy(_in_turn(*_oracle(_QUESTION)))
    rollout = _played(policy)
    assert rollout.stop_reason is StopReason.ANSWERED
    assert rollout.reward == 1.0
    assert [call.passages[0] for call in rollout.episode.calls] == [
        f.passage for f in _QUESTION.hops
    ]


def test_a_wrong_answer_earns_nothing_and_no_format_less() -> None:
    policy, _ = _policy(_in_turn(answer("Nobody")))
    wrong = _played(policy)
    assert (wrong.stop_reason, wrong.reward) == (StopReason.ANSWERED, 0.0)
    policy, _ = _policy(_in_turn("Nobody"))
    silent = _played(policy)
    assert (silent.stop_reason, silent.reward, silent.episode.answer) == (
        StopReason.NO_FORMAT,
        -1.0,
        None,
    )


def test_the_seventh_search_is_one_too_many() -> None:
    policy, engine = _policy(lambda _prompt, _seed: search("mayor"))
    rollout = _played(policy)
    assert (rollout.stop_reason, rollout.reward) == (StopReason.OUT_OF_CALLS, -1.0)
    assert (len(rollout.episode.calls), len(_turns(rollout)), len(engine.prompts)) == (6, 7, 7)


def test_a_reply_that_is_cut_is_in_no_format() -> None:
    policy, _ = _policy(_in_turn(search("x" * 100)))
    rollout = _played(policy)
    assert rollout.stop_reason is StopReason.NO_FORMAT
    assert len(_turns(rollout)[0].reply) == 64


def test_a_full_context_is_the_models_own_doing() -> None:
    policy, _ = _policy(_in_turn(*_oracle(_QUESTION)), max_model_len=150)
    rollout = _played(policy)
    assert (rollout.stop_reason, rollout.reward) == (StopReason.CONTEXT_FULL, -1.0)
    assert 0 < len(_turns(rollout)) < 4


def test_what_broke_has_a_cause_and_no_reward() -> None:
    policy, _ = _policy(_in_turn(search("mayor"), "break"))
    rollout = _played(policy)
    assert (rollout.stop_reason, rollout.reward) == (StopReason.ERROR, None)
    assert rollout.error == "the server has gone"


def test_the_trace_holds_what_was_drawn_and_every_prompt_in_full() -> None:
    replies = _oracle(_QUESTION)
    policy, engine = _policy(_in_turn(*replies))
    turns = _turns(_played(policy))
    for number, turn in enumerate(turns):
        assert turn.reply == (*map(ord, replies[number]), END)
        before = [t for each in turns[:number] for t in (*each.context, *each.reply)]
        assert engine.prompts[number] == "".join(map(chr, (*before, *turn.context)))
        start = len(before) + len(turn.context)
        assert turn.logprobs == tuple(
            logprob(token, start + at) for at, token in enumerate(turn.reply)
        )


def test_every_reply_has_a_seed_of_its_own_that_no_order_changes() -> None:
    def say(prompt: str, _seed: int) -> str:
        return search("mayor") if prompt.count("<search>") < 2 else answer("x")

    seeds = []
    for threads in (1, 8):
        policy, engine = _policy(say)
        _runner(threads).run(policy, _WORLD.questions(0, 4, (1, 2)), num_samples=3)
        seeds.append(sorted(engine.seeds))
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == len(seeds[0]) == 4 * 3 * 3


def test_rollouts_come_in_the_order_of_questions_and_samples() -> None:
    policy, _ = _policy(lambda _prompt, _seed: answer("x"))
    questions = _WORLD.questions(0, 3, (1,))
    played = _runner(4).run(policy, questions, num_samples=2)
    expected = [(question.task_id, sample) for question in questions for sample in range(2)]
    assert [(each.task_id, each.sample) for each in played] == expected


# --- What is not the agent's doing ----------------------------------------------------------------

_QUESTIONS = _WORLD.questions(0, 10, (1, 2, 3))


def _right(prompt: str, _seed: int) -> str:
    """Answer at once, and rightly."""
    return answer(next(each.answer for each in _QUESTIONS if each.text in prompt))


def _dies_after(answers: int) -> Say:
    left = iter(range(answers))
    return lambda prompt, seed: "break" if next(left, None) is None else _right(prompt, seed)


@pytest.mark.parametrize("num_samples", [1, 4])  # held out, and a group of training rollouts
def test_a_server_that_dies_leaves_no_figure_of_what_it_answered_before(num_samples: int) -> None:
    """Once three right answers of ten made an exact match of 1.0."""
    policy, _ = _policy(_dies_after(3))
    with pytest.raises(HostError, match=r"rollouts of voice broke, and 0 may: the server has gone"):
        _runner(1).run(policy, _QUESTIONS, num_samples)


def test_nothing_is_made_of_rollouts_that_all_broke() -> None:
    policy, _ = _policy(lambda _prompt, _seed: "break")
    with pytest.raises(HostError, match="2 rollouts of voice broke, and 0 may: the server has"):
        _runner(2).run(policy, [_QUESTION], num_samples=2)


class _Failing(Shelf):
    """Breaks at the first searches, and works from then on."""

    def __init__(self, error: EngineError, times: int = 1) -> None:
        super().__init__(_WORLD.passages)
        self._errors = [error] * times

    def search(self, query: str, count: int) -> tuple[Hit, ...]:
        if self._errors:
            raise self._errors.pop()
        return super().search(query, count)


class _Picky(Shelf):
    """Breaks at whatever asks for a mayor."""

    def search(self, query: str, count: int) -> tuple[Hit, ...]:
        if query == "mayor":
            message = "400: no such query"
            raise EngineError(message)
        return super().search(query, count)


def _searching_once(prompt: str, _seed: int) -> str:
    return search("mayor") if "<search>" not in prompt else answer("x")


@pytest.mark.parametrize(("num_samples", "is_tolerated"), [(9, False), (10, True)])
def test_one_rollout_in_a_hundred_may_break_and_counts_nowhere(
    num_samples: int,
    is_tolerated: bool,  # noqa: FBT001
) -> None:
    policy, _ = _policy(_searching_once)
    shelf = _Failing(EngineError("the retriever stumbles"), times=3)
    runner = Runner(environment=partial(SearchEnvironment, shelf), max_concurrency=1)
    if not is_tolerated:
        with pytest.raises(HostError, match="1 of 90 rollouts of voice broke, and 0 may"):
            runner.run(policy, _QUESTIONS, num_samples)
        return
    played = runner.run(policy, _QUESTIONS, num_samples)
    (broken,) = (each for each in played if each.is_error)
    assert (broken.reward, broken.error) == (None, "the retriever stumbles")
    counted = [each.episode for each in played if not each.is_error]
    assert eval_results(counted).rollouts == 99


def test_a_retriever_that_stumbles_is_asked_again() -> None:
    policy, _ = _policy(_in_turn(search("mayor"), answer("x")))
    shelf = _Failing(EngineError("the retriever stumbles"))
    with SearchEnvironment(shelf) as environment:
        rollout = run_episode(policy, environment, _QUESTION)
    assert rollout.stop_reason is StopReason.ANSWERED
    assert len(rollout.episode.calls) == 1


def test_a_query_that_breaks_the_retriever_and_no_other_is_the_agents_own_doing() -> None:
    policy, _ = _policy(_in_turn(search("mayor")))
    with SearchEnvironment(_Picky(_WORLD.passages)) as environment:
        rollout = run_episode(policy, environment, _QUESTION)
    assert (rollout.stop_reason, rollout.reward) == (StopReason.TOOL_BROKEN, -1.0)
    assert (rollout.is_error, rollout.error) == (False, "")


def test_a_retriever_of_the_run_that_has_ended_ends_the_run() -> None:
    policy, _ = _policy(_searching_once)
    shelf = _Failing(ServiceDied("service retriever ended with exit code 1", ()))
    runner = Runner(environment=partial(SearchEnvironment, shelf), max_concurrency=1)
    with pytest.raises(ServiceDied, match="service retriever ended"):
        runner.run(policy, _QUESTIONS, num_samples=50)
