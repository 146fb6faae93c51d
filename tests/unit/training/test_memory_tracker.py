"""The counter of live storages, and the memory law held against what it counts."""

from __future__ import annotations

from collections import deque

import pytest
import torch

from harness.workloads.models.conditions import Framework
from harness.workloads.models.frameworks import library
from harness.workloads.models.peak_memory import peak_bytes
from harness.workloads.models.precision import arithmetic
from harness.workloads.models.shape import Precision, num_linear_parameters
from harness.workloads.training.memory_tracker import LiveStorages
from harness.workloads.training.pretrain import training_run
from harness.workloads.training.pretrain_params import EnvelopeParams

_CPU = torch.device("cpu")


def _params(precision: str, batch_size: int = 2) -> EnvelopeParams:
    return EnvelopeParams(
        batch_size=batch_size,
        seq_len=32,
        precision=precision,
        num_hidden_layers=2,
        hidden_size=32,
        num_attention_heads=2,
        intermediate_size=128,
        vocab_size=257,
        dropout=0.0,
        device="cpu",
    )


def _counted_bytes(params: EnvelopeParams, *, num_steps: int = 6) -> int:
    counter = LiveStorages()
    with counter:
        way = arithmetic(Precision(params.precision), _CPU)
        run = training_run(params, way, library(Framework.HAND_WRITTEN, _CPU))
        deque(run.steps(num_steps), maxlen=0)
    return counter.peak_bytes


def test_counts_what_lives_and_forgets_what_died() -> None:
    with LiveStorages() as counter:
        kept = torch.zeros(100)
        dying = torch.zeros(1000)
        assert counter.live_bytes == 4400
        del dying
        assert counter.live_bytes == 400
    assert counter.peak_bytes == 4400
    assert kept.numel() == 100


def test_a_view_is_no_second_storage() -> None:
    with LiveStorages() as counter:
        whole = torch.zeros(10, 10)
        part = whole[2:5].t()
        part.add_(1.0)
    assert counter.peak_bytes == 400


def test_sees_what_autograd_keeps() -> None:
    with LiveStorages() as counter:
        weight = torch.zeros(10, requires_grad=True)
        product = (weight.exp().exp()).sum()
        assert counter.live_bytes == 3 * 40 + 4  # the weight, both results of exp, the sum
        product.backward()  # type: ignore[no-untyped-call]
        del product
        assert counter.live_bytes == 2 * 40  # the weight and its gradient


@pytest.mark.parametrize("batch_size", [2, 16])  # each side of where the two moments cross
@pytest.mark.parametrize("precision", ["fp32", "mixed", "bf16"])
def test_the_law_is_what_is_counted(precision: str, batch_size: int) -> None:
    params = _params(precision, batch_size)
    law = peak_bytes(params.shape, params.tokens_per_step, Precision(precision), dropout=False)
    # beyond the law: one float32 step counter a tensor of the optimizer, and the loss
    assert 0 <= _counted_bytes(params) - law <= 4 * 50


def test_the_law_of_eight_bits_counts_one_weight_copy_more_than_torchs_product() -> None:
    params = _params("fp8")  # small: the CPU does eight-bit products one by one
    law = peak_bytes(params.shape, params.tokens_per_step, Precision.FP8, dropout=False)
    one_copy = num_linear_parameters(params.shape)
    assert _counted_bytes(params, num_steps=3) == pytest.approx(law - one_copy, rel=0.001)
