"""A language model behind an OpenAI-compatible chat endpoint as proposer (article 22).

The article's is Llama 3.1 8B, served by a NIM on the machine that trains: temperature 0.5, at most
200 tokens, 60 seconds, no seed. This one sends a seed, its own for every iteration, so that a
server which honours it answers the same again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from harness.errors import HostError
from harness.records import record
from harness.workloads.autoresearch.prompt import Brief, ProposerError
from harness.workloads.envs.files.protocol import Message, Role
from harness.workloads.inference.chat import Endpoint, Sampling, chat


@record
class ChatProposer:
    """The protocol `Proposer`, with a model.

    Attributes:
        seed: of the first iteration; each further one adds 1.
        form: what vLLM holds an answer to while it is drawn; empty for nothing.
        most_characters: of the user message, its last ones; None for all.
    """

    endpoint: Endpoint
    temperature: float
    max_tokens: int
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
            HostError: nobody does, or not in this protocol.
        """
        question = (Message(role=Role.USER, content="Answer with the word ready."),)
        chat(self.endpoint, question, Sampling(temperature=0.0, max_tokens=1))

    def propose(self, brief: Brief) -> str:
        """Return the model's answer, whatever it is.

        Raises:
            ProposerError: none came; a NIM that fails uses up the iteration, as published.
        """
        messages = (
            Message(role=Role.SYSTEM, content=brief.system),
            Message(role=Role.USER, content=brief.user[-(self.most_characters or 0) :]),
        )
        sampling = Sampling(
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            seed=self.seed + brief.iteration - 1,
            extra={"structured_outputs": self.form} if self.form else None,
        )
        try:
            return chat(self.endpoint, messages, sampling)
        except HostError as error:
            message, _, _ = str(error).partition("\n")
            raise ProposerError(message) from None
