from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.errors import HostError
from harness.workloads.envs.search.protocol import answer, search
from harness.workloads.envs.search.rollout import (
    SearchPolicy,
    SearchStopReason,
    run_episode,
    run_episodes,
)
from harness.workloads.envs.search.world import Question, World
from harness.workloads.inference.chat_template import ChatTemplate
from harness.workloads.inference.engine import SamplingParams

from .fakes import END, Letters, Say, SayingEngine, Shelf, logprob

_WORLD = World(0, 20)
_QUESTION = _WORLD.questions(0, 3, (3,))[0]


def _player(say: Say, max_model_len: int = 10_000) -> tuple[SearchPolicy, SayingEngine]:
    engine = SayingEngine(say, max_model_len)
    player = SearchPolicy(
        engine=engine,
        chat_template=ChatTemplate(Letters()),
        retriever=Shelf(_WORLD.passages),
        sampling=SamplingParams(temperature=1.0, max_new_tokens=64, seed=5),
    )
    return player, engine


def _in_turn(*replies: str) -> Say:
    left = iter(replies)
    return lambda _prompt, _seed: next(left)


def _oracle(question: Question) -> Sequence[str]:
    return (*(search(fact.phrase) for fact in question.hops), answer(question.answer))


def test_the_oracle_finds_every_fact_and_is_right() -> None:
    player, _ = _player(_in_turn(*_oracle(_QUESTION)))
    rollout = run_episode(player, _QUESTION, 0)
    assert rollout.stopped is SearchStopReason.ANSWERED
    assert rollout.reward == 1.0
    assert [call.passages[0] for call in rollout.calls] == [f.passage for f in _QUESTION.hops]


def test_a_wrong_answer_earns_nothing_and_no_format_less() -> None:
    player, _ = _player(_in_turn(answer("Nobody")))
    wrong = run_episode(player, _QUESTION, 0)
    assert (wrong.stopped, wrong.reward) == (SearchStopReason.ANSWERED, 0.0)
    player, _ = _player(_in_turn("Nobody"))
    silent = run_episode(player, _QUESTION, 0)
    assert (silent.stopped, silent.reward, silent.answer) == (
        SearchStopReason.NO_FORMAT,
        -1.0,
        None,
    )


def test_the_seventh_search_is_one_too_many() -> None:
    player, engine = _player(lambda _prompt, _seed: search("mayor"))
    rollout = run_episode(player, _QUESTION, 0)
    assert (rollout.stopped, rollout.reward) == (SearchStopReason.OUT_OF_CALLS, -1.0)
    assert (len(rollout.calls), len(rollout.trace.turns), len(engine.prompts)) == (6, 7, 7)


def test_a_reply_that_is_cut_is_in_no_format() -> None:
    player, _ = _player(_in_turn(search("x" * 100)))
    rollout = run_episode(player, _QUESTION, 0)
    assert rollout.stopped is SearchStopReason.NO_FORMAT
    assert len(rollout.trace.turns[0].reply) == 64


def test_a_full_context_is_the_models_own_doing() -> None:
    player, _ = _player(_in_turn(*_oracle(_QUESTION)), max_model_len=150)
    rollout = run_episode(player, _QUESTION, 0)
    assert (rollout.stopped, rollout.reward) == (SearchStopReason.CONTEXT_FULL, -1.0)
    assert 0 < len(rollout.trace.turns) < 4


def test_what_broke_has_a_cause_and_no_reward() -> None:
    player, _ = _player(_in_turn(search("mayor"), "break"))
    rollout = run_episode(player, _QUESTION, 0)
    assert (rollout.stopped, rollout.reward) == (SearchStopReason.BROKEN, None)
    assert rollout.cause == "the server has gone"


def test_the_trace_holds_what_was_drawn_and_every_prompt_in_full() -> None:
    replies = _oracle(_QUESTION)
    player, engine = _player(_in_turn(*replies))
    trace = run_episode(player, _QUESTION, 0).trace
    for number, turn in enumerate(trace.turns):
        assert turn.reply == (*map(ord, replies[number]), END)
        before = [t for each in trace.turns[:number] for t in (*each.context, *each.reply)]
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
        player, engine = _player(say)
        run_episodes(player, _WORLD.questions(0, 4, (1, 2)), samples=3, max_concurrency=threads)
        seeds.append(sorted(engine.seeds))
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == len(seeds[0]) == 4 * 3 * 3


def test_rollouts_come_in_the_order_of_questions_and_samples() -> None:
    player, _ = _player(lambda _prompt, _seed: answer("x"))
    questions = _WORLD.questions(0, 3, (1,))
    played = run_episodes(player, questions, samples=2, max_concurrency=4)
    expected = [(question.key, sample) for question in questions for sample in range(2)]
    assert [(each.question, each.sample) for each in played] == expected


def test_nothing_is_made_of_rollouts_that_all_broke() -> None:
    player, _ = _player(lambda _prompt, _seed: "break")
    with pytest.raises(HostError, match="all 2 rollouts broke: the server has gone"):
        run_episodes(player, [_QUESTION], samples=2, max_concurrency=2)
