"""The shape of a decoder-only transformer, and its parameters. Loads no torch.

Every other module counts a model's parameters by `num_parameters`: of the GPT that articles 18 to
22 train and of the published models that the others adapt.
"""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path

from harness.reading import read_json
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
    SMALL_TABLES = "small-tables"  # as TORCH, except embeddings of N(0, 0.02)


class Projection(StrEnum):
    """A weight matrix of a layer, under the name that checkpoints and peft give it."""

    Q = "q_proj"
    K = "k_proj"
    V = "v_proj"
    O = "o_proj"  # noqa: E741 - the paper's own letter
    GATE = "gate_proj"
    UP = "up_proj"
    DOWN = "down_proj"


@record
class ModelShape:
    """A decoder-only transformer.

    Attributes:
        name: of a published model.
        head_dim: width of one head; num_heads * head_dim need not be d_model (Qwen3).
        vocab_size: rows of the token table, V.
        num_positions: rows of a learned position table; 0 where positions are rotary.
        tied: the output projection is the token embedding.
        gated: the feed-forward has a gate (SwiGLU): three matrices instead of two.
        qkv_bias: query, key and value projections have a bias; no other projection has.
        qk_norm: queries and keys are normalised per head, with one gain for each of the two.
        norm_bias: LayerNorm (gain and bias) instead of RMSNorm (gain).
    """

    vocab_size: int
    num_hidden_layers: int
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    num_positions: int = 0
    tied: bool = False
    gated: bool = True
    qkv_bias: bool = False
    qk_norm: bool = False
    norm_bias: bool = False
    name: str = ""

    @property
    def q_width(self) -> int:
        """All query heads side by side."""
        return self.num_attention_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """All key heads side by side; values are as wide."""
        return self.num_key_value_heads * self.head_dim


def shape_in(folder: Path) -> ModelShape:
    """Return the shape of the Qwen or Llama model in a folder, by its ``config.json``.

    Raises:
        ValueError: the file does not describe one.
    """
    config = read_json((folder / "config.json").read_bytes())
    try:
        heads, hidden_size = config["num_attention_heads"], config["hidden_size"]
        return ModelShape(
            vocab_size=config["vocab_size"],
            num_hidden_layers=config["num_hidden_layers"],
            hidden_size=hidden_size,
            intermediate_size=config["intermediate_size"],
            num_attention_heads=heads,
            num_key_value_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or hidden_size // heads,
            tied=config.get("tie_word_embeddings", False),
            qkv_bias=config["model_type"] == "qwen2",
            qk_norm=config["model_type"] == "qwen3",
        )
    except (LookupError, TypeError) as error:
        message = f"{folder / 'config.json'} describes no transformer: {error!r}"
        raise ValueError(message) from None


def gpt_shape(
    *,
    vocab_size: int,
    num_positions: int,
    num_hidden_layers: int,
    hidden_size: int,
    num_attention_heads: int,
    intermediate_size: int,
) -> ModelShape:
    """Return the shape of the GPT of articles 18 to 22.

    Tied tables, learned positions, as many key heads as query heads, no gate, LayerNorm with weight
    and bias, no bias in the linear maps.
    """
    return ModelShape(
        vocab_size=vocab_size,
        num_hidden_layers=num_hidden_layers,
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_attention_heads=num_attention_heads,
        num_key_value_heads=num_attention_heads,
        head_dim=hidden_size // num_attention_heads,
        num_positions=num_positions,
        tied=True,
        gated=False,
        norm_bias=True,
    )


def projections(shape: ModelShape) -> dict[Projection, tuple[int, int]]:
    """Return (inputs, outputs) of each weight matrix of one layer."""
    d, f = shape.hidden_size, shape.intermediate_size
    gate = {Projection.GATE: (d, f)} if shape.gated else {}
    return {
        Projection.Q: (d, shape.q_width),
        Projection.K: (d, shape.kv_width),
        Projection.V: (d, shape.kv_width),
        Projection.O: (shape.q_width, d),
        **gate,
        Projection.UP: (d, f),
        Projection.DOWN: (f, d),
    }


def num_linear_parameters(shape: ModelShape) -> int:
    """Return the weights of the linear maps inside the layers."""
    layer = sum(inputs * outputs for inputs, outputs in projections(shape).values())
    return shape.num_hidden_layers * layer


def training_flop_per_token(shape: ModelShape, seq_len: int) -> float:
    """Return the floating-point operations that training takes a token, forward and backward.

    Six for each weight of a matrix, the output projection included, and twelve a layer, unit of
    width and position for the attention's scores, without regard to the mask (PaLM, arXiv
    2204.02311, appendix B).
    """
    weights = num_linear_parameters(shape) + shape.vocab_size * shape.hidden_size
    return 6.0 * weights + 12.0 * shape.num_hidden_layers * shape.hidden_size * seq_len


def num_parameters(shape: ModelShape) -> int:
    """Return all parameters, embeddings included; a tied output projection counts once.

    For the shape of `gpt_shape` that is ``V d + S d + L (12 d^2 + 4 d) + 2 d`` where f = 4 d:
    354,601,984 for the model of article 19 at 1024 positions, 355,650,560 at 2048.
    """
    d = shape.hidden_size
    norm = d * (2 if shape.norm_bias else 1)
    biases = (shape.q_width + 2 * shape.kv_width) if shape.qkv_bias else 0
    head_norms = 2 * shape.head_dim if shape.qk_norm else 0
    beside = shape.num_hidden_layers * (biases + head_norms + 2 * norm)
    embeddings = shape.vocab_size * (1 if shape.tied else 2) + shape.num_positions
    return embeddings * d + num_linear_parameters(shape) + beside + norm


def lora_parameters(
    shape: ModelShape, rank: int, targets: frozenset[Projection] | None = None
) -> int:
    """Return the parameters of low-rank adapters: ``r (inputs + outputs)`` for each target.

    Args:
        shape: the base model.
        rank: r.
        targets: the adapted matrices; None for every matrix of the layers.

    Raises:
        ValueError: the model has no such matrix.

    Source: Hu et al. 2021, arXiv:2106.09685, section 4.1.
    """
    matrices = projections(shape)
    chosen = frozenset(matrices) if targets is None else targets
    if absent := sorted(chosen - frozenset(matrices)):
        message = f"{shape.name} has no {', '.join(absent)}"
        raise ValueError(message)
    return shape.num_hidden_layers * rank * sum(sum(matrices[target]) for target in chosen)


def initial_loss_nats(shape: ModelShape, init: Init = Init.SCALED) -> float:
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
        stream_variance = 2 + shape.num_hidden_layers * _gelu_second_moment(1 / 3) / 3
        return shape.hidden_size / math.sqrt(stream_variance)
    return math.log(shape.vocab_size) + shape.hidden_size * INIT_STD**2 / 2


def _gelu_second_moment(variance: float) -> float:
    """Return ``E[gelu(z)^2]`` of z from N(0, variance), by Stein's lemma applied twice."""
    v = variance
    of_both_sides = v * (1 / 4 + math.asin(v / (1 + v)) / (2 * math.pi))
    return of_both_sides + v * v / (math.pi * (1 + v) * math.sqrt(1 + 2 * v))
