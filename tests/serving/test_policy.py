"""The trainer's policy and vLLM: an adapter that one saves, the other serves, and both agree."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.workloads.inference.vllm import Adapting
from harness.workloads.inference.vllm_engine import VllmEngine, serve
from harness.workloads.models.example import Example
from harness.workloads.models.lora_settings import Compute, LoraSettings, Product
from tests.serving.known import Tiny

pytestmark = pytest.mark.serving

LORA = LoraSettings(rank=8, alpha=16)
ROUNDING = 1e-4  # nats, as in test_vllm


@pytest.mark.parametrize("product", Product)
def test_vllm_scores_as_the_policy_does(
    engine: VllmEngine, tiny: Tiny, tmp_path: Path, product: Product
) -> None:
    from harness.workloads.models.lora import LoraPolicy  # noqa: PLC0415 - needs peft

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


def test_a_folded_adapter_scores_as_the_policy_does(tiny: Tiny, tmp_path: Path) -> None:
    """A server of its own: it is given weights for its own, and knows of no adapter."""
    from harness.workloads.models.lora import LoraPolicy  # noqa: PLC0415 - needs peft

    policy = LoraPolicy.open(tiny.folder / "model", LORA, Compute(device="cpu"))
    noise = torch.Generator().manual_seed(2)
    policy.put(
        {
            name: value + 0.1 * torch.randn(value.shape, generator=noise)
            for name, value in policy.weights().items()
        }
    )
    policy.save(tmp_path / "folded")
    tokens = tuple(1 + (7 * number) % 255 for number in range(200))
    every = Example(tokens=tokens, trained=tuple(range(1, len(tokens))))
    (ours,) = policy.logprobs([every])
    (bare,) = policy.reference_logprobs([every], policy.no_weights())
    serving = replace(tiny.serving(), adapting=Adapting.FOLDED)
    with serve(serving, end_token=0, log_file=tmp_path / "vllm.log") as engine:
        for adapter, expected in ((tmp_path / "folded", ours), (None, bare)):
            engine.refresh(adapter)
            assert engine.served == (adapter.name if adapter else "base")
            scores = engine.score(tokens)
            assert scores == pytest.approx(expected.tolist(), rel=0, abs=ROUNDING)
