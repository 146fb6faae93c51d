"""Which engine serves a model: vLLM where it is installed, else transformers in this process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Literal

import torch

from harness.errors import HostError
from harness.records import record
from harness.workloads.inference.chat import Endpoint
from harness.workloads.inference.engine import Engine
from harness.workloads.inference.service import RunningService
from harness.workloads.inference.vllm import (
    Adapting,
    OnCpu,
    OnGpu,
    Serving,
    VllmDtype,
    installed,
    vllm_service,
)

_KV_CACHE_GIB = 1  # of a small model on a CPU; vLLM takes whole GiB


class EngineKind(StrEnum):
    """What serves."""

    AUTO = "auto"
    VLLM = "vllm"
    TRANSFORMERS = "transformers"


@record
class Serve:
    """The model to serve, with any engine.

    Attributes:
        kind: which engine.
        model_dir: configuration, weights and tokenizer.
        name: how logs call it.
        dtype: of weights and activations.
        max_model_len: prompt and reply together.
        max_concurrency: replies that are sampled at the same time.
        seed: of what no request names one for.
        kv_cache_bytes: what the cache of keys and values holds on a GPU, over all nodes.
        lora_rank: the largest of an adapter that it can be given; None for none.
        num_nodes: of a cluster, with a GPU each, that the model is split over.
    """

    kind: EngineKind
    model_dir: Path
    name: str
    dtype: VllmDtype
    max_model_len: int
    max_concurrency: int
    seed: int
    kv_cache_bytes: int
    lora_rank: int | None = None
    num_nodes: int = 1


@contextmanager
def serving_engine(wanted: Serve, end_token: int, log_file: Path) -> Iterator[Engine]:
    """Serve a model; its processes end with the block.

    Args:
        wanted: the model, and how.
        end_token: of the model, which ends a reply.
        log_file: takes what a server prints.

    Raises:
        HostError: the engine that is asked for is not installed.
        EngineError: the model cannot be served.
    """
    match chosen(wanted.kind):
        case EngineKind.VLLM:
            from harness.workloads.inference.vllm_engine import (  # noqa: PLC0415 - if it is chosen
                serve,
            )

            with serve(_serving(wanted), end_token, log_file) as engine:
                yield engine
        case EngineKind.TRANSFORMERS:
            from harness.workloads.inference.transformers_engine import (  # noqa: PLC0415 - 5 s of peft
                TransformersEngine,
            )

            yield TransformersEngine(_serving(wanted), end_token)


@contextmanager
def serving_chat(wanted: Serve, log_file: Path) -> Iterator[Endpoint]:
    """Serve a model to be asked in OpenAI's chat protocol, by vLLM; it ends with the block.

    Its own chat template makes the prompts, so that any model can be asked, also one whose earlier
    messages a template changes.

    Args:
        wanted: the model, and how; adapters are not for chats.
        log_file: takes what the server prints.

    Raises:
        HostError: vLLM is not installed.
        ServiceDied: the server ended, or came to a standstill before.
    """
    chosen(EngineKind.VLLM)
    with RunningService(vllm_service(_serving(wanted)), log_file) as service:
        yield Endpoint(base_url=f"{service.url}/v1", model=wanted.name)


def chosen(kind: EngineKind) -> Literal[EngineKind.VLLM, EngineKind.TRANSFORMERS]:
    """Return which engine it will be; the engine's `identity` names it with its version.

    Raises:
        HostError: vLLM is asked for and not installed.
    """
    if kind is EngineKind.TRANSFORMERS or (kind is EngineKind.AUTO and not installed()):
        return EngineKind.TRANSFORMERS
    if not installed():
        message = f"vLLM is to serve, and {sys.executable} has none"
        raise HostError(message, "nox -s serving  # makes an environment that has")
    return EngineKind.VLLM


def _serving(wanted: Serve) -> Serving:
    place: OnCpu | OnGpu = OnCpu(kv_cache_gib=_KV_CACHE_GIB)
    adapting = Adapting.FOLDED
    if torch.cuda.is_available():
        # each node holds its share of the heads
        of_each = -(-wanted.kv_cache_bytes // wanted.num_nodes)
        place = OnGpu(kv_cache_bytes=of_each, num_nodes=wanted.num_nodes)
        adapting = Adapting.LOADED
    return Serving(
        model_dir=wanted.model_dir,
        name=wanted.name,
        dtype=wanted.dtype,
        max_model_len=wanted.max_model_len,
        max_num_seqs=wanted.max_concurrency,
        seed=wanted.seed,
        place=place,
        max_lora_rank=wanted.lora_rank,
        adapting=adapting,
    )
