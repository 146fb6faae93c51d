"""What fits into a machine's memory: the arithmetic of weights, states, activations and caches.

Pure and exact where the architecture decides; every need is a *lower bound*, since the framework's
context, its workspaces and the allocator's gaps come on top (in article 18 the allocator reserved
15 and 33 % more than was allocated).

Units: bytes, unless the name says otherwise; d = model width, V = vocabulary, f = feed-forward
width, a = heads, s = sequence length.
"""

from __future__ import annotations

import math
from dataclasses import fields
from enum import StrEnum

from harness.records import record

GIB = 1024**3


# --- number formats -----------------------------------------------------------------------------


class Dtype(StrEnum):
    """How a number is stored."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP8 = "fp8"
    INT8 = "int8"  # block-wise quantized optimizer moments; their scales are below 1 %
    NVFP4 = "nvfp4"
    REMAINDER = "fp32 remainder"  # the low half of an fp32 number whose bf16 half is stored anyway


BITS = {
    Dtype.FP32: 32.0,
    Dtype.BF16: 16.0,
    Dtype.FP8: 8.0,
    Dtype.INT8: 8.0,
    Dtype.NVFP4: 4.5,  # four bits, and one FP8 scale for sixteen of them
    Dtype.REMAINDER: 16.0,
}


def stored_bytes(numbers: int, dtype: Dtype) -> int:
    """Return what `numbers` values take, rounded up to whole bytes."""
    return math.ceil(numbers * BITS[dtype] / 8.0)


# --- shapes -------------------------------------------------------------------------------------


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
    """A decoder-only transformer, as far as its memory goes.

    Attributes:
        head_dim: width of one head; num_heads * head_dim need not be d_model (Qwen3).
        num_positions: rows of a learned position table; 0 where positions are rotary.
        tied: the output projection is the token embedding.
        gated: the feed-forward has a gate (SwiGLU): three matrices instead of two.
        qkv_bias: query, key and value projections have a bias; no other projection has.
        qk_norm: queries and keys are normalised per head, with one gain for each of the two.
        norm_bias: LayerNorm (gain and bias) instead of RMSNorm (gain).
    """

    name: str
    vocab_size: int
    num_layers: int
    d_model: int
    d_ff: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    num_positions: int = 0
    tied: bool = False
    gated: bool = True
    qkv_bias: bool = False
    qk_norm: bool = False
    norm_bias: bool = False

    @property
    def q_width(self) -> int:
        """All query heads side by side."""
        return self.num_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """All key heads side by side; values are as wide."""
        return self.num_kv_heads * self.head_dim


def projections(shape: ModelShape) -> dict[Projection, tuple[int, int]]:
    """Return (inputs, outputs) of each weight matrix of one layer."""
    d, f = shape.d_model, shape.d_ff
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


def parameter_count(shape: ModelShape) -> int:
    """Return all parameters, embeddings included; a tied output projection counts once."""
    d = shape.d_model
    norm = d * (2 if shape.norm_bias else 1)
    matrices = sum(inputs * outputs for inputs, outputs in projections(shape).values())
    biases = (shape.q_width + 2 * shape.kv_width) if shape.qkv_bias else 0
    head_norms = 2 * shape.head_dim if shape.qk_norm else 0
    layer = matrices + biases + head_norms + 2 * norm
    embeddings = shape.vocab_size * (1 if shape.tied else 2) + shape.num_positions
    return embeddings * d + shape.num_layers * layer + norm


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
    return shape.num_layers * rank * sum(sum(matrices[target]) for target in chosen)


# --- training -----------------------------------------------------------------------------------


@record
class Regime:
    """How a trained parameter is stored: weight, gradient, two AdamW moments, master copy."""

    name: str
    weights: Dtype
    gradients: Dtype
    moments: Dtype
    master: Dtype | None = None

    @property
    def bytes_per_parameter(self) -> float:
        """All states of one parameter together."""
        master = BITS[self.master] if self.master else 0.0
        return (BITS[self.weights] + BITS[self.gradients] + 2 * BITS[self.moments] + master) / 8.0


# weights, gradients, moments, master
_BF16, _FP32 = Dtype.BF16, Dtype.FP32
EIGHT_BIT_ADAM = Regime(name="8-bit AdamW", weights=_BF16, gradients=_BF16, moments=Dtype.INT8)
PURE_BF16 = Regime(
    name="pure bf16", weights=_BF16, gradients=_BF16, moments=_BF16
)  # articles 18-22
# Megatron-Core with use_precision_aware_optimizer, moments and gradients in bf16: Transformer
# Engine's AdamW keeps an fp32 master all the same, as the 16 bits that the bf16 weight lacks
PRECISION_AWARE = Regime(
    name="precision-aware", weights=_BF16, gradients=_BF16, moments=_BF16, master=Dtype.REMAINDER
)
FP32_MOMENTS = Regime(name="fp32 moments", weights=_BF16, gradients=_BF16, moments=_FP32)
MIXED = Regime(name="mixed", weights=_BF16, gradients=_BF16, moments=_FP32, master=_FP32)
PURE_FP32 = Regime(name="pure fp32", weights=_FP32, gradients=_FP32, moments=_FP32)
MEGATRON = Regime(name="Megatron", weights=_BF16, gradients=_FP32, moments=_FP32, master=_FP32)
REGIMES = (
    EIGHT_BIT_ADAM,
    PURE_BF16,
    PRECISION_AWARE,
    FP32_MOMENTS,
    MIXED,
    PURE_FP32,
    MEGATRON,
)


@record
class ForwardPass:
    """What a training step keeps for its backward pass.

    Attributes:
        tokens: batch times sequence length of one forward pass.
        dropout: one-byte masks are kept after attention, feed-forward and embedding.
        scores_context: sequence length where the attention scores are materialised; None for
            fused attention, which never stores them.
        logit_bytes: for each logit; 4 is the textbook's (fp32 alone). A plain framework path keeps
            bf16 logits, their fp32 copy and gradients: 10 to 14 (article 18, decomposition).
        recompute: a layer keeps its input alone, and the backward pass computes it once more.
    """

    tokens: int
    dropout: bool = False
    scores_context: int | None = None
    logit_bytes: int = 4
    recompute: bool = False


def activation_bytes_per_token(shape: ModelShape, forward: ForwardPass) -> int:
    """Return the activations that one token keeps until the backward pass, in 16-bit precision.

    For a gateless model with equal heads, f = 4 d and dropout a layer comes to the ``34 d`` of
    Korthikanti et al. 2022 (arXiv:2205.05198, equation 1), plus ``5 a s`` for scores, and the
    rest to ``5 d + 4 V`` (section 4.1 there); the other shapes follow by the same bookkeeping.
    Recomputed, the layers keep ``2 d`` each and one of them is whole at a time (section 5 there).
    """
    layer, stream = _layer_bytes_per_token(shape, forward), 2 * shape.d_model
    mask = shape.d_model if forward.dropout else 0
    outside = mask + 2 * stream + forward.logit_bytes * shape.vocab_size
    if forward.recompute:
        return shape.num_layers * stream + (layer - stream) + outside
    return shape.num_layers * layer + outside


def _layer_bytes_per_token(shape: ModelShape, forward: ForwardPass) -> int:
    d, mask = shape.d_model, shape.d_model if forward.dropout else 0
    attention = 2 * d + 2 * (shape.q_width + 2 * shape.kv_width) + 2 * shape.q_width + mask
    # gated: gate, its SiLU, up and their product; else the hidden layer before and after GELU
    hidden = (8 if shape.gated else 4) * shape.d_ff
    feed_forward = 2 * d + hidden + mask
    norms = 2 * 2 * d
    return attention + feed_forward + norms + _score_bytes(shape, forward)


def _score_bytes(shape: ModelShape, forward: ForwardPass) -> int:
    if forward.scores_context is None:
        return 0
    each = 5 if forward.dropout else 2  # softmax output; with dropout also its mask and its output
    return each * shape.num_heads * forward.scores_context


# --- serving ------------------------------------------------------------------------------------


def kv_bytes_per_token(shape: ModelShape, dtype: Dtype) -> int:
    """Return the keys and values that one token leaves in the cache, over all layers."""
    return stored_bytes(2 * shape.num_layers * shape.kv_width, dtype)


def kv_cache_bytes(shape: ModelShape, dtype: Dtype, context: int, sessions: int) -> int:
    """Return the cache of `sessions` concurrent sequences of `context` tokens each."""
    return kv_bytes_per_token(shape, dtype) * context * sessions


def sessions_that_fit(
    shape: ModelShape, weights: Dtype, cache: Dtype, context: int, available: int
) -> int:
    """Return how many sequences of `context` tokens fit beside the weights; 0 where none does."""
    spare = available - stored_bytes(parameter_count(shape), weights)
    return max(0, spare // kv_cache_bytes(shape, cache, context, 1))


def decode_bound_token_s(shape: ModelShape, weights: Dtype, bandwidth_gb_s: float) -> float:
    """Return the most tokens per second one sequence can decode: each reads all weights once.

    The embedding table is counted though only one row is read, so a small model may exceed it.
    """
    return bandwidth_gb_s * 1e9 / stored_bytes(parameter_count(shape), weights)


# --- needs --------------------------------------------------------------------------------------


@record
class Need:
    """What a use takes, bytes; the parts add up."""

    weights: int
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0
    kv_cache: int = 0

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(getattr(self, part.name) for part in fields(self))


def serving_need(
    shape: ModelShape, weights: Dtype, cache: Dtype, context: int, sessions: int
) -> Need:
    """Return what serving takes."""
    return Need(
        weights=stored_bytes(parameter_count(shape), weights),
        kv_cache=kv_cache_bytes(shape, cache, context, sessions),
    )


def training_need(shape: ModelShape, regime: Regime, forward: ForwardPass) -> Need:
    """Return what training every parameter takes."""
    states = _states(parameter_count(shape), regime)
    return _with_activations(states, shape, forward)


def lora_need(
    shape: ModelShape, base: Dtype, regime: Regime, rank: int, forward: ForwardPass
) -> Need:
    """Return what training low-rank adapters on every matrix of a frozen base takes.

    The base keeps its activations all the same: the adapters' gradients flow through it.
    """
    states = _states(lora_parameters(shape, rank), regime)
    frozen = stored_bytes(parameter_count(shape), base)
    both = Need(
        weights=frozen + states.weights, gradients=states.gradients, optimizer=states.optimizer
    )
    return _with_activations(both, shape, forward)


def _states(parameters: int, regime: Regime) -> Need:
    master = stored_bytes(parameters, regime.master) if regime.master else 0
    return Need(
        weights=stored_bytes(parameters, regime.weights),
        gradients=stored_bytes(parameters, regime.gradients),
        optimizer=2 * stored_bytes(parameters, regime.moments) + master,
    )


def _with_activations(states: Need, shape: ModelShape, forward: ForwardPass) -> Need:
    return Need(
        weights=states.weights,
        gradients=states.gradients,
        optimizer=states.optimizer,
        activations=activation_bytes_per_token(shape, forward) * forward.tokens,
    )


@record
class Fit:
    """A need beside what there is, bytes."""

    need: int
    available: int

    @property
    def fits(self) -> bool:
        """Whether there is enough."""
        return self.need <= self.available

    @property
    def spare_gib(self) -> float:
        """What is left, GiB; negative by how much it is short."""
        return (self.available - self.need) / GIB

    def __str__(self) -> str:
        need = f"{self.need / GIB:.1f} GiB"
        if self.fits:
            return f"{need}, fits with {self.spare_gib:.1f} GiB to spare"
        return f"{need}, does not fit: {-self.spare_gib:.1f} GiB short"


def fits(need: Need, available: int) -> Fit:
    """Return how `need` stands to the `available` bytes."""
    return Fit(need=need.total, available=available)
