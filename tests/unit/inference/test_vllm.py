"""The command line and the environment of vLLM: nothing is left to its defaults."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from harness.workloads.inference.service import PORT
from harness.workloads.inference.vllm import OnCpu, OnGpu, Serving, VllmDtype, vllm_service

ON_CPU = Serving(
    model_dir=Path("/models/tiny"),
    name="tiny",
    dtype=VllmDtype.FLOAT32,
    max_model_len=512,
    max_num_seqs=4,
    seed=7,
    place=OnCpu(kv_cache_gib=1),
)


def test_a_server_on_processors() -> None:
    service = vllm_service(ON_CPU)
    command = (
        f"{sys.executable} -m vllm.entrypoints.openai.api_server"
        f" --model /models/tiny --served-model-name tiny --host 127.0.0.1 --port {PORT}"
        " --disable-uvicorn-access-log --generation-config vllm --seed 7"
        " --logprobs-mode raw_logprobs --max-logprobs 20 --dtype float32"
        " --max-model-len 512 --max-num-seqs 4 --enable-prefix-caching --enforce-eager"
        " --no-enable-chunked-prefill"
    )
    assert service.argv == tuple(command.split())
    assert service.env == {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "SPT_NOENV": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "TORCH_COMPILE_DISABLE": "1",
    }


def test_adapters_can_be_exchanged_only_where_they_are_wanted() -> None:
    service = vllm_service(replace(ON_CPU, max_lora_rank=16))
    at = service.argv.index("--enable-lora")
    assert service.argv[at : at + 5] == (
        *("--enable-lora", "--max-loras", "1"),
        *("--max-lora-rank", "16"),
    )
    assert service.env["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"


def test_a_server_on_a_gpu_gets_its_cache_in_bytes_and_may_compile() -> None:
    on_gpu = replace(ON_CPU, dtype=VllmDtype.BFLOAT16, place=OnGpu(kv_cache_bytes=3 * 2**30))
    service = vllm_service(on_gpu)
    assert service.argv[-4:] == (
        *("--kv-cache-memory-bytes", str(3 * 2**30)),
        *("--gpu-memory-utilization", "0.01"),  # what must be free at the start, and no more
    )
    assert "--enforce-eager" not in service.argv
    assert service.env == {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "SPT_NOENV": "1",
        "VLLM_USE_FLASHINFER_SAMPLER": "0",
    }


def test_a_server_on_two_nodes_is_split_over_them_by_vllm_s_ray_executor() -> None:
    on_two = replace(ON_CPU, place=OnGpu(kv_cache_bytes=2**30, num_nodes=2))
    service = vllm_service(on_two)
    assert service.argv[-4:] == (
        *("--tensor-parallel-size", "2"),
        *("--distributed-executor-backend", "ray"),
    )
