"""A GPT written by hand, as articles 18 and 19 train it.

Pre-norm decoder, learned positions, exact GELU, LayerNorm with weight and bias, no bias in the
linear maps, one table for embedding and output. How it departs from the article: that built the
same network out of Megatron-Core and Transformer Engine layers; shapes, dtypes, dropout,
initialisation and what is kept for the backward pass are the same here, kernels are not.

Shapes in names: B batch, S positions, D width, E = 3 D, F feed-forward width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from harness.workloads.models.shape import INIT_STD, Init, ModelShape

LinearFactory = Callable[[int, int], nn.Module]
bias_free: LinearFactory = partial(nn.Linear, bias=False)


class Gpt(nn.Module):
    """Token ids (B, S) to logits (B, S, V).

    Args:
        shape: the sizes.
        dropout: probability, for the embedding, the attention weights and both residual branches.
        linear: makes the four linear maps of a layer, given input and output width.
        init: what the matrices are drawn from.
    """

    def __init__(
        self,
        shape: ModelShape,
        *,
        dropout: float,
        linear: LinearFactory = bias_free,
        init: Init = Init.SCALED,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.positions = nn.Embedding(shape.num_positions, shape.hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(shape, dropout=dropout, linear=linear) for _ in range(shape.num_hidden_layers)
        )
        self.norm = LayerNorm(shape.hidden_size)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:  # noqa: PLR2004 - a matrix
                if name in ("tokens.weight", "positions.weight"):
                    nn.init.normal_(parameter, std=1.0 if init is Init.TORCH else INIT_STD)
                elif init in (Init.TORCH, Init.SMALL_TABLES):
                    nn.init.kaiming_uniform_(parameter, a=math.sqrt(5))  # U(-1, 1) / sqrt(inputs)
                else:
                    into_residual = name.endswith(("attend.out.weight", "down.weight"))
                    nn.init.normal_(
                        parameter,
                        std=INIT_STD
                        / math.sqrt(2 * shape.num_hidden_layers if into_residual else 1),
                    )

    def forward(self, ids_BS: Tensor) -> Tensor:
        """Return the logits of the next token at every position."""
        x_BSD = self.tokens(ids_BS) + self.positions.weight[: ids_BS.shape[1]]
        x_BSD = self.dropout(x_BSD).to(self.tokens.weight.dtype)  # the position table stays float32
        for block in self.blocks:
            x_BSD = block(x_BSD)
        return F.linear(self.norm(x_BSD), self.tokens.weight)

    def store_in(self, dtype: torch.dtype) -> None:
        """Store the parameters in `dtype`, except the position table.

        Megatron-Core makes that table a plain float32 embedding whatever the parameters' dtype, so
        the article's first residual stream is float32 until the first addition.
        """
        self.to(dtype)
        self.positions.to(torch.float32)


class Block(nn.Module):
    """One layer: attention, then the feed-forward map, each normed before and added after."""

    def __init__(self, shape: ModelShape, *, dropout: float, linear: LinearFactory) -> None:
        super().__init__()
        self.attend_norm = LayerNorm(shape.hidden_size)
        self.attend = Attention(shape, dropout=dropout, linear=linear)
        self.feed_norm = LayerNorm(shape.hidden_size)
        self.up = linear(shape.hidden_size, shape.intermediate_size)
        self.down = linear(shape.intermediate_size, shape.hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BSD: Tensor) -> Tensor:
        """Return the residual stream after this layer."""
        x_BSD = x_BSD + self.dropout(self.attend(self.attend_norm(x_BSD)))
        hidden_BSF = F.gelu(self.up(self.feed_norm(x_BSD)))
        out_BSD: Tensor = x_BSD + self.dropout(self.down(hidden_BSF))
        return out_BSD


class Attention(nn.Module):
    """Causal self-attention with one fused map to queries, keys and values."""

    def __init__(self, shape: ModelShape, *, dropout: float, linear: LinearFactory) -> None:
        super().__init__()
        self.num_heads = shape.num_attention_heads
        self.dropout = dropout
        self.qkv = linear(shape.hidden_size, 3 * shape.hidden_size)
        self.out = linear(shape.hidden_size, shape.hidden_size)

    def forward(self, x_BSD: Tensor) -> Tensor:
        """Return what every position gathers from itself and those before it."""
        batch, positions, width = x_BSD.shape
        by_head = (batch, positions, self.num_heads, width // self.num_heads)
        q, k, v = (
            part_BSD.view(by_head).transpose(1, 2) for part_BSD in self.qkv(x_BSD).split(width, -1)
        )
        dropout = self.dropout if self.training else 0.0
        gathered = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        gathered_BSD = gathered.transpose(1, 2).reshape(batch, positions, width)
        out_BSD: Tensor = self.out(gathered_BSD)
        return out_BSD


class LayerNorm(nn.LayerNorm):
    """LayerNorm in the dtype of its weights, as Transformer Engine's.

    Autocast would compute it in float32 and keep a float32 copy of its input for the backward
    pass: 2 d bytes more a token and norm, which the article's measured peaks do not have.
    """

    def forward(self, x_BSD: Tensor) -> Tensor:
        """Return the normed residual stream, in the weights' dtype."""
        with torch.autocast(x_BSD.device.type, enabled=False):
            return super().forward(x_BSD)
