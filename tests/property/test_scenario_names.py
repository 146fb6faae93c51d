"""A word names a scenario: its id, its number, or a beginning that no other has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.scenario.folders import scenario_named

_words = st.text("abc09", min_size=1, max_size=3)
_shorts = st.integers(0, 40).map(lambda number: f"a{number}") | st.sampled_from(["cpt", "cp", "b"])
_ids = st.tuples(_shorts, st.lists(_words, max_size=2)).map(lambda it: "-".join([it[0], *it[1]]))
# no two of one number: a project that has two is asked for whole ids
_names = st.lists(_ids, min_size=1, max_size=8, unique_by=lambda name: name.partition("-")[0])


@st.composite
def _names_and_one(draw: st.DrawFn) -> tuple[list[str], str]:
    names = draw(_names)
    return names, draw(st.sampled_from(names))


@given(_names_and_one())
def test_an_id_and_its_number_always_name_it(drawn: tuple[list[str], str]) -> None:
    names, name = drawn
    for word in (name, name.partition("-")[0]):
        assert scenario_named(word, names) == scenario_named(word.upper(), names) == name
    letter, number = name[0], name.partition("-")[0][1:]
    if letter == "a" and number.isdecimal():
        assert scenario_named(number, names) == name


@given(_names_and_one(), st.data())
def test_a_beginning_names_the_only_one_that_has_it(
    drawn: tuple[list[str], str], data: st.DataObject
) -> None:
    names, name = drawn
    word = name[: data.draw(st.integers(1, len(name)))]
    whole = [each for each in names if each == word or each.partition("-")[0] == word]
    having = [each for each in names if each.startswith(word)]
    if len(whole or having) == 1:
        assert scenario_named(word, names) == (whole or having)[0]
    else:
        with pytest.raises(InputError) as refused:
            scenario_named(word, names)
        assert str(refused.value) == (
            f"{word}: is the beginning of more than one scenario (allowed: {', '.join(having)})"
        )


@given(_names, st.text(max_size=12))
def test_any_word_names_one_of_them_or_is_refused_once(names: list[str], word: str) -> None:
    try:
        named = scenario_named(word, names)
    except InputError as error:
        problems = error.problems
    else:
        assert named in names
        return
    assert len(problems) == 1


def test_nothing_is_the_beginning_of_nothing() -> None:
    with pytest.raises(InputError, match="unknown scenario"):
        scenario_named("", ["a1-only"])


def test_a_number_has_its_letter_supplied_in_a_beginning_too() -> None:
    names = ["a34-t2po-rl", "a35-loop"]
    assert scenario_named("34-t2", names) == scenario_named("A34-T2", names) == "a34-t2po-rl"


def test_a_misspelt_one_has_a_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'a34-t2po-rl'"):
        scenario_named("a34-tpo2", ["a34-t2po-rl", "a35-loop"])
