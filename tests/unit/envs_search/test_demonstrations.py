from __future__ import annotations

from random import Random

import pytest

from harness.workloads.envs.search.demonstrations import (
    FIRST_SEED,
    NONE,
    Demonstrator,
    Faults,
    conversation,
)
from harness.workloads.envs.search.protocol import (
    MAX_CALLS,
    SearchActionKind,
    SearchPromptStyle,
    parse,
)
from harness.workloads.envs.search.world import World
from harness.workloads.inference.chat_template import Message, Role

from .fakes import Shelf

_WORLD = World(0, 20)
_RETRIEVER = Shelf(_WORLD.passages)


def _random() -> Random:
    return Random(1)  # noqa: S311 - no secret


def _actions(messages: list[Message]) -> list[tuple[SearchActionKind, str]]:
    found = []
    for message in messages:
        if message.role is Role.ASSISTANT:
            action = parse(message.content, SearchPromptStyle.BRIEF)
            assert action is not None
            found.append((action.kind, action.text))
    return found


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_the_oracle_searches_for_each_fact_and_answers(hops: int) -> None:
    (question,) = _WORLD.questions(0, 1, (hops,))
    messages = conversation(question, _RETRIEVER, _random(), NONE)
    searches = [(SearchActionKind.SEARCH, fact.phrase) for fact in question.hops]
    assert _actions(messages) == [*searches, (SearchActionKind.ANSWER, question.answer)]
    assert [each.role for each in messages] == [Role.USER, Role.ASSISTANT] * (hops + 1)


def test_what_is_shown_is_what_the_retriever_found() -> None:
    (question,) = _WORLD.questions(0, 1, (2,))
    messages = conversation(question, _RETRIEVER, _random(), NONE)
    for fact, shown in zip(question.hops, messages[2::2], strict=True):
        assert fact.passage.partition("\n")[2] in shown.content


def test_giving_up_answers_with_what_was_found_on_the_way() -> None:
    (question,) = _WORLD.questions(0, 1, (3,))
    actions = _actions(conversation(question, _RETRIEVER, _random(), Faults(give_up=1.0)))
    first = question.hops[0]
    assert actions == [
        (SearchActionKind.SEARCH, first.phrase),
        (SearchActionKind.ANSWER, first.value),
    ]


def test_waste_searches_for_another_fact_of_the_same_name() -> None:
    (question,) = _WORLD.questions(0, 1, (1,))
    actions = _actions(conversation(question, _RETRIEVER, _random(), Faults(waste=1.0)))
    assert [kind for kind, _ in actions] == [
        SearchActionKind.SEARCH,
        SearchActionKind.SEARCH,
        SearchActionKind.ANSWER,
    ]
    wasted, fact = actions[0][1], question.hops[0]
    assert wasted.endswith(f" of {fact.subject}")
    assert wasted != fact.phrase
    assert actions[-1][1] == question.answer


def test_waste_never_takes_a_call_that_a_fact_needs() -> None:
    for question in _WORLD.questions(0, 20, (3,)):
        actions = _actions(conversation(question, _RETRIEVER, _random(), Faults(waste=1.0)))
        assert len(actions) - 1 == MAX_CALLS
        assert actions[-1][1] == question.answer


def test_a_demonstrator_goes_through_worlds_that_nobody_plays_in() -> None:
    opened = []

    def open_(passages: tuple[str, ...]) -> Shelf:
        opened.append(passages)
        return Shelf(passages)

    demonstrator = Demonstrator(_random(), open_, 20)  # type: ignore[arg-type]
    asked = {demonstrator.draw((1, 2, 3), NONE)[0].content for _ in range(200)}
    assert len(asked) == 200
    assert len(opened) == 3
    assert _WORLD.passages not in opened
    assert FIRST_SEED > 99_999  # the largest seed of a world that is played in


def test_only_questions_of_the_wanted_length_are_drawn() -> None:
    demonstrator = Demonstrator(_random(), Shelf, 20)
    lengths = {len(demonstrator.draw((1,), NONE)) for _ in range(50)}
    assert lengths == {4}
