"""The shape of a GPT as plain numbers: what planning and checking may know without torch."""

from __future__ import annotations

import math
from enum import StrEnum

from harness.records import record

INIT_STD = 0.02  # of every matrix at the start; Megatron-Core's default


class Precision(StrEnum):
    """The arithmetic of the matrix products, and what the parameters are stored in."""

    FP32 = "fp32"  # float32 throughout
    MIXED = "mixed"  # as FP32, under bfloat16 autocast: each step casts the matrices it multiplies
    BF16 = "bf16"  # bfloat16 parameters, gradients and optimizer state, under bfloat16 autocast
    FP8 = "fp8"  # as BF16, with the products of the four linear maps of a layer in eight bits


class Init(StrEnum):
    """What the matrices are drawn from at the start; norms start as ones and zeros everywhere."""

    SCALED = "scaled"  # N(0, 0.02), the maps into the residual stream / sqrt(2 L): Megatron-Core's
    SHARED = "shared"  # as SCALED, drawn by the hand-written model for all: arms start alike
    TORCH = "torch"  # tables N(0, 1), linear maps U(-1, 1) / sqrt(inputs): torch's own
    SMALL_TABLES = "small-tables"  # as TORCH, but for tables of N(0, 0.02)


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


def initial_loss_nats(shape: GptShape, init: Init = Init.SCALED) -> float:
    """Return the mean cross-entropy of the untrained model, whose tables are tied.

    The last norm gives d components of variance one, so with tables of N(0, sigma) a logit is
    normal with variance d sigma^2, and the mean of its exponential adds half of that to ln V:
    11.030 for the model of articles 18 and 19.

    With tables of N(0, 1) the residual stream still is, for the most part, the embedding of the
    very token that was read, whose logit is then ``d / s`` where all others are of order sqrt(d):
    the model repeats its input, surely, and loses ``d / s``. The variance of the stream is
    ``s^2 = 2 + L E[gelu(z)^2] / 3`` with z of variance 1/3: two tables, and what every feed-forward
    map adds. That leaves out what attention adds, 3 % of the variance at 24 layers, so the figure
    is 2 % high there: 597 nats where 585.6 were recorded.
    """
    if init is Init.TORCH:
        stream_variance = 2 + shape.num_layers * _gelu_second_moment(1 / 3) / 3
        return shape.width / math.sqrt(stream_variance)
    return math.log(shape.vocab_size) + shape.width * INIT_STD**2 / 2


def _gelu_second_moment(variance: float) -> float:
    """Return ``E[gelu(z)^2]`` of z from N(0, variance), by Stein's lemma applied twice."""
    v = variance
    of_both_sides = v * (1 / 4 + math.asin(v / (1 + v)) / (2 * math.pi))
    return of_both_sides + v * v / (math.pi * (1 + v) * math.sqrt(1 + 2 * v))
