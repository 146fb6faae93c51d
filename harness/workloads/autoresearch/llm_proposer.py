"""A language model as proposer: behind any OpenAI-compatible endpoint, or served beside the loop.

Article 22's is Llama 3.1 8B, served by a NIM on the machine that trains: temperature 0.5, at most
200 tokens, 60 seconds, no seed. This one sends a seed, its own for every iteration, so that a
server which honours it answers the same again.

The tiny model that can be served here knows files, not pretraining: its proposals are no better
than random. Its answers are constrained to a pattern, token by token (vLLM's structured outputs),
so every one is an object with the three keys, a knob of the menu and a value of its domain. What
form cannot guarantee, such as that anything changes, is still for the rails.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field, replace
from typing import Any, TypeVar

from harness.errors import HostError, first_line
from harness.records import record
from harness.workloads.api.context import Context
from harness.workloads.autoresearch.params import SearchParams
from harness.workloads.autoresearch.prompt import ProposerError, ProposerPrompt
from harness.workloads.autoresearch.search_space import Space
from harness.workloads.inference.chat import ChatSamplingParams, Endpoint, chat
from harness.workloads.inference.chat_template import Message, Role
from harness.workloads.inference.opened_chat import opened_chat
from harness.workloads.inference.service import RunningService
from harness.workloads.inference.vllm import OnCpu, Serving, VllmDtype, installed, vllm_service
from harness.workloads.tiny_models.checkpoint import tiny_model

LOG_FILE = "vllm.log"
# the policy's context is 2048 tokens, about 1.4 characters each where the text is not of files
PROMPT_CHARACTERS = 1200
_NAME = "policy"
_CONTEXT_TOKENS = 2048
_ASKED_TOKENS = 8192  # the article's prompt has some 1500, a record of two hundred trials more
_CACHE_GIB = 2  # what Llama 3.1 8B holds of so many takes 1
Searching = TypeVar("Searching", bound=SearchParams)
_SPECIAL = re.compile(r"[.+*?()\[\]{}|^$\\]")
_REASON = "[A-Z][a-z]{1,11}( [a-z]{1,11}){0,7}\\."


@record
class ChatProposer:
    """The protocol `Proposer`, with a model.

    Attributes:
        seed: of the first iteration; each further one adds 1.
        form: the pattern of vLLM's structured output; empty for none.
        most_characters: of the user message, its last ones; None for all.
    """

    endpoint: Endpoint
    temperature: float
    max_new_tokens: int
    seed: int
    form: Mapping[str, Any] = field(default_factory=dict)
    most_characters: int | None = None

    @property
    def identity(self) -> str:
        """The model's name on its server."""
        return self.endpoint.model

    def require(self) -> None:
        """Make sure that somebody answers, before anything is trained.

        Raises:
            HostError: no server answers, or not in this protocol.
        """
        question = (Message(role=Role.USER, content="Answer with the word ready."),)
        chat(self.endpoint, question, ChatSamplingParams(temperature=0.0, max_new_tokens=1))

    def propose(self, brief: ProposerPrompt) -> str:
        """Return the model's answer, whatever it is.

        Raises:
            ProposerError: none came; a NIM that fails uses up the iteration, as published.
        """
        messages = (
            Message(role=Role.SYSTEM, content=brief.system),
            Message(role=Role.USER, content=brief.user[-(self.most_characters or 0) :]),
        )
        sampling = ChatSamplingParams(
            temperature=self.temperature,
            max_new_tokens=self.max_new_tokens,
            seed=self.seed + brief.iteration - 1,
            extra={"structured_outputs": self.form} if self.form else None,
        )
        try:
            return chat(self.endpoint, messages, sampling)
        except HostError as error:
            raise ProposerError(first_line(error)) from None


@contextmanager
def served(context: Context, params: Searching) -> Iterator[Searching]:
    """Serve the model that is to propose, where the run has to; give params that say where.

    Raises:
        HostError: vLLM or the model is not here, or the policy is not as it was made.
        EngineError: it does not start.
    """
    if params.proposer == "llm":
        at = Endpoint(base_url=params.proposer_base_url, model=params.proposer_model)
        size = {"max_model_len": _ASKED_TOKENS, "kv_cache_gib": _CACHE_GIB}
        with opened_chat(context, "proposer", at, **size) as endpoint:
            yield replace(params, proposer_base_url=endpoint.base_url)
        return
    if params.proposer != "served":
        yield params
        return
    if not installed():
        message = f"vLLM is to serve the proposer, and {sys.executable} has none"
        raise HostError(message, "nox -s rl  # makes an environment that has")
    serving = Serving(
        model_dir=tiny_model("files"),
        name=_NAME,
        dtype=VllmDtype.FLOAT32,
        max_model_len=_CONTEXT_TOKENS,
        max_num_seqs=1,
        seed=0,
        place=OnCpu(kv_cache_gib=1),
    )
    with RunningService(vllm_service(serving), context.out / LOG_FILE) as service:
        yield replace(params, proposer_base_url=f"{service.url}/v1", proposer_model=_NAME)


def structured_outputs(space: Space) -> dict[str, Any]:
    """Return what an answer must look like: one of the menu's changes, with a plain reason.

    A pattern, not a JSON schema: between the parts of an object a schema allows white space without
    end, and a model that prefers it would generate nothing else.
    """
    changes = []
    for knob in space.knobs.values():
        values = "|".join(_SPECIAL.sub(r"\\\g<0>", json.dumps(value)) for value in knob.levels())
        changes.append(f'"knob": "{knob.name}", "new_value": ({values})')
    return {"regex": rf'\{{({"|".join(changes)}), "reason": "{_REASON}"\}}'}
