from __future__ import annotations

from dataclasses import replace

from harness.experiments.a36.memory import needed, shortage
from harness.experiments.a36.params import A2tgpoParams
from harness.workloads.api.device import FreeMemory
from harness.workloads.models.memory import GIB
from harness.workloads.models.presets import DGX_SPARK

_SPARK = FreeMemory(host=DGX_SPARK.visible, gpu=DGX_SPARK.visible, unified=True)
_QWEN = A2tgpoParams(
    model="Qwen/Qwen3-4B@0123",
    dtype="bfloat16",
    max_model_len=8192,
    gradient_checkpointing=True,
    gpu_memory_utilization=0.35,
)


def test_adapters_of_qwen3_and_their_server_fit_a_spark() -> None:
    assert shortage(_QWEN, _SPARK) == ""
    needs = needed(_QWEN, _SPARK)
    assert needs is not None
    assert 20 * GIB < needs["trainer"] < 40 * GIB
    assert needs["server"] == int(0.35 * DGX_SPARK.visible)


def test_the_papers_index_in_float32_does_not_fit_beside_them() -> None:
    found = shortage(replace(_QWEN, retriever_memory_gib=64.5e9 / GIB), _SPARK)
    assert "index 60.1" in found
    assert "are needed" in found


def test_in_float16_and_with_a_smaller_server_it_does() -> None:
    params = replace(_QWEN, retriever_memory_gib=32.3e9 / GIB, gpu_memory_utilization=0.3)
    assert shortage(params, _SPARK) == ""


def test_a_gpu_of_its_own_is_not_filled_by_the_index() -> None:
    memory = FreeMemory(host=64 * GIB, gpu=80 * GIB, unified=False)
    assert shortage(replace(_QWEN, retriever_memory_gib=50.0), memory) == ""
    assert shortage(replace(_QWEN, retriever_memory_gib=60.0), memory).startswith(
        "60.0 GiB of memory are"
    )
    small = replace(memory, gpu=24 * GIB)
    assert "memory of the GPU" in shortage(_QWEN, small)


def test_nothing_is_said_of_a_model_whose_shape_is_not_known() -> None:
    tiny = FreeMemory(host=GIB, gpu=None, unified=False)
    assert shortage(A2tgpoParams(), tiny) == ""
    assert shortage(A2tgpoParams(model="some/Other@1"), tiny) == ""
