from __future__ import annotations

from collections import Counter

import pytest

from harness.workloads.envs.search.world import RELATIONS, EntityType, World


def test_a_seed_makes_the_same_world_and_another_one_another() -> None:
    assert World(1, 20).facts == World(1, 20).facts
    assert World(1, 20).facts != World(2, 20).facts


def test_every_name_has_one_fact_of_each_of_its_kinds_relations() -> None:
    facts = World(0, 20).facts
    assert len(facts) == 3 * 3 * 20
    phrases = Counter(fact.phrase for fact in facts)
    assert set(phrases.values()) == {1}
    assert all(fact.subject != fact.value for fact in facts)


def test_relations_lead_from_each_kind_to_every_kind() -> None:
    for relations in RELATIONS.values():
        assert set(relations.values()) == set(EntityType)


def test_no_word_of_a_relation_is_another_ones() -> None:
    words = [relation for relations in RELATIONS.values() for relation in relations]
    assert len(set(words)) == len(words) == 9


def test_each_hop_begins_where_the_last_one_ended() -> None:
    questions = World(0, 20).questions(0, 60, (1, 2, 3))
    assert Counter(len(each.hops) for each in questions) == {1: 20, 2: 20, 3: 20}
    for question in questions:
        for one, following in zip(question.hops, question.hops[1:], strict=False):
            assert one.value == following.subject
        names = [fact.subject for fact in question.hops] + [question.answer]
        assert len(set(names)) == len(names)


def test_a_question_says_the_last_relation_first() -> None:
    question = next(each for each in World(0, 20).questions(0, 9, (3,)))
    first, second, third = question.hops
    assert question.text == (
        f"What is the {third.relation} of the {second.relation} of the "
        f"{first.relation} of {first.subject}?"
    )
    assert question.answer not in question.text


def test_no_question_comes_twice() -> None:
    questions = World(0, 20).questions(0, 300, (1, 2))
    assert (
        len({each.hops for each in questions}) == len({each.task_id for each in questions}) == 300
    )


def test_a_world_that_is_exhausted_says_so() -> None:
    with pytest.raises(ValueError, match="no more questions of 1 hops"):
        World(0, 2).questions(0, 100, (1,))


def test_a_passage_has_a_title_and_a_text() -> None:
    fact = World(0, 20).facts[0]
    assert fact.passage == (
        f'"{fact.subject}"\nThe {fact.relation} of {fact.subject} is {fact.value}.'
    )
