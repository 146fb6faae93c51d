"""A tokenizer, an engine and a retriever small enough to be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from harness.workloads.envs.search.retriever import Hit
from harness.workloads.inference.engine import (
    EngineError,
    Finish,
    PromptTooLongError,
    Reply,
    SamplingParams,
)

END = ord("|")  # ends every message; no text of these tests has it


class Letters:
    """A token for each letter; a message is its text and the end token."""

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        assert not tokenize
        said = "".join(f"{each['role'][0]}:{each['content']}|" for each in conversation)
        return f"{said}a:" if add_generation_prompt else said

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        return list(map(ord, text))

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> str:
        assert skip_special_tokens
        return "".join(map(chr, token_ids)).replace("|", "")


Say = Callable[[str, int], str]  # the prompt, the seed -> the reply


class SayingEngine:
    """Says what a function says; its log-probabilities depend on token and place alone."""

    identity = "saying 1"
    served = "base"

    def __init__(self, say: Say, max_model_len: int = 10_000) -> None:
        self.max_model_len = max_model_len
        self.prompts: list[str] = []
        self.seeds: list[int] = []
        self.scored: list[str] = []
        self._say = say

    def reply(self, prompt: Sequence[int], sampling: SamplingParams) -> Reply:
        text = "".join(map(chr, prompt))
        self.prompts.append(text)
        self.seeds.append(sampling.seed)
        if len(prompt) >= self.max_model_len:
            raise PromptTooLongError(text)
        said = self._say(text, sampling.seed)
        if said == "break":
            message = "the server has gone"
            raise EngineError(message)
        tokens = (*map(ord, said), END)[: sampling.max_new_tokens]
        return Reply(
            tokens=tokens,
            logprobs=tuple(logprob(token, len(prompt) + at) for at, token in enumerate(tokens)),
            finish=Finish.STOP if tokens[-1] == END else Finish.LENGTH,
        )

    def score(self, tokens: Sequence[int], behind: int = 1) -> tuple[float, ...]:
        self.scored.append("".join(map(chr, tokens)))
        return tuple(logprob(token, at) for at, token in enumerate(tokens) if at >= behind)

    def wait_until_ready(self) -> None:
        pass

    def refresh(self, adapter: Path | None) -> None:
        raise NotImplementedError


def logprob(token: int, at: int) -> float:
    """Of a token at a place of the conversation."""
    return -((7 * token + 13 * at) % 97 + 1) / 50


class Shelf:
    """Finds the passages that hold every word of the query."""

    def __init__(self, passages: Sequence[str]) -> None:
        self._passages = tuple(passages)

    def search(self, query: str, count: int) -> tuple[Hit, ...]:
        found = [each for each in self._passages if all(word in each for word in query.split())]
        return tuple(Hit(contents=each, score=1.0) for each in found[:count])
