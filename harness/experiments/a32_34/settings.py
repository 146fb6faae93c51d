"""From the parameters of a run to the settings of what it uses."""

from __future__ import annotations

from pathlib import Path

from harness.experiments.a32_34.params import SMALL, AgentParams
from harness.workloads.api.context import Context
from harness.workloads.inference.choice import EngineKind, Serve
from harness.workloads.inference.engine import SamplingParams
from harness.workloads.inference.vllm import VllmDtype as ServedDtype
from harness.workloads.training.settings import Compute, LoraSettings, Product, WeightDtype


def lora_of(context: Context) -> LoraSettings:
    """Return the adapter's settings."""
    params: AgentParams = context.params
    return LoraSettings(
        rank=params.lora_rank,
        alpha=params.lora_alpha,
        dropout=params.lora_dropout,
        seed=context.spec.seed,
    )


def compute_of(params: AgentParams) -> Compute:
    """Return how the trainer computes."""
    small = params.model == SMALL
    return Compute(
        dtype=WeightDtype(params.dtype),
        bf16=params.bf16,
        gradient_checkpointing=params.gradient_checkpointing,
        product=Product.FOLDED if small else Product.BRANCH,
    )


def serve_of(context: Context, folder: Path, name: str, lora_rank: int | None = None) -> Serve:
    """Return how the model in `folder` is served.

    Args:
        context: of the run.
        folder: the model's.
        name: how logs call it.
        lora_rank: the largest of an adapter that it can be given; None for none.
    """
    params: AgentParams = context.params
    return Serve(
        kind=EngineKind(params.engine),
        model_dir=folder,
        name=name,
        dtype=ServedDtype(params.dtype),
        max_model_len=params.max_model_len,
        max_concurrency=params.max_concurrency,
        seed=context.spec.seed,
        gpu_memory_utilization=params.gpu_memory_utilization,
        lora_rank=lora_rank,
    )


def decoding_of(context: Context) -> SamplingParams:
    """Return how replies are drawn wherever policies are compared."""
    params: AgentParams = context.params
    return SamplingParams(
        temperature=params.temperature,
        max_new_tokens=params.max_new_tokens,
        seed=context.spec.seed,
        top_p=params.top_p,
        top_k=params.top_k,
    )
