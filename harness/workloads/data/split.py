"""What the evaluator trains on: token ids, split by place into a training and a held-out part.

The article's stream is a packed corpus of 109,339,897 tokens, 95 % of them for training. Where it
is not asked for a source is drawn from: each token is followed by one of a few others, likelier or
less by Zipf's law, and now and then by any token of the vocabulary, as frequent as its rank. So a
model has something to learn at any size of vocabulary, and what is left when it has learnt all is
known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.workloads.data.pack import open_packed

Ids = NDArray[np.int32]

TRAINING_SHARE = 0.95
_FOLLOWERS = 8  # of each token
_ANY = 0.1  # share of tokens without a predecessor
_CHAINS = 256  # that are drawn side by side, and laid one behind the other


@dataclass(frozen=True, kw_only=True)
class TokenStream:
    """A stream of token ids.

    Attributes:
        ids: (N,), the training part first.
        split: where the held-out part begins.
        entropy_floor_bits: of the held-out part, bits a token, for who knows the source; None for a
            file.
    """

    ids: Ids
    split: int
    entropy_floor_bits: float | None


@dataclass(frozen=True, kw_only=True)
class TokenSource:
    """A first-order source over V tokens.

    Attributes:
        followers: (V, F) ids that are likely to follow each token.
        shares: (F,) of those.
        frequencies: (V,) of tokens without a predecessor.
    """

    followers: Ids
    shares: NDArray[np.float64]
    frequencies: NDArray[np.float64]

    def draw(self, count: int, rng: np.random.Generator) -> Ids:
        """Return `count` ids: chains side by side, one laid behind the other."""
        length = math.ceil(count / _CHAINS)
        vocabulary, number = self.followers.shape
        chains = np.empty((_CHAINS, length), dtype=np.int32)
        current = rng.choice(vocabulary, size=_CHAINS, p=self.frequencies)
        for place in range(length):
            chains[:, place] = current
            followed = self.followers[current, rng.choice(number, size=_CHAINS, p=self.shares)]
            free = rng.choice(vocabulary, size=_CHAINS, p=self.frequencies)
            current = np.where(rng.random(_CHAINS) < _ANY, free, followed)
        return chains.reshape(-1)[:count]

    def bits(self, ids: Ids) -> float:
        """Return the mean of ``-log2 p`` of each id after the one before, bits."""
        before, after = ids[:-1], ids[1:]
        followed = (self.followers[before] == after[:, None]) @ self.shares
        probability = (1 - _ANY) * followed + _ANY * self.frequencies[after]
        return float(-np.log2(probability).mean())


def zipf(number: int) -> NDArray[np.float64]:
    """Return shares that fall as 1 / rank."""
    weights = 1.0 / np.arange(1, number + 1)
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def sampled_stream(vocabulary: int, training: int, held_out: int, seed: int) -> TokenStream:
    """Return a corpus of the source that `seed` makes."""
    rng = np.random.default_rng(seed)
    followers = rng.integers(0, vocabulary, (vocabulary, _FOLLOWERS), dtype=np.int32)
    source = TokenSource(followers=followers, shares=zipf(_FOLLOWERS), frequencies=zipf(vocabulary))
    ids = source.draw(training + held_out, rng)
    return TokenStream(ids=ids, split=training, entropy_floor_bits=source.bits(ids[training:]))


def packed(folder: Path) -> TokenStream:
    """Return a packed corpus, read as it is needed.

    Raises:
        InputError: it is not there as a whole.
    """
    corpus = open_packed(folder)
    ids = corpus.read(0, corpus.num_tokens)
    return TokenStream(ids=ids, split=int(TRAINING_SHARE * len(ids)), entropy_floor_bits=None)
