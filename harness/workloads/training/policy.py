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

from harness.atomic import new_folder, share
from harness.workloads.api.context import Context
from harness.workloads.api.steps import Step
from harness.workloads.inference.chat_template import ChatTemplate, load_chat_template
from harness.workloads.inference.choice import EngineKind, Serve, serving_engine
from harness.workloads.inference.engine import BASE, SamplingParams
from harness.workloads.inference.observed import REQUESTS, ObservedEngine
from harness.workloads.inference.vllm import VllmDtype
from harness.workloads.models.lora_settings import Compute, LoraSettings, Product, WeightDtype
from harness.workloads.models.memory import GIB, kv_cache_bytes, number_format
from harness.workloads.models.shape import shape_in
from harness.workloads.training.params import GenerationParams, LoraParams, PolicyParams

if TYPE_CHECKING:  # it needs peft, which a teacher that is only served does not
    from harness.workloads.models.lora import LoraPolicy

WEIGHT_SYNC = "weight_sync_s"  # what new weights took, in the facts of a step


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
) -> Iterator[tuple[ObservedEngine, ChatTemplate]]:
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
        kv_cache_bytes=round(params.kv_cache_gib * GIB)
        or kv_cache_bytes(
            shape_in(folder), number_format(params.dtype), max_model_len, max_concurrency
        ),
        lora_rank=lora_rank,
        num_nodes=context.spec.limits.nodes,
    )
    with serving_engine(wanted, chat_template.end, context.out / f"{name}.log") as engine:
        yield ObservedEngine(engine), chat_template


@dataclass(kw_only=True)
class ServedPolicy:
    """A policy with gradients, and an engine that answers with its weights.

    The engine is told of new weights when it is to answer with them (`settle`), not before: a run
    that takes finished steps changes its weights many times and asks for none of them.

    Attributes:
        policy: what is trained.
        engine: answers with whatever adapter it was given last.
        chat_template: of both.
        adapters: where versions of the weights are kept, a folder each.
        version: digest of the weights that the engine is to answer with; `BASE` for none.
    """

    policy: LoraPolicy
    engine: ObservedEngine
    chat_template: ChatTemplate
    adapters: Path
    version: str = BASE
    _wanted: Path | None = None
    _versions: dict[str, str] = field(default_factory=dict)

    def adapter(self, name: str) -> Path:
        """Return where the weights called `name` are, or will be."""
        return self.adapters / name

    def keep(self, name: str, folder: Path, version: str = "") -> None:
        """Keep the adapter in `folder` under a name; the files are shared where they can be.

        Args:
            name: a new one.
            folder: of peft's two files.
            version: their digest, once it is known.
        """
        self._versions[name] = version
        if not self.adapter(name).exists():
            with new_folder(self.adapter(name)) as new:
                for path in sorted(folder.iterdir()):
                    share(path, new / path.name)

    def answer_with(self, name: str | None) -> None:
        """Let the engine answer with these weights from its next reply on; None for the base."""
        self._wanted = None if name is None else self.adapter(name)
        self.version = BASE if name is None else self._versions[name]

    def settle(self, step: Step | None = None) -> None:
        """Tell the engine of the weights that it is to answer with, once it can answer at all.

        The engine keeps running: it takes the adapter's two files. Starting a server anew, as
        article 33 did, takes 190 to 220 s a step.

        Args:
            step: that it is done for, which notes its requests; its facts then say what it took,
                seconds.
        """
        if step is not None:
            self.engine.note_in(step.folder / REQUESTS)
        self.engine.wait_until_ready()  # else its start counts as time of a sync or of replies
        wanted = BASE if self._wanted is None else self._wanted.name
        if self.engine.served == wanted:
            return
        began = time.monotonic()
        self.engine.refresh(self._wanted)
        if step is not None:
            step.facts.setdefault(WEIGHT_SYNC, []).append(time.monotonic() - began)

    def sync_weights(self, name: str) -> None:
        """Keep the policy's weights under a new name, and let the engine answer with them."""
        self.policy.save(self.adapter(name))
        self._versions[name] = ""
        self.answer_with(name)
        self.settle()


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
    params = context.params
    # the engine first: it starts while peft is imported
    with open_engine(
        context,
        folder,
        name,
        max_model_len=max_model_len,
        max_concurrency=max_concurrency,
        lora_rank=params.lora_rank,
    ) as (engine, chat_template):
        from harness.workloads.models.lora import LoraPolicy  # noqa: PLC0415 - needs peft

        lora, settings = lora_settings(params, context.spec.seed), compute(params)
        yield ServedPolicy(
            policy=LoraPolicy.open(folder, lora, settings),
            engine=engine,
            chat_template=chat_template,
            adapters=context.out / "adapters",
        )
