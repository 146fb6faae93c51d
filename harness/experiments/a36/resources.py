"""What a run holds open: the world and its retriever, a served policy, the same one to train."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from harness.experiments.a36.memory import require_memory
from harness.experiments.a36.params import A2tgpoParams
from harness.workloads.api.context import Context
from harness.workloads.envs.search.protocol import SearchPromptStyle
from harness.workloads.envs.search.retriever import RemoteRetriever, Retriever
from harness.workloads.envs.search.retriever_server import retriever_service
from harness.workloads.envs.search.rollout import SearchPolicy
from harness.workloads.envs.search.world import Question, World
from harness.workloads.inference.chat_template import ChatTemplate, load_chat_template
from harness.workloads.inference.choice import EngineKind, Serve, serving_engine
from harness.workloads.inference.engine import Engine, SamplingParams
from harness.workloads.inference.vllm import VllmDtype as ServedDtype
from harness.workloads.models.lora import LoraPolicy
from harness.workloads.tiny_models.checkpoint import tiny_model
from harness.workloads.training.settings import Compute, LoraSettings, Product, WeightDtype

SMALL = "small"
E5 = "intfloat/e5-base-v2@f52bf8ec8c7124536f0efb74aca902b2995e5bcd"


@dataclass(kw_only=True)
class SearchAgentResources:
    """Everything open.

    Attributes:
        pool: questions that are trained on.
        held_out: questions that never are.
        retriever: who finds passages.
        engine: serves the policy, with whatever adapter it was given last.
        chat_template: of the policy.
        policy: the same model, with gradients.
    """

    context: Context
    params: A2tgpoParams
    pool: tuple[Question, ...]
    held_out: tuple[Question, ...]
    retriever: Retriever
    engine: Engine
    chat_template: ChatTemplate
    policy: LoraPolicy

    @property
    def questions(self) -> Mapping[str, Question]:
        """All of them, by key."""
        return {each.key: each for each in (*self.pool, *self.held_out)}

    def player(self, temperature: float, round_: int) -> SearchPolicy:
        """Return who plays with the weights that the engine has.

        Args:
            temperature: of the replies.
            round_: seeds are another one's in each round.
        """
        return SearchPolicy(
            engine=self.engine,
            chat_template=self.chat_template,
            retriever=self.retriever,
            sampling=SamplingParams(
                temperature=temperature,
                max_new_tokens=self.params.max_new_tokens,
                seed=1000 * self.context.spec.seed + round_,
            ),
            prompt_style=SearchPromptStyle(self.params.prompt_style),
            max_calls=self.params.max_calls,
            retriever_top_k=self.params.retriever_top_k,
        )

    def serve(self, name: str) -> None:
        """Save the policy's weights under a new name, and let the engine answer with them."""
        folder = self.context.out / "adapters" / name
        self.policy.save(folder)
        self.engine.refresh(folder)


@contextmanager
def open_resources(context: Context) -> Iterator[SearchAgentResources]:
    """Make the world, load and serve policy and retriever; end everything with the block.

    Raises:
        HostError: the memory is too small for it.
    """
    params: A2tgpoParams = context.params
    require_memory(params)
    torch.set_num_threads(params.num_threads)
    world = World(params.world_seed, params.num_entities_per_type)
    asked = world.questions(
        params.world_seed, params.train_questions + params.num_eval_examples, params.hops
    )
    folder = tiny_model("search") if params.model == SMALL else context.model(params.model)
    chat_template = load_chat_template(folder)
    with ExitStack() as stack:
        retriever = stack.enter_context(_retriever(context, world.passages))
        policy = LoraPolicy.open(folder, _lora(context), _compute(params))
        engine = stack.enter_context(
            serving_engine(_serve(context, folder), chat_template.end, context.out / "server.log")
        )
        yield SearchAgentResources(
            context=context,
            params=params,
            pool=asked[: params.train_questions],
            held_out=asked[params.train_questions :],
            retriever=retriever,
            engine=engine,
            chat_template=chat_template,
            policy=policy,
        )


@contextmanager
def _retriever(context: Context, passages: Sequence[str]) -> Iterator[Retriever]:
    """Open what finds passages; a server that is somebody else's is only asked."""
    params: A2tgpoParams = context.params
    if params.retriever.startswith("http://"):
        remote = RemoteRetriever(params.retriever)
        try:
            yield remote
        finally:
            remote.close()
        return
    encoder = context.model(E5) if params.retriever == "e5" else None
    with retriever_service(passages, context.out, encoder) as served:
        yield served


def _lora(context: Context) -> LoraSettings:
    params: A2tgpoParams = context.params
    return LoraSettings(
        rank=params.lora_rank, alpha=params.lora_alpha, dropout=0.0, seed=context.spec.seed
    )


def _compute(params: A2tgpoParams) -> Compute:
    return Compute(
        dtype=WeightDtype(params.dtype),
        gradient_checkpointing=params.gradient_checkpointing,
        product=Product.FOLDED if params.model == SMALL else Product.BRANCH,
    )


def _serve(context: Context, folder: Path) -> Serve:
    params: A2tgpoParams = context.params
    return Serve(
        kind=EngineKind(params.engine),
        model_dir=folder,
        name="policy",
        dtype=ServedDtype(params.dtype),
        max_model_len=params.max_model_len,
        max_concurrency=params.max_concurrency,
        seed=context.spec.seed,
        gpu_memory_utilization=params.gpu_memory_utilization,
        lora_rank=params.lora_rank,
    )
