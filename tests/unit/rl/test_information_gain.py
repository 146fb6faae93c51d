from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest

from harness.workloads.envs.base import StopReason
from harness.workloads.envs.search.environment import SearchEnvironment, SearchEpisode
from harness.workloads.envs.search.protocol import (
    SearchPromptStyle,
    answer,
    before_answer,
    search,
)
from harness.workloads.envs.search.world import World
from harness.workloads.inference.chat_template import ChatTemplate
from harness.workloads.inference.engine import SamplingParams
from harness.workloads.models.example import Example
from harness.workloads.rl.advantages import UnscorableError, groups
from harness.workloads.rl.algorithms import a2tgpo
from harness.workloads.rl.algorithms.a2tgpo import ContextEnd, GainOf
from harness.workloads.rl.algorithms.information_gain import (
    Probing,
    by_engine,
    gold_answer,
    probes,
)
from harness.workloads.rl.rollout import Rollout, Trace
from harness.workloads.rl.runner import EnginePolicy, Runner
from tests.unit.envs_search.fakes import Letters, SayingEngine, Shelf, logprob

_WORLD = World(0, 20)
_QUESTIONS = _WORLD.questions(0, 2, (2,))
_QUESTION = _QUESTIONS[0]
_TEMPLATE = ChatTemplate(Letters())
_BEFORE = before_answer(SearchPromptStyle.BRIEF)
_GOLD = gold_answer(_BEFORE, _QUESTION.answer, _TEMPLATE)
_PROBING = Probing(
    gold={each.task_id: gold_answer(_BEFORE, each.answer, _TEMPLATE) for each in _QUESTIONS},
    chat_template=_TEMPLATE,
    end=ContextEnd.RESULT,
    gain_of=GainOf.PROBABILITY,
)
_KEY = ("voice", _QUESTION.task_id, 0)


def _say(prompt: str, _seed: int) -> str:
    calls = prompt.count("<search>")
    return search(f"call {calls}") if calls < 2 else answer("x")


def _engine() -> SayingEngine:
    return SayingEngine(_say)


def _played(num_samples: int) -> tuple[Rollout[SearchEpisode], ...]:
    policy = EnginePolicy(
        name="voice",
        engine=_engine(),
        chat_template=_TEMPLATE,
        sampling=SamplingParams(temperature=1.0, max_new_tokens=64, seed=5),
    )
    runner = Runner(
        environment=partial(SearchEnvironment, Shelf(_WORLD.passages)), max_concurrency=1
    )
    return runner.run(policy, _QUESTIONS, num_samples)


def _rollout() -> Rollout[SearchEpisode]:
    return _played(1)[0]


def _trace() -> Trace:
    trace = _rollout().trace
    assert trace is not None
    return trace


def _text(example: Example) -> str:
    return "".join(map(chr, example.tokens))


def test_the_answer_stands_behind_the_question_and_behind_every_result() -> None:
    texts = list(map(_text, probes(_trace(), _GOLD, _TEMPLATE, ContextEnd.RESULT)))
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
    whole = probes(_trace(), _GOLD, _TEMPLATE, ContextEnd.RESULT)
    cut = probes(_trace(), _GOLD, _TEMPLATE, ContextEnd.CALL)
    assert cut[:-1] == whole[:-1]
    assert _text(cut[-1]).endswith(f"a:{search('call 1')}<answer>{_QUESTION.answer}")


def test_only_the_gold_answers_tokens_are_scored() -> None:
    for probe in probes(_trace(), _GOLD, _TEMPLATE, ContextEnd.RESULT):
        scored = "".join(chr(probe.tokens[at]) for at in probe.trained)
        assert scored == _QUESTION.answer


def test_an_answer_without_a_call_has_one_probe_and_no_gain() -> None:
    one = replace(_trace(), turns=_trace().turns[:1])
    assert len(probes(one, _GOLD, _TEMPLATE, ContextEnd.CALL)) == 1
    gained = _PROBING.gains([replace(_rollout(), trace=one)], by_engine(_engine(), 1))
    assert gained == {_KEY: ()}


def test_gains_are_differences_of_the_geometric_mean() -> None:
    expected = []
    for probe in probes(_trace(), _GOLD, _TEMPLATE, ContextEnd.RESULT):
        own = [logprob(probe.tokens[at], at) for at in probe.trained]
        expected.append(math.exp(sum(own) / len(own)))
    found = _PROBING.gains([_rollout()], by_engine(_engine(), 2))[_KEY]
    assert found == pytest.approx((expected[1] - expected[0], expected[2] - expected[1]))


def test_what_rollouts_share_is_scored_once() -> None:
    engine = _engine()
    _PROBING.gains(_played(3), by_engine(engine, 1))
    assert len(engine.scored) == len(set(engine.scored)) == 2 * 3  # all samples say the same


def test_groups_hold_gains_and_leave_out_what_broke() -> None:
    played = _played(2)
    broken = replace(played[0], stop_reason=StopReason.ERROR, reward=None)
    rollouts = (broken, *played[1:])
    found = groups(rollouts, _PROBING.gains(rollouts, by_engine(_engine(), 1)))
    assert [len(each.members) for each in found] == [1, 2]
    for group in found:
        a2tgpo.advantages(group, a2tgpo.PAPER)
        assert all(len(each.gains) == 2 for each in group.members)


def test_a_score_that_is_no_number_stops_the_run_and_names_the_rollout() -> None:
    def score(examples: Sequence[Example]) -> list[tuple[float, ...]]:
        return [(math.nan,) * len(each.trained) for each in examples]

    with pytest.raises(UnscorableError, match=f"task {_QUESTION.task_id}, sample 0: information"):
        _PROBING.gains([_rollout()], score)


def test_an_engine_that_scores_too_few_tokens_stops_the_run() -> None:
    class Short(SayingEngine):
        def score(self, tokens: Sequence[int], behind: int = 1) -> tuple[float, ...]:
            return super().score(tokens, behind)[:-1]

    with pytest.raises(UnscorableError, match="log-probabilities of"):
        _PROBING.gains([_rollout()], by_engine(Short(_say), 1))
