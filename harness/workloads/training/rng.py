"""Random numbers of a block's own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(device: torch.device, seed: str) -> Iterator[None]:
    """Draw from torch's generators as `seed` has it; afterwards they stand where they stood.

    What a step draws then depends on nothing that came before it, so that a run that was killed
    needs no generator's state to go on.
    """
    number = random.Random(seed).getrandbits(32)  # noqa: S311 - no secret
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(number)
        yield
