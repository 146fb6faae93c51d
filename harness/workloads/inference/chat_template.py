"""A conversation as tokens, piece by piece; a model's own reply is never tokenised again.

What a model drew stays the tokens that it drew: a reply that is made text and tokenised again can
come back as others, and a trainer would then raise the probability of tokens that nobody drew. So
only what lies between two replies is made of text. It is what the chat template puts there, and it
is tokenised by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from harness.errors import InputError, Problem
from harness.records import record
from harness.workloads.inference.engine import Finish, Reply


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@record
class Message:
    """One message of a conversation."""

    role: Role
    content: str


_ASKED, _SAID = Message(role=Role.USER, content="?"), "."  # any words do


class ChatTokenizer(Protocol):
    """What a chat template needs of a tokenizer; those of transformers have it."""

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> Any:
        """Return the conversation as text, where `tokenize` is false."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Return the tokens of a text."""
        ...

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> Any:
        """Return the text of tokens."""
        ...


class ChatTemplate:
    """Turns messages into tokens, for one model; may be used by several threads.

    Args:
        tokenizer: the model's, with its chat template.

    Attributes:
        end: the token after which the template goes on to the next message.

    Raises:
        InputError: the template says something else of a message once another one follows.
    """

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self._tokenizer = tokenizer
        self._lock = threading.Lock()  # transformers' tokenizers are not made for threads
        replies = [Message(role=Role.ASSISTANT, content=f"{_SAID}{number}") for number in range(2)]
        opening = [Message(role=Role.SYSTEM, content=_SAID), _ASKED]
        whole = self._rendered([*opening, replies[0], _ASKED, replies[1], _ASKED])
        parts = [f"{reply.content}{self._text_after(_ASKED.content)}" for reply in replies]
        if whole != "".join((self._rendered(opening), *parts)):
            message = "the chat template does not leave earlier messages as they were"
            raise InputError([Problem(message=message)])
        self.end = self._encoded(self._text_after(_ASKED.content))[0]

    def opening(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Return the prompt of the first turn."""
        return self._encoded(self._rendered(messages))

    def following(self, reply: Sequence[int], content: str) -> tuple[int, ...]:
        """Return what is shown between a reply and the next one: a user's message.

        Args:
            reply: the tokens that were drawn. If they do not end with `end`, as those of a reply
                that was too long do not, the model is shown that token.
            content: what the user says.
        """
        shown = self._encoded(self._text_after(content))
        return shown[1:] if reply and reply[-1] == self.end else shown

    def said(self, text: str) -> tuple[int, ...]:
        """Return a demonstrated reply as tokens, with its end token."""
        return (*self._encoded(text), self.end)

    def exactly(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a text that a model must be able to say.

        Raises:
            InputError: the tokenizer makes another text of it.
        """
        tokens = self._encoded(text)
        if self._decoded(tokens) != text:
            raise InputError([Problem(message=f"the tokenizer cannot say {text}")])
        return tokens

    def text(self, reply: Reply) -> str:
        """Return what a reply says, without the token that ended it."""
        said = reply.tokens[:-1] if reply.finish is Finish.STOP else reply.tokens
        return self._decoded(said)

    def _text_after(self, content: str) -> str:
        """Return what the template puts between a reply and the next one.

        It is taken from a conversation of one reply, so that its cost does not grow with the
        turns; `_require_stable` has looked that this is right.
        """
        asked = Message(role=Role.USER, content=content)
        whole = self._rendered([_ASKED, Message(role=Role.ASSISTANT, content=_SAID), asked])
        return whole[len(self._rendered([_ASKED]) + _SAID) :]

    def _rendered(self, messages: Sequence[Message]) -> str:
        given = [{"role": each.role.value, "content": each.content} for each in messages]
        with self._lock:
            return str(
                self._tokenizer.apply_chat_template(
                    given, tokenize=False, add_generation_prompt=True
                )
            )

    def _encoded(self, text: str) -> tuple[int, ...]:
        with self._lock:
            return tuple(self._tokenizer.encode(text, add_special_tokens=False))

    def _decoded(self, tokens: Sequence[int]) -> str:
        with self._lock:
            return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))


def load_chat_template(folder: Path) -> ChatTemplate:
    """Return the chat template of the model in `folder`."""
    from transformers import AutoTokenizer  # noqa: PLC0415 - torch-free until a model is loaded

    return ChatTemplate(AutoTokenizer.from_pretrained(folder))
