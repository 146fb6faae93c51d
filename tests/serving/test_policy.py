"""The trainer's policy and vLLM: an adapter that one saves, the other serves, and both agree."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from harness.workloads.rl.example import Example
from harness.workloads.rl.settings import Compute, LoraSettings, Product
from harness.workloads.serving.client import VllmEngine
from tests.serving.known import Tiny

pytestmark = pytest.mark.serving

LORA = LoraSettings(rank=8, alpha=16)
ROUNDING = 1e-4  # nats, as in test_vllm


@pytest.mark.parametrize("product", Product)
def test_vllm_scores_as_the_policy_does(
    engine: VllmEngine, tiny: Tiny, tmp_path: Path, product: Product
) -> None:
    from harness.workloads.rl.lora import LoraPolicy  # noqa: PLC0415 - needs peft

    compute = Compute(device="cpu", product=product)
    policy = LoraPolicy.open(tiny.folder / "model", LORA, compute)
    noise = torch.Generator().manual_seed(1)
    policy.put(
        {
            name: value + 0.1 * torch.randn(value.shape, generator=noise)
            for name, value in policy.weights().items()
        }
    )
    policy.save(tmp_path / f"policy-{product}")
    engine.refresh(tmp_path / f"policy-{product}")

    drawn = random.Random(0)  # noqa: S311 - no secret
    tokens = tuple(drawn.randrange(1, 256) for _ in range(200))
    every = Example(tokens=tokens, trained=tuple(range(1, len(tokens))))
    (ours,) = policy.logprobs([every])
    assert engine.score(tokens) == pytest.approx(ours.tolist(), rel=0, abs=ROUNDING)
    (bare,) = policy.reference_logprobs([every], policy.no_weights())
    assert float((ours.detach() - bare).abs().max()) > 0.1
