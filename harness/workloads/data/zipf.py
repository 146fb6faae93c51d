"""The shares in which a word of a generated language is followed by others. Loads no torch."""

from __future__ import annotations

import math


def shares(branches: int) -> tuple[float, ...]:
    """Return ``p_j = (1 / j) / sum_i (1 / i)`` for j = 1 to `branches` (Zipf's law)."""
    total = math.fsum(1 / rank for rank in range(1, branches + 1))
    return tuple(1 / rank / total for rank in range(1, branches + 1))


def entropy_nats(branches: int) -> float:
    """Return the entropy of the next word, nats: the loss below which no model can get.

    All words have the same shares, each over different successors, so the entropy rate is that of
    the shares, whatever the words' frequencies.
    """
    return -math.fsum(p * math.log(p) for p in shares(branches))
