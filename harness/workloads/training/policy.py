"""A policy that is trained and served: a LoRA policy, an engine with the same weights, their sync.

An experiment's parameters become settings here, by one function for each group of
`harness.workloads.training.params`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.workloads.api.context import Context
from harness.workloads.inference.chat_template import ChatTemplate, load_chat_template
from harness.workloads.inference.choice import EngineKind, Serve, serving_engine
from harness.workloads.inference.engine import Engine, SamplingParams
from harness.workloads.inference.vllm import VllmDtype
from harness.workloads.models.lora_settings import Compute, LoraSettings, Product, WeightDtype
from harness.workloads.training.params import GenerationParams, LoraParams, PolicyParams

if TYPE_CHECKING:  # it needs peft, which a teacher that is only served does not
    from harness.workloads.models.lora import LoraPolicy


def lora_settings(params: LoraParams, seed: int) -> LoraSettings:
    """Return the adapter's settings."""
    return LoraSettings(
        rank=params.lora_rank, alpha=params.lora_alpha, dropout=params.lora_dropout, seed=seed
    )


def compute(params: PolicyParams) -> Compute:
    """Return how the trainer computes."""
    is_published = "/" in params.model  # the others have about a million parameters
    return Compute(
        dtype=WeightDtype(params.dtype),
        bf16=params.bf16,
        gradient_checkpointing=params.gradient_checkpointing,
        product=Product.BRANCH if is_published else Product.FOLDED,
    )


def sampling_params(params: GenerationParams, seed: int) -> SamplingParams:
    """Return how replies are sampled wherever policies are compared."""
    return SamplingParams(
        temperature=params.temperature,
        max_new_tokens=params.max_new_tokens,
        seed=seed,
        top_p=params.top_p,
        top_k=params.top_k,
    )


@contextmanager
def open_engine(
    context: Context,
    folder: Path,
    name: str,
    *,
    max_model_len: int,
    max_concurrency: int,
    lora_rank: int | None = None,
) -> Iterator[tuple[Engine, ChatTemplate]]:
    """Serve the model in `folder`, as `PolicyParams` say; what is started ends with the block.

    Args:
        context: of the run; its log takes what a server prints.
        folder: the model's.
        name: how logs call it.
        max_model_len: prompt and reply together, tokens.
        max_concurrency: replies that are sampled at once.
        lora_rank: the largest of an adapter that it can be given; None for none.

    Raises:
        HostError: the engine that is asked for is not installed.
        EngineError: the model cannot be served.
    """
    params: PolicyParams = context.params
    chat_template = load_chat_template(folder)
    wanted = Serve(
        kind=EngineKind(params.engine),
        model_dir=folder,
        name=name,
        dtype=VllmDtype(params.dtype),
        max_model_len=max_model_len,
        max_concurrency=max_concurrency,
        seed=context.spec.seed,
        gpu_memory_utilization=params.gpu_memory_utilization,
        lora_rank=lora_rank,
    )
    with serving_engine(wanted, chat_template.end, context.out / f"{name}.log") as engine:
        yield engine, chat_template


@dataclass(kw_only=True)
class ServedPolicy:
    """A policy with gradients, and an engine that answers with its weights.

    Attributes:
        policy: what is trained.
        engine: answers with whatever adapter it was given last.
        chat_template: of both.
        adapters: where versions of the weights are kept, a folder each.
        weight_sync_s: what giving the engine new weights took, each, seconds.
    """

    policy: LoraPolicy
    engine: Engine
    chat_template: ChatTemplate
    adapters: Path
    weight_sync_s: list[float] = field(default_factory=list)

    def adapter(self, name: str) -> Path:
        """Return where the weights called `name` are, or will be."""
        return self.adapters / name

    def sync_weights(self, name: str) -> None:
        """Keep the policy's weights under a new name, and let the engine answer with them.

        The engine keeps running: it takes the adapter's two files. Starting a server anew, as
        article 33 did, takes 190 to 220 s a step.
        """
        self.policy.save(self.adapter(name))
        self.answer_with(self.adapter(name))

    def answer_with(self, adapter: Path | None) -> None:
        """Let the engine answer with these weights; None for the model as it was published."""
        if adapter is not None and self.engine.served == adapter.name:
            return
        began = time.monotonic()
        self.engine.refresh(adapter)
        self.weight_sync_s.append(time.monotonic() - began)


@contextmanager
def open_policy(
    context: Context, folder: Path, name: str, *, max_model_len: int, max_concurrency: int
) -> Iterator[ServedPolicy]:
    """Load the policy in `folder` to train it, and serve it too; the server ends with the block.

    Args:
        context: of the run, whose params are `PolicyParams` and `LoraParams`.
        folder: the model's.
        name: how logs call it.
        max_model_len: prompt and reply together, tokens.
        max_concurrency: replies that are sampled at once.

    Raises:
        HostError: the engine that is asked for is not installed.
        EngineError: the model cannot be served.
    """
    from harness.workloads.models.lora import LoraPolicy  # noqa: PLC0415 - needs peft

    params = context.params
    policy = LoraPolicy.open(folder, lora_settings(params, context.spec.seed), compute(params))
    with open_engine(
        context,
        folder,
        name,
        max_model_len=max_model_len,
        max_concurrency=max_concurrency,
        lora_rank=params.lora_rank,
    ) as (engine, chat_template):
        yield ServedPolicy(
            policy=policy,
            engine=engine,
            chat_template=chat_template,
            adapters=context.out / "adapters",
        )
