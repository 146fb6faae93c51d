"""Random numbers of a block's own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(device: torch.device, seed: str) -> Iterator[None]:
    """Seed torch's generators with `seed` inside the block; restore their states afterwards.

    The random numbers of a step then do not depend on earlier steps, so that a run that was killed
    needs no generator's state to go on.
    """
    number = random.Random(seed).getrandbits(32)  # noqa: S311 - no secret
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(number)
        yield
