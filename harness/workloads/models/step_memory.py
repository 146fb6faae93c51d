"""What a step of a run holds at its worst moment: servers, a trainer, and what frameworks add.

`harness.workloads.models.memory` has what a model takes by its shape, which is a lower bound. On a
machine whose CPU and GPU share one memory the rest is as real, so it is added here. Loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from harness.workloads.api.declare import StepMemory
from harness.workloads.models.memory import (
    GIB,
    MIXED,
    ForwardPass,
    Regime,
    kv_cache_bytes,
    lora_need,
    number_format,
    stored_bytes,
    training_need,
)
from harness.workloads.models.presets import (
    LLAMA31_8B,
    QWEN3_06B,
    QWEN3_4B,
    QWEN25_05B,
    QWEN25_3B,
    QWEN25_7B,
)
from harness.workloads.models.shape import ModelShape, num_parameters

# Assumptions, as no GPU has run this: CUDA context, compiled kernels, captured graphs and the
# workspace of a batch of a server; the context of a trainer.
_SERVER_GIB = 3.0
_TRAINER_GIB = 1.0
# Python: the three processes of a server, 2 GiB in vLLM's CPU build, and a trainer's libraries
_PROCESSES_GIB = 4.0
_GAPS = 0.33  # of activations: what torch's allocator reserved beyond them in article 18
_LOGIT_BYTES = 14  # a plain framework path, article 18

PUBLISHED: Mapping[str, ModelShape] = {
    "Qwen/Qwen2.5-0.5B-Instruct": QWEN25_05B,
    "Qwen/Qwen2.5-3B-Instruct": QWEN25_3B,
    "Qwen/Qwen2.5-7B-Instruct": QWEN25_7B,
    "Qwen/Qwen3-0.6B": QWEN3_06B,
    "Qwen/Qwen3-4B": QWEN3_4B,
    "meta-llama/Llama-3.1-8B": LLAMA31_8B,
    "meta-llama/Llama-3.1-8B-Instruct": LLAMA31_8B,
}


class AdapterParams(Protocol):
    """The params of an experiment that trains adapters and serves them."""

    @property
    def dtype(self) -> str:
        """Of the weights, of the server's too."""
        ...

    @property
    def kv_cache_gib(self) -> float:
        """What the server's cache is given; 0 for what its replies need."""
        ...

    @property
    def lora_rank(self) -> int:
        """Of the adapters."""
        ...

    @property
    def gradient_checkpointing(self) -> bool:
        """Whether a layer's activations are computed again in the backward pass."""
        ...


def published_shape(model: str) -> ModelShape | None:
    """Return the shape of ``organisation/name@revision``; None where it is not known."""
    return PUBLISHED.get(model.partition("@")[0])


def cache_gib(
    shape: ModelShape, dtype: str, kv_cache_gib: float, max_model_len: int, max_concurrency: int
) -> float:
    """Return the cache that a server is given, as `harness.workloads.training.policy` asks it."""
    tokens = (max_model_len, max_concurrency)
    return kv_cache_gib or kv_cache_bytes(shape, number_format(dtype), *tokens) / GIB


def serving_step(name: str, weights_gib: float, cache_gib: float) -> StepMemory:
    """Return what a step takes in which one model answers and nothing is trained."""
    return StepMemory(
        step=name,
        weights_gib=weights_gib,
        kv_cache_gib=cache_gib,
        workspace_gib=_SERVER_GIB,
        processes_gib=_PROCESSES_GIB,
    )


def weights_gib(shape: ModelShape, dtype: str) -> float:
    """Return a model's weights."""
    return stored_bytes(num_parameters(shape), number_format(dtype)) / GIB


def adapters_step(
    name: str,
    shape: ModelShape,
    params: AdapterParams,
    *,
    tokens: int,
    trained_tokens: int,
    replies: tuple[int, int],
) -> StepMemory:
    """Return what a step takes that trains adapters beside a server of the same model.

    Args:
        name: of the step.
        shape: the model's.
        params: the experiment's.
        tokens: of one forward pass, at most.
        trained_tokens: of them, those that the model learns to say; only these have logits.
        replies: of the server: length of one, and how many at once.
    """
    recompute = params.gradient_checkpointing
    forward = ForwardPass(tokens=tokens, logit_bytes=0, recompute=recompute)
    need = lora_need(shape, number_format(params.dtype), MIXED, params.lora_rank, forward)
    logits = _LOGIT_BYTES * shape.vocab_size * min(tokens, trained_tokens)
    need = replace(need, activations=need.activations + logits)
    return StepMemory(
        step=name,
        weights_gib=weights_gib(shape, params.dtype),
        kv_cache_gib=cache_gib(shape, params.dtype, params.kv_cache_gib, *replies),
        trainer_gib=need.total / GIB,
        workspace_gib=_SERVER_GIB + _TRAINER_GIB + _GAPS * need.activations / GIB,
        processes_gib=_PROCESSES_GIB,
    )


def training_step(name: str, shape: ModelShape, regime: Regime, tokens: int) -> StepMemory:
    """Return what a step takes that trains every weight, its layers recomputed."""
    forward = ForwardPass(tokens=tokens, logit_bytes=_LOGIT_BYTES, recompute=True)
    need = training_need(shape, regime, forward)
    return StepMemory(
        step=name,
        trainer_gib=need.total / GIB,
        workspace_gib=_TRAINER_GIB + _GAPS * need.activations / GIB,
        processes_gib=_PROCESSES_GIB,
    )
