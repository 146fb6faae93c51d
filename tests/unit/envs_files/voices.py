"""A tokenizer and an engine small enough to be read, for tests of what is between them."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.workloads.inference.engine import (
    EngineError,
    Finish,
    PromptTooLongError,
    Reply,
    SamplingParams,
)
from harness.workloads.rl.runner import seed_of

START, END = "<|im_start|>", "<|im_end|>"
_PIECES = ("TASK", "COMPLETE", "ls")
_NUMBERS = {piece: 0x110000 + number for number, piece in enumerate((START, END, *_PIECES))}
_TEXTS = {number: piece for piece, number in _NUMBERS.items()}
_SPLIT = re.compile("(" + "|".join(map(re.escape, _NUMBERS)) + ")")
END_TOKEN = _NUMBERS[END]


class Letters:
    """A token for each letter, and for a few pieces; the template is ChatML."""

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        assert not tokenize
        said = "".join(f"{START}{each['role']}\n{each['content']}{END}\n" for each in conversation)
        return f"{said}{START}assistant\n" if add_generation_prompt else said

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        numbers = [
            [_NUMBERS[part]] if part in _NUMBERS else list(map(ord, part))
            for part in _SPLIT.split(text)
        ]
        return [number for part in numbers for number in part]

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> str:
        assert skip_special_tokens
        texts = [_TEXTS.get(number) or chr(number) for number in token_ids]
        return "".join(text for text in texts if text not in {START, END})


Voice = Callable[[str, int], str]  # the prompt, the reply's seed -> what is said


class VoiceEngine:
    """An engine whose replies a function gives, letter by letter.

    Its log-probabilities depend on the token and on how many stand before it, so that every mix-up
    of places shows.
    """

    identity = "voice 1"

    def __init__(
        self,
        voice: Voice,
        *,
        max_model_len: int = 1 << 20,
        breaks_after: int | None = None,
        takes_s: float = 0.0,
        breaks_with: EngineError = EngineError("the server has gone"),  # noqa: B008 - never changed
    ) -> None:
        self.max_model_len = max_model_len
        self.served = "base"
        self.prompts: list[tuple[int, ...]] = []
        self.seeds: list[int] = []
        self.most_at_once = 0
        self._voice, self._breaks_after, self._takes_s = voice, breaks_after, takes_s
        self._breaks_with = breaks_with
        self._at_once = 0
        self._lock = threading.Lock()

    def reply(self, prompt: Sequence[int], sampling: SamplingParams) -> Reply:
        with self._lock:
            self.prompts.append(tuple(prompt))
            self.seeds.append(sampling.seed)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            broken = self._breaks_after is not None and len(self.prompts) > self._breaks_after
        time.sleep(self._takes_s)
        with self._lock:
            self._at_once -= 1
        if broken:
            raise self._breaks_with
        if len(prompt) + sampling.max_new_tokens > self.max_model_len:
            message = f"{len(prompt)} tokens and {sampling.max_new_tokens} more do not fit"
            raise PromptTooLongError(message)
        text = Letters().decode(list(prompt), skip_special_tokens=True)
        drawn = [*map(ord, self._voice(text, sampling.seed)), END_TOKEN]
        tokens = tuple(drawn[: sampling.max_new_tokens])
        return Reply(
            tokens=tokens,
            logprobs=tuple(_logprob(token, len(prompt) + at) for at, token in enumerate(tokens)),
            alternatives=tuple((math.log(0.5),) * min(2, sampling.alternatives) for _ in tokens),
            finish=Finish.STOP if tokens[-1] == END_TOKEN else Finish.LENGTH,
        )

    def score(self, tokens: Sequence[int], behind: int = 1) -> tuple[float, ...]:
        return tuple(_logprob(token, at) for at, token in enumerate(tokens) if at >= behind)

    def wait_until_ready(self) -> None:
        pass

    def refresh(self, adapter: Path | None) -> None:
        self.served = "base" if adapter is None else adapter.name


def _logprob(token: int, at: int) -> float:
    return -(seed_of(token, at) % 1000 + 1) / 500


def block(command: str) -> str:
    return f"```bash\n{command}\n```"
