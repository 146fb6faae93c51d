"""Token windows of two corpora as one data set, in the order in which a mixture asks for them.

Shapes in names: N windows, S tokens that a model reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from harness.workloads.data.mixture import ReplayMixture


def windows(documents: Iterable[list[int]], end: int, length: int, enough: int) -> Tensor:
    """Return windows (N, S + 1) over documents joined by the token `end`, `enough` at most.

    A window begins with the last token of the one before, so that every token is predicted once.
    """
    tokens: list[int] = []
    for document in documents:
        tokens += [*document, end]
        if len(tokens) > enough * length:
            break
    whole = min(enough, (len(tokens) - 1) // length)
    starts_N1 = torch.arange(whole)[:, None] * length
    return torch.tensor(tokens)[starts_N1 + torch.arange(length + 1)]


@dataclass(frozen=True, kw_only=True)
class MixedWindows(Dataset[dict[str, Tensor]]):
    """Windows in training order: in each batch first those replayed, then new ones.

    Attributes:
        old: windows (N, S + 1) to replay, read again from the start where they do not suffice.
        new: windows (N, S + 1), as many at least as the mixture asks for.
        mixture: how many of each a batch has.
        num_steps: batches.
    """

    old: Tensor
    new: Tensor
    mixture: ReplayMixture
    num_steps: int

    def __len__(self) -> int:
        return self.num_steps * self.mixture.batch_size

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return one window as Megatron-Core reads it: tokens, labels, mask and positions (S)."""
        window = self.window(index)
        length = len(window) - 1
        return {
            "tokens": window[:-1],
            "labels": window[1:],
            "loss_mask": torch.ones(length),
            "position_ids": torch.arange(length),
        }

    def window(self, index: int) -> Tensor:
        """Return one window (S + 1)."""
        step, within = divmod(index, self.mixture.batch_size)
        before = self.mixture.replayed_before(step)
        replayed = self.mixture.replayed_before(step + 1) - before
        if within < replayed:
            return self.old[(before + within) % len(self.old)]
        return self.new[self.mixture.new_before(step) + within - replayed]


class ObservedWindows(Dataset[dict[str, Tensor]]):
    """Windows on their way to the model, counted: which of them are of the old corpus.

    Attributes:
        num_tokens: how many were fed.
        num_replayed: how many of these are of old windows, recognised by what they say.
    """

    def __init__(self, mixed: MixedWindows) -> None:
        self._mixed = mixed
        self._old = {content_of(window) for window in mixed.old[:, :-1]}
        self.num_tokens = 0
        self.num_replayed = 0

    def __len__(self) -> int:
        return len(self._mixed)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return one window as `MixedWindows` does."""
        item = self._mixed[index]
        tokens = item["tokens"]
        self.num_tokens += len(tokens)
        self.num_replayed += len(tokens) * (content_of(tokens) in self._old)
        return item


def content_of(window: Tensor) -> bytes:
    """Return what tells a window (S) on the CPU from every other one: its tokens."""
    return window.contiguous().numpy().tobytes()
