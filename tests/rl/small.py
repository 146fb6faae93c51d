"""A small policy on a random base, and examples for it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from harness.workloads.models.example import Example, masked
from harness.workloads.models.lora import LoraPolicy
from harness.workloads.models.lora_settings import Compute, LoraSettings
from harness.workloads.rl.advantages import Group, Member
from harness.workloads.rl.rollout import Trace, TurnTrace

VOCABULARY = 64
LORA = LoraSettings(rank=4, alpha=8, seed=3)
CPU = Compute(device="cpu")


def new_base(folder: Path, seed: int = 0, layers: int = 2) -> Path:
    """Write a random Qwen2 whose weights are far enough apart to prefer some tokens."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.2,
        tie_word_embeddings=True,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


def new_policy(base: Path, lora: LoraSettings = LORA, compute: Compute = CPU) -> LoraPolicy:
    """Open a base with an adapter that already does something."""
    policy = LoraPolicy.open(base, lora, compute)
    policy.put(shaken(policy, seed=1))
    return policy


def shaken(policy: LoraPolicy, seed: int) -> dict[str, Tensor]:
    """Return the policy's adapter with noise on it."""
    noise = torch.Generator().manual_seed(seed)
    return {
        name: value + 0.1 * torch.randn(value.shape, generator=noise)
        for name, value in policy.weights().items()
    }


def new_examples(count: int, seed: int = 0) -> list[Example]:
    """Return examples of 5 to 40 random tokens, about half of which are trained."""
    drawn = random.Random(seed)  # noqa: S311 - no secret
    made = []
    for _ in range(count):
        tokens = [drawn.randrange(VOCABULARY) for _ in range(drawn.randint(5, 40))]
        mask = [at > 0 and drawn.random() < 0.5 for at in range(len(tokens) - 1)]
        made.append(masked(tokens, [*mask, True]))
    return made


def new_group(
    policy: LoraPolicy, rewards: Sequence[float], seed: int = 0, key: str = "task"
) -> Group:
    """Return rollouts of two to four random turns, with the policy's own log-probabilities."""
    drawn = random.Random(seed)  # noqa: S311 - no secret
    members = []
    for reward in rewards:
        turns = [
            ([drawn.randrange(VOCABULARY) for _ in range(drawn.randint(2, 9))] for _ in "cr")
            for _ in range(drawn.randint(2, 4))
        ]
        members.append(
            Member(trace=said(policy, [tuple(map(tuple, turn)) for turn in turns]), reward=reward)
        )
    return Group(key=key, members=tuple(members))


def said(policy: LoraPolicy, turns: Sequence[tuple[tuple[int, ...], ...]]) -> Trace:
    """Return the trace of these contexts and replies, as if the policy had drawn them."""
    silent = Trace(
        turns=tuple(
            TurnTrace(context=context, reply=reply, logprobs=(0.0,) * len(reply))
            for context, reply in turns
        )
    )
    with torch.no_grad():
        (logprobs,) = policy.logprobs([silent.example])
    values = iter(logprobs.tolist())
    return Trace(
        turns=tuple(
            replace(turn, logprobs=tuple(next(values) for _ in turn.reply)) for turn in silent.turns
        )
    )
