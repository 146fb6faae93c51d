"""The article's smallest cells on whatever NVIDIA GPU is here, held against the memory law."""

from __future__ import annotations

from collections import deque

import pytest
import torch

from harness.workloads.models.conditions import Framework
from harness.workloads.models.frameworks import library
from harness.workloads.models.peak_memory import peak_bytes
from harness.workloads.models.precision import arithmetic
from harness.workloads.models.shape import Precision, initial_loss_nats
from harness.workloads.training.memory_tracker import CudaAllocator
from harness.workloads.training.pretrain import training_run
from harness.workloads.training.pretrain_params import EnvelopeParams


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.02), ("fp8", 0.05)])
def test_a_cell_holds_what_the_law_says_and_starts_where_it_must(
    precision: str, tolerance: float
) -> None:
    device = torch.device("cuda")
    params = EnvelopeParams(batch_size=2, seq_len=1024, precision=precision)
    torch.manual_seed(0)
    with CudaAllocator(device) as counter:
        way = arithmetic(Precision(precision), device)
        run = training_run(params, way, library(Framework.HAND_WRITTEN, device))
        steps = run.steps(num_steps=3)
        first = next(steps)
        deque(steps, maxlen=0)
    law = peak_bytes(params.shape, params.tokens_per_step, Precision(precision), dropout=True)
    assert counter.peak_bytes == pytest.approx(law, rel=tolerance)
    assert first.loss == pytest.approx(initial_loss_nats(params.shape), abs=0.05)
