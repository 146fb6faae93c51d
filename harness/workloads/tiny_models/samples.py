"""From conversations to tokens with weights, and to batches. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

from tokenizers import Tokenizer

from harness.records import record
from harness.workloads.inference.chat_template import Message, Role
from harness.workloads.tiny_models.recipe import Phase, Source
from harness.workloads.tiny_models.tokenizer import ASSISTANT, END, SPECIAL, USER, word_pieces

# from random numbers and the letters-only tokens to what draws a conversation of a phase
OpenConversations = Callable[[Random, Sequence[str]], Callable[[Phase], Sequence[Message]]]

_POOLED = 8  # batches whose samples are sorted by length together, so that little is padding
_COPIED = (10, 20)  # tokens of a copying sample, at least and at most


@record
class Sample:
    """A conversation as the model reads it, T tokens.

    Attributes:
        own: whether the policy speaks a token, and so has to learn to; T of them.
    """

    tokens: tuple[int, ...]
    own: tuple[bool, ...]


class Sampler:
    """Draws what the phases train on.

    Args:
        tokenizer: the model's.
        seed: the same samples again.
        conversations: what the phases on tasks draw from.
    """

    def __init__(self, tokenizer: Tokenizer, seed: int, conversations: OpenConversations) -> None:
        self._tokenizer = tokenizer
        self._random = Random(seed)  # noqa: S311 - no secret
        self._draw = conversations(self._random, word_pieces(tokenizer))
        self._user, self._assistant, self._end = map(tokenizer.token_to_id, (USER, ASSISTANT, END))

    def batches(self, phase: Phase) -> Iterator[list[Sample]]:
        """Yield the batches of a phase, each of samples of about one length."""
        while True:
            copying = phase.source is Source.COPYING
            pool = [
                self._copying() if copying else self.encode(self._draw(phase))
                for _ in range(_POOLED * phase.batch)
            ]
            pool.sort(key=lambda sample: len(sample.tokens))
            starts = list(range(0, len(pool), phase.batch))
            self._random.shuffle(starts)
            yield from (pool[start : start + phase.batch] for start in starts)

    def encode(self, messages: Sequence[Message]) -> Sample:
        """Return a conversation in tokens, as the chat template has it."""
        tokens: list[int] = []
        own: list[bool] = []
        for message in messages:
            speaks = message.role is Role.ASSISTANT
            said = [*self._tokenizer.encode(message.content).ids, self._end]
            tokens += [self._assistant if speaks else self._user, *said]
            own += [False, *(speaks for _ in said)]
        return Sample(tokens=tuple(tokens), own=tuple(own))

    def _copying(self) -> Sample:
        """Return a conversation in which any tokens are said, and said again."""
        count = self._random.randint(*_COPIED)
        said = range(len(SPECIAL), self._tokenizer.get_vocab_size())
        copied = (*self._random.choices(said, k=count), self._end)
        tokens = (self._user, *copied, self._assistant, *copied)
        own = tuple(position > len(copied) + 1 for position in range(len(tokens)))
        return Sample(tokens=tokens, own=own)
