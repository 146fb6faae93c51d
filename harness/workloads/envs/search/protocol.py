"""What an agent that searches is told, and how its replies are understood. Loads no torch.

A reply is one call, ``<search>query</search>``, or one answer, ``<answer>text</answer>``; what
stands before it is thought. The paper writes everything into one reply of the model, its tool's
results among it; here every call ends a reply and its result is a user's message, so that the model
is never trained on what it did not draw, by construction instead of by a mask.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from enum import StrEnum

from harness.records import record
from harness.workloads.inference.chat_template import Message, Role

MAX_CALLS = 6  # article 36, the paper's table 3
TOP_K = 3  # passages a call
NO_FORMAT_REWARD = -1.0  # a reply that is neither a call nor an answer, and no answer at all

_ACTION = re.compile(r"<(search|answer)>(.*?)</\1>", re.DOTALL)
_TAG = re.compile(r"</?(?:search|answer)>")
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


class SearchPromptStyle(StrEnum):
    """How the agent is spoken to."""

    BRIEF = "brief"  # for a model of a million parameters
    ARTICLE = "article"  # asks for the tags and the box that the paper's reward looks for


class SearchActionKind(StrEnum):
    """What a reply does."""

    SEARCH = "search"
    ANSWER = "answer"


@record
class SearchAction:
    """A reply, understood."""

    kind: SearchActionKind
    text: str


_SYSTEM = (
    "You answer a question step by step. First think, between <think> and </think>. When you lack "
    "a fact, end your reply with <search>what you look for</search>; you are then shown what an "
    "encyclopedia has on it, between <result> and </result>, and you go on. Once you know the "
    "answer, end your reply with <answer>The answer is \\boxed{exact answer}</answer>. You may "
    f"search {MAX_CALLS} times. A reply has exactly one search or one answer."
)


def opening(question: str, prompt_style: SearchPromptStyle) -> tuple[Message, ...]:
    """Return what is said before the first reply."""
    asked = Message(role=Role.USER, content=question)
    if prompt_style is SearchPromptStyle.BRIEF:
        return (asked,)
    return (Message(role=Role.SYSTEM, content=_SYSTEM), asked)


def result(passages: Sequence[str], prompt_style: SearchPromptStyle) -> str:
    """Return what is said of a call: the passages found, best first."""
    if prompt_style is SearchPromptStyle.BRIEF:
        # a title says nothing here that the text does not say
        return "\n".join(passage.partition("\n")[2] for passage in passages) or "nothing"
    shown = "\n\n".join(f"{number}. {passage}" for number, passage in enumerate(passages, 1))
    return f"<result>\n{shown or 'Nothing was found.'}\n</result>"


def parse(reply: str, prompt_style: SearchPromptStyle) -> SearchAction | None:
    """Return what a reply does; None where its format is not the one asked for.

    Tags within thought do not count. There must be one action, not empty, and nothing after it; in
    the article's prompt_style an answer must be in a box.
    """
    said = reply.rpartition("</think>")[2]
    found = _ACTION.search(said)
    if not found or said[found.end() :].strip() or len(_TAG.findall(said)) != 2:  # noqa: PLR2004 - a pair
        return None
    kind, text = SearchActionKind(found[1]), found[2].strip()
    if kind is SearchActionKind.ANSWER and prompt_style is SearchPromptStyle.ARTICLE:
        boxes = _BOXED.findall(text)
        text = boxes[-1].strip() if boxes else ""
    return SearchAction(kind=kind, text=text) if text else None


def search(query: str) -> str:
    """Return the reply that searches."""
    return f"<search>{query}</search>"


def answer(text: str) -> str:
    """Return the reply that answers, in the brief prompt_style."""
    return f"<answer>{text}</answer>"


def before_answer(prompt_style: SearchPromptStyle) -> str:
    """Return what stands before the gold answer where its probability is taken.

    In the article's style the thought is closed first, as the released code of the paper does.
    """
    if prompt_style is SearchPromptStyle.BRIEF:
        return "<answer>"
    return "<think>\nThat is enough to answer.\n</think>\n\n<answer>The answer is \\boxed{"


def is_right(said: str, gold: str) -> bool:
    """Say whether an answer is the gold one, as benchmarks of questions compare them.

    Case, punctuation, articles and spaces do not count.
    """
    return _bare(said) == _bare(gold)


def _bare(text: str) -> str:
    letters = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(_ARTICLES.sub(" ", letters).split())
