"""The policy's model: Qwen2's architecture with a million parameters, and where it starts from.

A small transformer learns to copy late and suddenly, when one layer's heads look at the previous
token and the next layer's heads look for what followed the same token before ("induction heads",
Olsson et al. 2022). Both are written into the initial weights here, which takes the copying loss to
0.1 within 200 steps, where it would stay above 4. Qwen2's biases make the first kind possible
without changing the architecture, so that any engine loads the result.
"""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import Qwen2Config, Qwen2ForCausalLM

from harness.workloads.tiny_models.tokenizer import END, MAX_TOKENS

_ROPE_THETA = 10_000.0
_HEADS = 4
_COPYING_HEADS = 3  # of each of the first two layers; the fourth is left to learn anything
_SHARPNESS = 6.0  # of the heads that look one back, in query and key
_MATCHING = 1.5  # of the heads that look for the same token, in query and key
_WRITING = 0.05  # of both: what they add to the residual is then about as long as an embedding


def shape_of(tokenizer: Tokenizer) -> Qwen2Config:
    """Return the architecture for a tokenizer: 0.9 million parameters, tied embeddings."""
    end = tokenizer.token_to_id(END)
    return Qwen2Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=_HEADS,
        num_key_value_heads=_HEADS,
        max_position_embeddings=MAX_TOKENS,
        rope_parameters={"rope_type": "default", "rope_theta": _ROPE_THETA},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=end,
    )


def new_model(shape: Qwen2Config, seed: int) -> Qwen2ForCausalLM:
    """Return an untrained model with copying heads."""
    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(shape)
    first, second = (layer.self_attn for layer in model.model.layers[:2])
    width = _COPYING_HEADS * first.head_dim
    token, shifted, copied = (
        nn.init.orthogonal_(torch.empty(width, shape.hidden_size)) for _ in range(3)
    )
    with torch.no_grad():
        _look_one_back(first, first.head_dim)
        first.v_proj.weight[:width] = token
        first.o_proj.weight[:, :width] = _WRITING * shifted.T
        # a query for the present token finds the positions that `first` marked with it as their
        # previous one, and its content is written out
        second.q_proj.weight[:width] = _MATCHING * token
        second.k_proj.weight[:width] = _MATCHING * shifted
        second.v_proj.weight[:width] = copied
        second.o_proj.weight[:, :width] = _WRITING * copied.T
    return model


def _look_one_back(attention: Any, head_dim: int) -> None:
    """Make the copying heads attend to the previous token, whatever the tokens are.

    All queries are equal, and all keys are that query turned by one position in every rotary
    frequency: after RoPE, a query agrees best with the key one position before it.
    """
    width = _COPYING_HEADS * head_dim
    frequencies = _ROPE_THETA ** -(torch.arange(head_dim // 2) / (head_dim // 2))
    query = torch.cat((torch.ones_like(frequencies), torch.zeros_like(frequencies)))
    key = torch.cat((frequencies.cos(), frequencies.sin()))
    for projection, bias in ((attention.q_proj, query), (attention.k_proj, key)):
        projection.weight[:width] = 0.0
        projection.bias[:width] = _SHARPNESS * bias.repeat(_COPYING_HEADS)
