"""Resources of one run of article 36: world, retriever, engine, trainable policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch

from harness.experiments.a36.params import A2tgpoParams
from harness.workloads.api.context import Context
from harness.workloads.envs.search.environment import SearchEnvironment, SearchEpisode
from harness.workloads.envs.search.protocol import SearchPromptStyle, before_answer
from harness.workloads.envs.search.retriever import RemoteRetriever, Retriever
from harness.workloads.envs.search.retriever_server import retriever_service
from harness.workloads.envs.search.world import Question, World
from harness.workloads.models.adapter import base_identity
from harness.workloads.rl.algorithms.information_gain import GoldAnswer, gold_answer
from harness.workloads.rl.rollout import RolloutLog
from harness.workloads.rl.runner import Runner
from harness.workloads.tiny_models.checkpoint import tiny_model
from harness.workloads.training.params import SMALL
from harness.workloads.training.policy import (
    ServedPolicy,
    open_policy,
)

E5 = "intfloat/e5-base-v2@f52bf8ec8c7124536f0efb74aca902b2995e5bcd"


@dataclass(frozen=True, kw_only=True)
class SearchAgentResources:
    """Everything open.

    Attributes:
        pool: questions that are trained on.
        held_out: questions that never are.
        runner: plays rollouts.
        served: the policy.
        model: the base that is trained (`base_identity`).
    """

    context: Context
    params: A2tgpoParams
    pool: tuple[Question, ...]
    held_out: tuple[Question, ...]
    runner: Runner[Question, SearchEpisode]
    served: ServedPolicy
    model: str

    @property
    def plays(self) -> Mapping[str, Any]:
        """What decides a rollout beside policy, question and sampling, as params of a step."""
        params = self.params
        return {
            "model": self.model,
            "dtype": params.dtype,
            "max_model_len": params.max_model_len,
            "environment": self.runner.environment().settings,
            "prompt_style": params.prompt_style,
            "world": [params.world_seed, params.num_entities_per_type, list(params.hops)],
            "retriever": [params.retriever, params.retriever_top_k, params.max_calls],
        }

    @cached_property
    def gold(self) -> Mapping[str, GoldAnswer]:
        """The right answers of all questions, by id, in the policy's tokens."""
        before = before_answer(SearchPromptStyle(self.params.prompt_style))
        return {
            each.task_id: gold_answer(before, each.answer, self.served.chat_template)
            for each in (*self.pool, *self.held_out)
        }


@contextmanager
def open_resources(context: Context) -> Iterator[SearchAgentResources]:
    """Make the world, load and serve policy and retriever; end everything with the block."""
    params: A2tgpoParams = context.params
    torch.set_num_threads(params.num_threads)
    world = World(params.world_seed, params.num_entities_per_type)
    asked = world.questions(
        params.world_seed, params.train_questions + params.num_eval_examples, params.hops
    )
    folder = tiny_model("search") if params.model == SMALL else context.model(params.model)
    with ExitStack() as stack:
        retriever = stack.enter_context(_retriever(context, world.passages))
        served = stack.enter_context(
            open_policy(
                context,
                folder,
                "policy",
                max_model_len=params.max_model_len,
                max_concurrency=params.max_concurrency,
            )
        )
        environment = partial(
            SearchEnvironment,
            retriever,
            SearchPromptStyle(params.prompt_style),
            params.max_calls,
            params.retriever_top_k,
        )
        yield SearchAgentResources(
            context=context,
            params=params,
            pool=asked[: params.train_questions],
            held_out=asked[params.train_questions :],
            runner=Runner(
                environment=environment,
                log=RolloutLog(context.out / "rollouts.jsonl", SearchEpisode),
                max_concurrency=params.max_concurrency,
            ),
            model=base_identity(folder),
            served=served,
        )


@contextmanager
def _retriever(context: Context, passages: Sequence[str]) -> Iterator[Retriever]:
    """Open the retriever; an external server is only queried."""
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
