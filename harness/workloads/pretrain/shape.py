"""The shape of a GPT as plain numbers: what planning and checking may know without torch."""

from __future__ import annotations

import math
from enum import StrEnum

from harness.records import record

INIT_STD = 0.02  # of every matrix at the start; Megatron-Core's default


class Precision(StrEnum):
    """The arithmetic of the matrix products, and what the parameters are stored in."""

    FP32 = "fp32"  # float32 throughout
    BF16 = "bf16"  # bfloat16 parameters, gradients and optimizer state, under bfloat16 autocast
    FP8 = "fp8"  # as BF16, with the products of the four linear maps of a layer in eight bits


@record
class GptShape:
    """A decoder-only transformer with tied embeddings and no bias in its linear maps.

    Attributes:
        vocab_size: rows of the token table, V; articles 18 and 19 leave 50257 unpadded.
        max_positions: rows of the learned position table, S.
        num_layers: L.
        width: d, the residual stream.
        num_heads: heads of the causal attention.
        ff_width: the hidden layer of a block's feed-forward map.
    """

    vocab_size: int
    max_positions: int
    num_layers: int
    width: int
    num_heads: int
    ff_width: int


def num_linear_parameters(shape: GptShape) -> int:
    """Return the weights of the linear maps inside the layers: fused qkv, projection, fc1, fc2."""
    return shape.num_layers * (4 * shape.width**2 + 2 * shape.width * shape.ff_width)


def num_parameters(shape: GptShape) -> int:
    """Return the number of parameters: ``V d + S d + L (12 d^2 + 4 d) + 2 d`` where ff = 4 d.

    354,601,984 for the model of article 19 at 1024 positions, 355,650,560 at 2048.
    """
    tables = (shape.vocab_size + shape.max_positions) * shape.width
    norms = (
        (2 * shape.num_layers + 1) * 2 * shape.width
    )  # weight and bias, two a layer and the last
    return tables + num_linear_parameters(shape) + norms


def initial_loss_nats(shape: GptShape) -> float:
    """Return the mean cross-entropy of the untrained model: ``ln V + d sigma^2 / 2``.

    The last norm gives d components of variance one, so a logit is normal with variance d sigma^2,
    and the mean of its exponential adds half of that. 11.030 for the model of article 19.
    """
    return math.log(shape.vocab_size) + shape.width * INIT_STD**2 / 2
