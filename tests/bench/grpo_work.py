"""A GRPO step as data: a model, an adapter and rollouts that both trainers are given."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness.workloads.rl.advantages import Group, Member
from harness.workloads.rl.rollout import Trace, TurnTrace

VOCABULARY = 648  # the small policy's
GROUPS, MEMBERS = 8, 4  # article 33
PROMPT, REPLY, OBSERVATION = 75, 14, 10  # tokens: of the small policy in the world of file tasks
TURNS = range(4, 17)  # some three hundred tokens a rollout
KL = 0.04
LEARNING_RATE = 1e-3

Rollout = dict[str, Any]  # what goes to JSON: group, prompt, completion, mask, reward


def rollouts() -> list[Rollout]:
    """Return 32 rollouts of random tokens and rewards, some three hundred tokens each."""
    drawn = random.Random(0)  # noqa: S311 - no secret

    def tokens(count: int) -> list[int]:
        return [drawn.randrange(3, VOCABULARY) for _ in range(count)]

    made = []
    for group in range(GROUPS):
        prompt = tokens(PROMPT)
        for _ in range(MEMBERS):
            turns = drawn.choice(TURNS)
            mask = ([1] * REPLY + [0] * OBSERVATION) * (turns - 1) + [1] * REPLY
            made.append(
                {
                    "group": group,
                    "prompt": prompt,
                    "completion": tokens(len(mask)),
                    "mask": mask,
                    "reward": drawn.random(),
                }
            )
    return made


def groups(made: Sequence[Rollout]) -> list[Group]:
    """Return the rollouts as the trainer takes them."""
    return [
        Group(
            key=str(number),
            members=tuple(
                Member(trace=_trace(each), reward=each["reward"])
                for each in made
                if each["group"] == number
            ),
        )
        for number in range(GROUPS)
    ]


def _trace(rollout: Rollout) -> Trace:
    mask, completion = rollout["mask"], rollout["completion"]
    edges = [0, *(at for at in range(1, len(mask)) if mask[at] != mask[at - 1]), len(mask)]
    turns, context = [], rollout["prompt"]
    for start, end in pairwise(edges):
        if mask[start]:
            reply = tuple(completion[start:end])
            logprobs = (-6.0,) * len(reply)  # no engine drew them
            turns.append(TurnTrace(context=tuple(context), reply=reply, logprobs=logprobs))
        else:
            context = completion[start:end]
    return Trace(turns=tuple(turns))


def write(folder: Path) -> None:
    """Write model, tokenizer, adapter and rollouts."""
    import torch  # noqa: PLC0415 - children of this module's importers set their threads first
    from tokenizers import Tokenizer, models  # noqa: PLC0415
    from transformers import (  # noqa: PLC0415
        PreTrainedTokenizerFast,
        Qwen2Config,
        Qwen2ForCausalLM,
    )

    from harness.workloads.models.lora import LoraPolicy  # noqa: PLC0415
    from harness.workloads.models.lora_settings import Compute, LoraSettings  # noqa: PLC0415

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        eos_token_id=0,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder / "model")
    vocabulary = {f"t{number}": number for number in range(VOCABULARY)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="t1"))
    named = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="t0", pad_token="t2")
    named.save_pretrained(folder / "model")
    policy = LoraPolicy.open(folder / "model", LoraSettings(dropout=0.0), Compute(device="cpu"))
    noise = torch.Generator().manual_seed(1)
    policy.put(
        {
            name: value + 0.02 * torch.randn(value.shape, generator=noise)
            for name, value in policy.weights().items()
        }
    )
    policy.save(folder / "adapter")
    (folder / "rollouts.json").write_text(json.dumps(rollouts()), encoding="utf-8")
