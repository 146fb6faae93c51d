from __future__ import annotations

import pytest

from harness.errors import InputError
from harness.workloads.envs.files.protocol import STOP_WORD
from harness.workloads.inference.chat_template import ChatTemplate, Message, Role
from harness.workloads.inference.engine import Finish, Reply
from tests.unit.envs_files.voices import END_TOKEN, Letters

OPENING = [Message(role=Role.SYSTEM, content="Be brief."), Message(role=Role.USER, content="Go.")]


def tokens(text: str) -> tuple[int, ...]:
    return tuple(Letters().encode(text, add_special_tokens=False))


def whole(*messages: Message) -> tuple[int, ...]:
    given = [{"role": each.role.value, "content": each.content} for each in messages]
    letters = Letters()
    return tokens(letters.apply_chat_template(given, tokenize=False, add_generation_prompt=True))


def test_piece_by_piece_gives_what_the_template_gives() -> None:
    template = ChatTemplate(Letters())
    parts = list(template.opening(OPENING))
    messages = list(OPENING)
    for answer, content in (("ls", "exit 0\na b"), ("cat a", ""), ("x\n", "exit 1\n")):
        reply = template.said(answer)
        parts += (*reply, *template.following(reply, content))
        messages += [
            Message(role=Role.ASSISTANT, content=answer),
            Message(role=Role.USER, content=content),
        ]
        assert tuple(parts) == whole(*messages)


def test_an_end_token_that_was_drawn_is_not_shown_again() -> None:
    template = ChatTemplate(Letters())
    drawn = (*map(ord, "ls"), END_TOKEN)  # two letters, where the tokenizer makes one piece
    after = template.following(drawn, "ok")
    assert END_TOKEN not in after[:1]
    assert template.following(drawn[:-1], "ok") == (END_TOKEN, *after)


def test_a_reply_is_read_without_the_token_that_ended_it() -> None:
    template = ChatTemplate(Letters())
    said = template.said("ls")
    ended = Reply(tokens=said, logprobs=(0.0,) * len(said))
    assert template.text(ended) == "ls"
    cut = Reply(tokens=tuple(map(ord, "mkd")), logprobs=(0.0,) * 3, finish=Finish.LENGTH)
    assert template.text(cut) == "mkd"
    other_end = Reply(tokens=(ord("a"), ord("$")), logprobs=(0.0,) * 2)  # a second end token
    assert template.text(other_end) == "a"


def test_the_stop_word_and_the_end_are_found_by_themselves() -> None:
    template = ChatTemplate(Letters())
    assert template.end == END_TOKEN
    assert template.exactly(STOP_WORD) == tokens(STOP_WORD)


class Forgetful(Letters):
    """A template that drops what was thought before, as some models' do."""

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        shown = [each for each in conversation[:-3] if each["role"] != "assistant"]
        return super().apply_chat_template(
            [*shown, *conversation[-3:]],
            tokenize=tokenize,
            add_generation_prompt=add_generation_prompt,
        )


class Shouting(Letters):
    """A tokenizer that has no small letters, and no sign between words."""

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> str:
        text = super().decode(token_ids, skip_special_tokens=skip_special_tokens)
        return text.replace("_", " ")


def test_a_template_that_rewrites_what_was_said_is_refused() -> None:
    with pytest.raises(InputError, match="does not leave earlier messages as they were"):
        ChatTemplate(Forgetful())


def test_a_tokenizer_that_cannot_say_the_stop_word_is_refused() -> None:
    with pytest.raises(InputError, match=f"cannot say {STOP_WORD}"):
        ChatTemplate(Shouting()).exactly(STOP_WORD)
