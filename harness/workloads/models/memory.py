"""What a model takes in memory, for any transformer: weights, states, activations and caches.

By this module one asks whether something fits into a machine. Every need is a *lower bound*: the
framework's context, its workspaces and the allocator's gaps come on top (in article 18 the
allocator reserved 15 and 33 % more than was allocated). `peak_memory` adds what is alive at the
peak of the training loop of articles 18 to 20, to the byte.

Units: bytes, unless the name says otherwise; d = model width, V = vocabulary, f = feed-forward
width, a = heads, s = sequence length.
"""

from __future__ import annotations

import math
from dataclasses import fields, replace
from enum import StrEnum

from harness.records import record
from harness.workloads.models.shape import (
    ModelShape,
    Precision,
    lora_parameters,
    num_parameters,
)

GIB = 1024**3


# --- number formats -----------------------------------------------------------------------------


class NumberFormat(StrEnum):
    """How a number is stored."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP8 = "fp8"
    INT8 = "int8"  # block-wise quantized optimizer moments; their scales are below 1 %
    NVFP4 = "nvfp4"
    REMAINDER = "fp32 remainder"  # the low half of an fp32 number whose bf16 half is stored anyway


BITS = {
    NumberFormat.FP32: 32.0,
    NumberFormat.BF16: 16.0,
    NumberFormat.FP8: 8.0,
    NumberFormat.INT8: 8.0,
    NumberFormat.NVFP4: 4.5,  # four bits, and one FP8 scale for sixteen of them
    NumberFormat.REMAINDER: 16.0,
}


def number_format(dtype: str) -> NumberFormat:
    """Return the format of a ``dtype`` as torch and vLLM call it."""
    return {"float32": NumberFormat.FP32, "bfloat16": NumberFormat.BF16}[dtype]


def stored_bytes(numbers: int, dtype: NumberFormat) -> int:
    """Return what `numbers` values take, rounded up to whole bytes."""
    return math.ceil(numbers * BITS[dtype] / 8.0)


# --- training -----------------------------------------------------------------------------------


@record
class Regime:
    """How a trained parameter is stored: weight, gradient, two AdamW moments, master copy."""

    name: str
    weights: NumberFormat
    gradients: NumberFormat
    moments: NumberFormat
    master: NumberFormat | None = None

    @property
    def bytes_per_parameter(self) -> float:
        """All states of one parameter together."""
        master = BITS[self.master] if self.master else 0.0
        return (BITS[self.weights] + BITS[self.gradients] + 2 * BITS[self.moments] + master) / 8.0


# weights, gradients, moments, master
_BF16, _FP32 = NumberFormat.BF16, NumberFormat.FP32
EIGHT_BIT_ADAM = Regime(
    name="8-bit AdamW", weights=_BF16, gradients=_BF16, moments=NumberFormat.INT8
)
PURE_BF16 = Regime(
    name="pure bf16", weights=_BF16, gradients=_BF16, moments=_BF16
)  # articles 18-22
# Megatron-Core with use_precision_aware_optimizer, moments and gradients in bf16: Transformer
# Engine's AdamW keeps an fp32 master all the same, as the 16 bits that the bf16 weight lacks
PRECISION_AWARE = Regime(
    name="precision-aware",
    weights=_BF16,
    gradients=_BF16,
    moments=_BF16,
    master=NumberFormat.REMAINDER,
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
    layer = layer_bytes_per_token(shape, Precision.BF16, dropout=forward.dropout)
    if forward.scores_context is not None:  # softmax output; with dropout also its mask and output
        each = 5 if forward.dropout else 2
        layer += each * shape.num_attention_heads * forward.scores_context
    stream = 2 * shape.hidden_size
    mask = shape.hidden_size if forward.dropout else 0
    outside = mask + 2 * stream + forward.logit_bytes * shape.vocab_size
    if forward.recompute:
        return shape.num_hidden_layers * stream + (layer - stream) + outside
    return shape.num_hidden_layers * layer + outside


def layer_bytes_per_token(shape: ModelShape, precision: Precision, *, dropout: bool) -> int:
    """Return what one layer keeps of a token for the backward pass, bytes; without a score matrix.

    Kept are the inputs of both norms, the inputs of the linear maps, queries, keys and values, what
    goes into the activation function (with a gate: gate, its SiLU and up), and a byte for each of
    two dropout masks. In fp8 the linear maps keep their inputs in one byte, the attention's output
    in both forms.
    """
    d, element = shape.hidden_size, activation_bytes(precision)
    norm_inputs = 2 * d * parameter_bytes(precision)  # the residual stream
    linear_inputs = 2 * d + shape.q_width + shape.intermediate_size
    others = (
        shape.q_width + 2 * shape.kv_width + (3 if shape.gated else 1) * shape.intermediate_size
    )
    masks = 2 * d if dropout else 0
    if precision is Precision.FP8:
        return norm_inputs + linear_inputs + element * (others + shape.q_width) + masks
    return norm_inputs + element * (linear_inputs + others) + masks


def parameter_bytes(precision: Precision) -> int:
    """Return the bytes of a parameter, as of its gradient and each moment of Adam.

    The residual stream has them too: it is a sum of what the tables give.
    """
    return 4 if precision in (Precision.FP32, Precision.MIXED) else 2


def activation_bytes(precision: Precision) -> int:
    """Return the bytes of a number that a linear map gives."""
    return 4 if precision is Precision.FP32 else 2


# --- serving ------------------------------------------------------------------------------------


def kv_bytes_per_token(shape: ModelShape, dtype: NumberFormat) -> int:
    """Return the keys and values that one token leaves in the cache, over all layers."""
    return stored_bytes(2 * shape.num_hidden_layers * shape.kv_width, dtype)


def kv_cache_bytes(shape: ModelShape, dtype: NumberFormat, context: int, sessions: int) -> int:
    """Return the cache of `sessions` concurrent sequences of `context` tokens each."""
    return kv_bytes_per_token(shape, dtype) * context * sessions


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
    shape: ModelShape, weights: NumberFormat, cache: NumberFormat, context: int, sessions: int
) -> Need:
    """Return what serving takes."""
    return Need(
        weights=stored_bytes(num_parameters(shape), weights),
        kv_cache=kv_cache_bytes(shape, cache, context, sessions),
    )


def share_of(need: Need, shape: ModelShape, num_nodes: int) -> Need:
    """Return what each node takes of serving over several, by tensor parallelism.

    Every matrix and every head's cache is split evenly; what the nodes hold double (norms, buffers
    of the exchange) is small and left out, so this is a lower bound.

    Raises:
        ValueError: the heads do not divide.
    """
    for name, heads in (
        ("num_attention_heads", shape.num_attention_heads),
        ("num_key_value_heads", shape.num_key_value_heads),
    ):
        if heads % num_nodes:
            message = f"{shape.name}: {name} {heads} do not divide over {num_nodes} nodes"
            raise ValueError(message)
    return Need(
        weights=-(-need.weights // num_nodes),
        kv_cache=-(-need.kv_cache // num_nodes),
    )


def training_need(shape: ModelShape, regime: Regime, forward: ForwardPass) -> Need:
    """Return what training every parameter takes."""
    return _training(num_parameters(shape), regime, shape, forward)


def lora_need(
    shape: ModelShape, base: NumberFormat, regime: Regime, rank: int, forward: ForwardPass
) -> Need:
    """Return what training low-rank adapters on every matrix of a frozen base takes.

    The base keeps its activations all the same: the adapters' gradients flow through it.
    """
    adapters = _training(lora_parameters(shape, rank), regime, shape, forward)
    frozen = stored_bytes(num_parameters(shape), base)
    return replace(adapters, weights=frozen + adapters.weights)


def _training(parameters: int, regime: Regime, shape: ModelShape, forward: ForwardPass) -> Need:
    """Return the states of so many trained parameters, and the activations of all of `shape`."""
    master = stored_bytes(parameters, regime.master) if regime.master else 0
    return Need(
        weights=stored_bytes(parameters, regime.weights),
        gradients=stored_bytes(parameters, regime.gradients),
        optimizer=2 * stored_bytes(parameters, regime.moments) + master,
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
        """Free memory, GiB; negative if it is short."""
        return (self.available - self.need) / GIB

    def __str__(self) -> str:
        need = f"{self.need / GIB:.1f} GiB"
        if self.fits:
            return f"{need}, fits with {self.spare_gib:.1f} GiB to spare"
        return f"{need}, does not fit: {-self.spare_gib:.1f} GiB short"


def fits(need: Need, available: int) -> Fit:
    """Compare `need` with the `available` bytes."""
    return Fit(need=need.total, available=available)
