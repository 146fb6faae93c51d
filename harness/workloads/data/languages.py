"""Generated languages: corpora that every machine has, whose entropy is known.

A word is followed by one of a few successors, the same few each time, in Zipf's shares. Two
languages share the words and some of the successor lists; where they do not, one language's text is
the other's error. A text begins with a word of any, and its language shows only by what follows.

Shapes in names: N texts, S words that a model reads, V words of the vocabulary, K successors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Language:
    """A table of successors.

    Attributes:
        successors_VK: the distinct possible next words of each word, most probable first.
    """

    successors_VK: Tensor  # noqa: N815 - its shape

    def texts(self, count: int, length: int, generator: torch.Generator) -> Tensor:
        """Return `count` texts of `length` + 1 words, so that each word read has a next one."""
        vocab_size, branches = self.successors_VK.shape
        p_NK = torch.tensor(shares(branches), dtype=torch.float64).expand(count, -1)
        words_N = torch.randint(vocab_size, (count,), generator=generator)
        text = [words_N]
        for _ in range(length):
            choice_N = torch.multinomial(p_NK, 1, generator=generator).squeeze(1)
            text.append(self.successors_VK[text[-1], choice_N])
        return torch.stack(text, dim=1)


def language(vocab_size: int, branches: int, generator: torch.Generator) -> Language:
    """Return a language whose successors are drawn at random."""
    lists = [torch.randperm(vocab_size, generator=generator)[:branches] for _ in range(vocab_size)]
    return Language(successors_VK=torch.stack(lists))


def relative(first: Language, shared: float, generator: torch.Generator) -> Language:
    """Return a language that has the successor lists of `first` for that share of the words."""
    vocab_size, branches = first.successors_VK.shape
    other = language(vocab_size, branches, generator)
    kept_V = torch.randperm(vocab_size, generator=generator) < round(shared * vocab_size)
    return Language(
        successors_VK=torch.where(kept_V[:, None], first.successors_VK, other.successors_VK)
    )


def shares(branches: int) -> tuple[float, ...]:
    """Return the shares in which a word is followed by `branches` others, by Zipf's law.

    That is ``p_j = (1 / j) / sum_i (1 / i)`` for j = 1 to `branches`.
    """
    total = math.fsum(1 / rank for rank in range(1, branches + 1))
    return tuple(1 / rank / total for rank in range(1, branches + 1))


def entropy_nats(branches: int) -> float:
    """Return the entropy of the next word, nats: the loss below which no model can get.

    All words have the same shares, each over different successors, so the entropy rate is that of
    the shares, whatever the words' frequencies.
    """
    return -math.fsum(p * math.log(p) for p in shares(branches))
