from __future__ import annotations

import pytest

from harness.workloads.envs.search.protocol import (
    SearchAction,
    SearchActionKind,
    SearchPromptStyle,
    answer,
    is_right,
    opening,
    parse,
    result,
    search,
)
from harness.workloads.inference.chat_template import Role

_BRIEF, _ARTICLE = SearchPromptStyle.BRIEF, SearchPromptStyle.ARTICLE


def test_what_is_said_is_understood() -> None:
    assert parse(search("mayor of Tavo"), _BRIEF) == SearchAction(
        kind=SearchActionKind.SEARCH, text="mayor of Tavo"
    )
    assert parse(answer("Merin"), _BRIEF) == SearchAction(
        kind=SearchActionKind.ANSWER, text="Merin"
    )


@pytest.mark.parametrize(
    "reply",
    [
        *("", "Merin", "<search></search>", "<answer> </answer>", "<search>a", "a</answer>"),
        "<search>a</answer>",
        "<search>a</search><search>b</search>",
        "<search>a</search><answer>b</answer>",
        "<answer><answer>a</answer>",
        "<answer>a</answer> and more",
        "<think><answer>a</answer></think>",
    ],
)
def test_anything_else_is_in_no_format(reply: str) -> None:
    assert parse(reply, _BRIEF) is None


def test_thought_does_not_count() -> None:
    reply = "<think>I could <search>a</search></think>\n\n<search>\nmayor\n</search>\n"
    assert parse(reply, _BRIEF) == SearchAction(kind=SearchActionKind.SEARCH, text="mayor")


def test_the_articles_wording_wants_a_box() -> None:
    boxed = r"<answer>The answer is \[ \boxed{Merin Tavo} \]</answer>"
    assert parse(boxed, _ARTICLE) == SearchAction(kind=SearchActionKind.ANSWER, text="Merin Tavo")
    assert parse("<answer>Merin</answer>", _ARTICLE) is None
    assert parse(r"<answer>\boxed{ }</answer>", _ARTICLE) is None


@pytest.mark.parametrize(
    ("said", "right"),
    [
        *(("Merin", True), (" the  MERIN. ", True), ("Merin Tavo", False)),
        *(("Merinos", False), ("", False), ("An apple", False)),
    ],
)
def test_case_articles_and_signs_do_not_count(said: str, right: bool) -> None:  # noqa: FBT001
    assert is_right(said, "Merin") is right


def test_the_brief_wording_shows_texts_and_the_articles_titles_too() -> None:
    passages = ['"Tavo"\nThe mayor of Tavo is Merin.', '"Beri"\nThe twin of Beri is Tavo.']
    assert result(passages, _BRIEF) == "The mayor of Tavo is Merin.\nThe twin of Beri is Tavo."
    assert '1. "Tavo"\nThe mayor' in result(passages, _ARTICLE)


def test_nothing_found_is_said() -> None:
    assert result((), _BRIEF) == "nothing"
    assert "Nothing was found." in result((), _ARTICLE)


def test_only_the_articles_wording_explains_itself() -> None:
    assert [each.role for each in opening("Who?", _BRIEF)] == [Role.USER]
    system, asked = opening("Who?", _ARTICLE)
    assert (system.role, asked.content) == (Role.SYSTEM, "Who?")
    assert "search 6 times" not in asked.content
    assert "6 times" in system.content
