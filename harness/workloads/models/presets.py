"""Machines and models by name; each figure has its source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum

from harness.records import record
from harness.workloads.models.memory import (
    GIB,
    MIXED,
    PURE_BF16,
    Fit,
    ForwardPass,
    Need,
    NumberFormat,
    fits,
    lora_need,
    serving_need,
    training_need,
)
from harness.workloads.models.shape import ModelShape, gpt_shape

# --- machines -----------------------------------------------------------------------------------


@record
class Machine:
    """A machine whose CPU and GPU share one memory.

    Attributes:
        fitted: memory that is soldered on, bytes.
        visible: what the operating system and CUDA see of it, bytes.
        bandwidth_gb_s: peak of the memory, 1e9 bytes per second.
    """

    name: str
    fitted: int
    visible: int
    bandwidth_gb_s: float
    source: str


# The "128 GB" of the data sheet are binary, 128 GiB (137.4e9 bytes): 128e9 bytes are 119.2 GiB, and
# Linux alone sees more. Firmware keeps 6.3 GiB, which leaves a MemTotal of 127 600 748 KiB = 121.69
# GiB (130.7e9 bytes), and CUDA reports these same 124 610 MiB as its total. The "121 GiB usable" of
# article 22 is that MemTotal as `free -h` prints it, cut off to whole GiB: what all processes, the
# page cache and the GPU have together. Early firmware left 128 501 256 192 bytes, 119.7 GiB.
DGX_SPARK = Machine(
    name="NVIDIA GB10",
    fitted=128 * GIB,
    visible=127_600_748 * 1024,
    bandwidth_gb_s=273.0,  # 256 bit of LPDDR5X at 8533 MT/s
    source="capacity, bandwidth: NVIDIA DGX Spark User Guide, hardware overview; MemTotal: reported"
    " in XuehaiPan/nvitop pull request 208, of early firmware in leptonai/gpud pull request 1170",
)


# --- models -------------------------------------------------------------------------------------

GPT_354M = replace(
    gpt_shape(  # article 18, model; also articles 19, 20 and 22
        vocab_size=50257,
        num_positions=1024,
        num_hidden_layers=24,
        hidden_size=1024,
        num_attention_heads=16,
        intermediate_size=4096,
    ),
    name="GPT 354M",
)
QWEN25_05B = ModelShape(  # config.json of Qwen/Qwen2.5-0.5B-Instruct
    name="Qwen2.5-0.5B-Instruct",
    vocab_size=151_936,
    num_hidden_layers=24,
    hidden_size=896,
    intermediate_size=4864,
    num_attention_heads=14,
    num_key_value_heads=2,
    head_dim=64,
    tied=True,
    qkv_bias=True,
)
QWEN3_06B = ModelShape(  # config.json of Qwen/Qwen3-0.6B
    name="Qwen3-0.6B",
    vocab_size=151_936,
    num_hidden_layers=28,
    hidden_size=1024,
    intermediate_size=3072,
    num_attention_heads=16,
    num_key_value_heads=8,
    head_dim=128,
    tied=True,
    qk_norm=True,
)
QWEN25_3B = ModelShape(  # config.json of Qwen/Qwen2.5-3B-Instruct
    name="Qwen2.5-3B-Instruct",
    vocab_size=151_936,
    num_hidden_layers=36,
    hidden_size=2048,
    intermediate_size=11_008,
    num_attention_heads=16,
    num_key_value_heads=2,
    head_dim=128,
    tied=True,
    qkv_bias=True,
)
QWEN3_4B = ModelShape(  # config.json of Qwen/Qwen3-4B
    name="Qwen3-4B",
    vocab_size=151_936,
    num_hidden_layers=36,
    hidden_size=2560,
    intermediate_size=9728,
    num_attention_heads=32,
    num_key_value_heads=8,
    head_dim=128,
    tied=True,
    qk_norm=True,
)
QWEN25_7B = ModelShape(  # config.json of Qwen/Qwen2.5-7B-Instruct
    name="Qwen2.5-7B-Instruct",
    vocab_size=152_064,
    num_hidden_layers=28,
    hidden_size=3584,
    intermediate_size=18_944,
    num_attention_heads=28,
    num_key_value_heads=4,
    head_dim=128,
    qkv_bias=True,
)
LLAMA31_8B = ModelShape(  # config.json of meta-llama/Llama-3.1-8B
    name="Llama-3.1-8B",
    vocab_size=128_256,
    num_hidden_layers=32,
    hidden_size=4096,
    intermediate_size=14_336,
    num_attention_heads=32,
    num_key_value_heads=8,
    head_dim=128,
)
MODELS = (GPT_354M, QWEN25_3B, QWEN3_4B, QWEN25_7B, LLAMA31_8B)


# --- what a machine can hold --------------------------------------------------------------------


class Use(StrEnum):
    """A use of a model, at a size the articles have."""

    SERVE_BF16 = "serve, bf16, 32768 tokens cached"
    SERVE_FP8 = "serve, fp8, 32768 tokens cached"
    LORA = "LoRA r16 on bf16, 4096 tokens a step"
    TRAIN_BF16 = "train, bf16 states, 4096 tokens a step"
    TRAIN_MIXED = "train, fp32 master and moments, 4096 tokens a step"


@record
class Holding:
    """Whether a machine can hold a model in a use, and by how much."""

    model: str
    use: Use
    fit: Fit


_CACHED_TOKENS = 32_768  # one long context or many short ones: the cache is the same
_RANK = 16
_STEP = ForwardPass(tokens=4096, logit_bytes=14)  # a plain framework path, article 18


def need_of(shape: ModelShape, use: Use) -> Need:
    """Return what `shape` takes in `use`; a lower bound, see `harness.workloads.models.memory`."""
    match use:
        case Use.SERVE_BF16:
            return serving_need(shape, NumberFormat.BF16, NumberFormat.BF16, _CACHED_TOKENS, 1)
        case Use.SERVE_FP8:
            return serving_need(shape, NumberFormat.FP8, NumberFormat.BF16, _CACHED_TOKENS, 1)
        case Use.LORA:
            return lora_need(shape, NumberFormat.BF16, MIXED, _RANK, _STEP)
        case Use.TRAIN_BF16:
            return training_need(shape, PURE_BF16, _STEP)
        case Use.TRAIN_MIXED:
            return training_need(shape, MIXED, _STEP)


def holdings(available_gib: float) -> Iterator[Holding]:
    """Yield every preset in every use, beside what a machine has available.

    Args:
        available_gib: memory that is free for it, e.g. MemAvailable on a unified-memory machine or
            the GPU's own memory, GiB.
    """
    available = int(available_gib * GIB)
    for shape in MODELS:
        for use in Use:
            yield Holding(model=shape.name, use=use, fit=fits(need_of(shape, use), available))
