"""Batches on whatever NVIDIA GPU is here: the right ones, also where they are copied ahead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.experiments.a20.fit import available_gib
from harness.workloads.data.loader import BatchShape, Prefetched, Shuffled, loader
from harness.workloads.data.pack import open_packed, pack
from harness.workloads.data.tokens import Vocabulary


@pytest.mark.gpu
def test_batches_that_are_copied_ahead_are_those_of_the_cpu(tmp_path: Path) -> None:
    vocabulary = Vocabulary(tokenizer="positions", size=1 << 20, end_id=(1 << 20) - 1)
    pack([np.arange(1 << 19, dtype=np.int32)], tmp_path / "packed", vocabulary)
    packed = open_packed(tmp_path / "packed")
    shape = BatchShape(batch_size=16, seq_len=1024)
    order = Shuffled(shape=shape, num_tokens=packed.num_tokens, seed=0)
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    here = loader(packed, order, shape, cpu)
    there = loader(packed, order, shape, gpu)
    with Prefetched(there, num_steps=60, depth=3, device=gpu) as ahead:
        for step in range(60):
            for one, other in zip(ahead(step), here(step), strict=True):
                scratch = one + 0  # what the training stream does with it
                assert torch.equal(scratch.cpu(), other)


@pytest.mark.gpu
def test_what_is_free_is_at_most_what_the_run_may_use() -> None:
    device = torch.device("cuda")
    assert 0 < available_gib(device, None) < 1000
    assert available_gib(device, 0.5) <= 0.5
