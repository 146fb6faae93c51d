"""Whether a run fits into the machine's memory, before anything is started. Loads no torch.

A DGX Spark has one memory for the trainer, the model's server and the retriever's index, of which
the paper's alone, 21 million vectors in float32, takes half.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.errors import HostError
from harness.experiments.a36.params import A2tgpoParams
from harness.workloads.api.device import FreeMemory, free_memory
from harness.workloads.models.memory import (
    GIB,
    MIXED,
    ForwardPass,
    NumberFormat,
    lora_need,
    stored_bytes,
)
from harness.workloads.models.presets import MODELS
from harness.workloads.models.shape import num_parameters

FLOOR_GIB = 8.0  # left to the system; the harness's own watchdog ends a run below it


def require_memory(params: A2tgpoParams) -> None:
    """Refuse a run that cannot fit.

    Raises:
        HostError: says what needs how much, and what to give it less of.
    """
    if problem := shortage(params, free_memory()):
        raise HostError(problem, "harness plan a36 --profile spark --set retriever_memory_gib=0")


def shortage(params: A2tgpoParams, memory: FreeMemory) -> str:
    """Return what does not fit; empty where all does, or the model's shape is not known."""
    needs = needed(params, memory)
    if needs is None:
        return ""
    floor = int(FLOOR_GIB * GIB)
    index = needs["index"]
    if memory.gpu is None or memory.unified:
        return _short("memory", needs, memory.host - floor)
    of_gpu = {name: size for name, size in needs.items() if name != "index"}
    return _short("memory of the GPU", of_gpu, memory.gpu) or _short(
        "memory", {"index": index}, memory.host - floor
    )


def needed(params: A2tgpoParams, memory: FreeMemory) -> Mapping[str, int] | None:
    """Return what trainer, server and index need, bytes; None where the model is not known."""
    name = params.model.partition("@")[0].rpartition("/")[2]
    shape = next((shape for shape in MODELS if shape.name == name), None)
    if shape is None:
        return None
    forward = ForwardPass(
        tokens=params.max_model_len, logit_bytes=14, recompute=params.gradient_checkpointing
    )
    dtype = NumberFormat.BF16 if params.dtype == "bfloat16" else NumberFormat.FP32
    trainer = lora_need(shape, dtype, MIXED, params.lora_rank, forward).total
    weights = stored_bytes(num_parameters(shape), dtype)
    share = int(params.gpu_memory_utilization * memory.gpu) if memory.gpu is not None else 0
    return {
        "trainer": trainer,
        "server": max(weights, share),
        "index": int(params.retriever_memory_gib * GIB),
    }


def _short(where: str, needs: Mapping[str, int], available: int) -> str:
    total = sum(needs.values())
    if total <= available:
        return ""
    parts = ", ".join(f"{name} {size / GIB:.1f}" for name, size in needs.items())
    return f"{total / GIB:.1f} GiB of {where} are needed ({parts}), {available / GIB:.1f} are free"
