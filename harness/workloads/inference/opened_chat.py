"""A model that a run asks in chats: on a server that answers already, or served as long as needed.

Loads no torch unless it serves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.workloads.api.context import Context
from harness.workloads.inference.chat import Endpoint
from harness.workloads.inference.vllm import VllmDtype, installed


@contextmanager
def opened_chat(
    context: Context, role: str, at: Endpoint, *, max_model_len: int, kv_cache_gib: int
) -> Iterator[Endpoint]:
    """Give a chat model; where its address is empty, vLLM serves it and ends with the block.

    Args:
        context: of the run, whose folder takes the server's log.
        role: what the run wants of it.
        at: where it answers, and its name there; the published model where it is served here.
        max_model_len: prompt and reply together, tokens.
        kv_cache_gib: what the cache of its keys and values holds on a GPU.

    Raises:
        HostError: the model, or what serves it, is not here.
        ServiceDied: the server does not start.
    """
    if at.base_url:
        yield at
        return
    from harness.workloads.inference.choice import (  # noqa: PLC0415 - loads torch
        EngineKind,
        Serve,
        serving_chat,
    )

    wanted = Serve(
        kind=EngineKind.VLLM,
        model_dir=context.model(at.model),
        name=at.model,
        dtype=VllmDtype.BFLOAT16,
        max_model_len=max_model_len,
        max_concurrency=1,  # one question is asked once the one before it is answered
        seed=context.spec.seed,
        kv_cache_bytes=kv_cache_gib * 2**30,
    )
    with serving_chat(wanted, context.out / f"{role}.log") as endpoint:
        context.emit.measured("chat.engine", installed(), where={"role": role})
        yield endpoint
