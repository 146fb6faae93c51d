from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.workloads.envs.search.protocol import SearchPromptStyle, answer, search
from harness.workloads.envs.search.rollout import (
    SearchPolicy,
    SearchRollout,
    SearchStopReason,
    run_episode,
    run_episodes,
)
from harness.workloads.envs.search.world import World
from harness.workloads.inference.chat_template import ChatTemplate
from harness.workloads.inference.engine import SamplingParams
from harness.workloads.rl.algorithms import a2tgpo
from harness.workloads.rl.algorithms.a2tgpo import ContextEnd, GainOf
from harness.workloads.rl.information_gain import (
    GainRules,
    by_engine,
    gold_answer,
    groups,
    probes,
    take_gains,
)
from harness.workloads.rl.scores import UnscorableError
from harness.workloads.training.example import Example

from .fakes import Letters, SayingEngine, Shelf, logprob

_WORLD = World(0, 20)
_QUESTIONS = _WORLD.questions(0, 2, (2,))
_QUESTION = _QUESTIONS[0]
_DIALOGUE = ChatTemplate(Letters())
_RULES = GainRules(
    prompt_style=SearchPromptStyle.BRIEF, gain_of=GainOf.PROBABILITY, end=ContextEnd.RESULT
)
_GOLD = gold_answer(_QUESTION.answer, _DIALOGUE, SearchPromptStyle.BRIEF)


def _say(prompt: str, _seed: int) -> str:
    calls = prompt.count("<search>")
    return search(f"call {calls}") if calls < 2 else answer("x")


def _engine() -> SayingEngine:
    return SayingEngine(_say)


def _rollout() -> SearchRollout:
    return run_episode(_player(), _QUESTION, 0)


def _player() -> SearchPolicy:
    return SearchPolicy(
        engine=_engine(),
        chat_template=_DIALOGUE,
        retriever=Shelf(_WORLD.passages),
        sampling=SamplingParams(temperature=1.0, max_new_tokens=64, seed=5),
    )


def _text(example: Example) -> str:
    return "".join(map(chr, example.tokens))


def test_the_answer_stands_behind_the_question_and_behind_every_result() -> None:
    rollout = _rollout()
    texts = list(map(_text, probes(rollout.trace, _GOLD, _DIALOGUE, ContextEnd.RESULT)))
    ending = f"a:<answer>{_QUESTION.answer}"
    question = f"u:{_QUESTION.text}|"
    first = f"a:{search('call 0')}|u:nothing|"
    second = f"a:{search('call 1')}|u:nothing|"
    assert texts == [
        question + ending,
        question + first + ending,
        question + first + second + ending,
    ]


def test_released_the_last_results_is_left_out() -> None:
    rollout = _rollout()
    whole = probes(rollout.trace, _GOLD, _DIALOGUE, ContextEnd.RESULT)
    cut = probes(rollout.trace, _GOLD, _DIALOGUE, ContextEnd.CALL)
    assert cut[:-1] == whole[:-1]
    assert _text(cut[-1]).endswith(f"a:{search('call 1')}<answer>{_QUESTION.answer}")


def test_only_the_gold_answers_tokens_are_scored() -> None:
    for probe in probes(_rollout().trace, _GOLD, _DIALOGUE, ContextEnd.RESULT):
        scored = "".join(chr(probe.tokens[at]) for at in probe.trained)
        assert scored == _QUESTION.answer


def test_an_answer_without_a_call_has_one_probe_and_no_gain() -> None:
    rollout = _rollout()
    one = replace(rollout, trace=replace(rollout.trace, turns=rollout.trace.turns[:1]))
    assert len(probes(one.trace, _GOLD, _DIALOGUE, ContextEnd.CALL)) == 1
    gained = take_gains(
        [one], {_QUESTION.key: _QUESTION}, _DIALOGUE, by_engine(_engine(), 1), _RULES
    )
    assert gained == {(_QUESTION.key, 0): ()}


def test_gains_are_differences_of_the_geometric_mean() -> None:
    rollout = _rollout()
    expected = []
    for probe in probes(rollout.trace, _GOLD, _DIALOGUE, ContextEnd.RESULT):
        own = [logprob(probe.tokens[at], at) for at in probe.trained]
        expected.append(math.exp(sum(own) / len(own)))
    found = take_gains(
        [rollout], {_QUESTION.key: _QUESTION}, _DIALOGUE, by_engine(_engine(), 2), _RULES
    )[_QUESTION.key, 0]
    assert found == pytest.approx((expected[1] - expected[0], expected[2] - expected[1]))


def test_what_rollouts_share_is_scored_once() -> None:
    engine = _engine()
    played = run_episodes(_player(), _QUESTIONS, samples=3, max_concurrency=1)
    questions = {each.key: each for each in _QUESTIONS}
    take_gains(played, questions, _DIALOGUE, by_engine(engine, 1), _RULES)
    assert len(engine.scored) == len(set(engine.scored)) == 2 * 3  # all samples say the same


def test_groups_hold_gains_and_leave_out_what_broke() -> None:
    played = run_episodes(_player(), _QUESTIONS, samples=2, max_concurrency=1)
    broken = replace(played[0], stopped=SearchStopReason.BROKEN, reward=None)
    rollouts = (broken, *played[1:])
    questions = {each.key: each for each in _QUESTIONS}
    gained = take_gains(rollouts, questions, _DIALOGUE, by_engine(_engine(), 1), _RULES)
    found = groups(rollouts, gained)
    assert [len(each.members) for each in found] == [1, 2]
    for group in found:
        a2tgpo.credit(group, a2tgpo.PAPER)
        assert all(len(each.gains) == 2 for each in group.members)


def test_a_score_that_is_no_number_stops_the_run_and_names_the_rollout() -> None:
    def score(examples: Sequence[Example]) -> list[tuple[float, ...]]:
        return [(math.nan,) * len(each.trained) for each in examples]

    with pytest.raises(UnscorableError, match=f"question {_QUESTION.key}, sample 0: information"):
        take_gains([_rollout()], {_QUESTION.key: _QUESTION}, _DIALOGUE, score, _RULES)


def test_an_engine_that_scores_too_few_tokens_stops_the_run() -> None:
    class Short(SayingEngine):
        def score(self, tokens: Sequence[int]) -> tuple[float, ...]:
            return super().score(tokens)[:-1]

    with pytest.raises(UnscorableError, match="log-probabilities of"):
        take_gains(
            [_rollout()], {_QUESTION.key: _QUESTION}, _DIALOGUE, by_engine(Short(_say), 1), _RULES
        )
