"""Peak memory of a step of the pretraining loop (`training.loop`), to the byte. Loads no torch.

Alive are the state (weights, gradients, the two moments of Adam), what the forward pass keeps for
the backward pass, and the loss's own tensors. With N parameters of e bytes, T tokens a step and a
vocabulary of V, the peak is the larger of two moments:

=====================  ==================  ====================================================
end of the forward     4 e N + kept        T V (10, or 8 in fp32): logits, their float32 copy
                                           (not in fp32), log-softmax; the old gradients still
                                           live, they are cleared after the forward
start of the backward  3 e N + kept        T V (14, or 16 in fp32): logits, log-softmax, the
                                           gradients of log-softmax and of the logits
=====================  ==================  ====================================================

A layer keeps, in elements a token, both norms' inputs and outputs 4 d, queries, keys and values
3 d, the attention's output d, GELU's input and output 2 ff; and a byte for each of two dropout
masks of d. In bf16 with ff = 4 d that is 34 d bytes, the textbook's figure without a score matrix
(Korthikanti et al. 2022, arXiv 2205.05198, section 4). In fp8 the inputs of the four linear maps
are kept in one byte, the attention's output in both forms: 29 d; and the layers' weights are kept
in one byte twice more. Mixed, the residual stream stays in float32 and with it the norms' inputs:
36 d; and every matrix that is multiplied is kept in bfloat16 once more.
"""

from __future__ import annotations

from harness.workloads.models.memory import (
    activation_bytes,
    layer_bytes_per_token,
    parameter_bytes,
)
from harness.workloads.models.shape import (
    ModelShape,
    Precision,
    num_linear_parameters,
    num_parameters,
)

_FLOAT32_BYTES = 4
_BFLOAT16_BYTES = 2
_ID_BYTES = 8  # int64


def peak_bytes(shape: ModelShape, tokens: int, precision: Precision, *, dropout: bool) -> float:
    """Return the peak of this implementation, bytes; on the CPU it holds to 1 part in 10,000.

    Counted there, without dropout (the CPU's kernels keep larger masks than CUDA's and, with
    dropout, a score matrix). Fewer than about d / 5 tokens a step would move the peak elsewhere.

    Args:
        shape: the model.
        tokens: per step, batch size times sequence length.
        precision: see `Precision`.
        dropout: whether masks are kept.
    """
    element = parameter_bytes(precision)  # of the residual stream too
    positions = shape.num_positions * shape.hidden_size  # that table is float32 in every precision
    copy = element * num_parameters(shape) + (_FLOAT32_BYTES - element) * positions
    statistics = 2 * element  # a norm's mean and deviation; float32 on CUDA, a ten-thousandth more
    log_sums = _FLOAT32_BYTES * shape.num_attention_heads  # attention, instead of its score matrix
    layer = layer_bytes_per_token(shape, precision, dropout=dropout) + 2 * statistics + log_sums
    last_norm = (element + activation_bytes(precision)) * shape.hidden_size + statistics
    embedding_mask = shape.hidden_size if dropout else 0
    kept = tokens * (shape.num_hidden_layers * layer + last_norm + embedding_mask + 2 * _ID_BYTES)
    logits = tokens * shape.vocab_size
    forward = 4 * copy + logits * (8 if precision is Precision.FP32 else 10)
    backward = 3 * copy + logits * (16 if precision is Precision.FP32 else 14)
    return weight_copy_bytes(shape, precision) + kept + max(forward, backward)


def published_peak_bytes(
    shape: ModelShape, tokens: int, precision: Precision, *, dropout: bool = True
) -> float:
    """Return the peak of article 19's own loop, bytes: Megatron-Core and Transformer Engine.

    ``max{6 N + w + T (c L d + 14 V), 8 N + w + T (c L d + 10 V)} + 9 d T``, with c = 34 and w = 0
    in bf16, c = 29 and w the eight-bit weight copies in fp8. The last term is the embedding's
    float32 sum and mask, and the last norm's input and output. It reproduces all 16 published
    peaks within 1.1 %, with no activation recomputed and with two-byte optimizer state.
    Article 18's Megatron arm is the same loop. Without dropout no mask is kept: c - 2, and 8 d T.

    Args:
        shape: the model.
        tokens: per step.
        precision: bf16 or fp8.
        dropout: whether masks are kept, as in every published run.
    """
    params, vocab = num_parameters(shape), shape.vocab_size
    layers = shape.num_hidden_layers * layer_bytes_per_token(shape, precision, dropout=dropout)
    forward = 8 * params + tokens * (layers + 10 * vocab)
    backward = 6 * params + tokens * (layers + 14 * vocab)
    beside = (9 if dropout else 8) * shape.hidden_size * tokens
    return weight_copy_bytes(shape, precision) + max(forward, backward) + beside


def local_peak_bytes(
    shape: ModelShape, tokens: int, precision: Precision, *, dropout: bool
) -> float:
    """Return the peak of Megatron-Core's local layers, bytes; on the CPU to 1 part in 10,000.

    As `peak_bytes`, but that the attention keeps its score matrix after the softmax, in float32 and
    cast to bfloat16, where the fused one keeps a sum a position and head.
    """
    scores = _FLOAT32_BYTES + (0 if precision is Precision.FP32 else _BFLOAT16_BYTES)
    per_head = scores * shape.num_positions - _FLOAT32_BYTES
    more = tokens * shape.num_hidden_layers * shape.num_attention_heads * per_head
    mask_and_ids = shape.num_positions * (shape.num_positions + _ID_BYTES)
    return peak_bytes(shape, tokens, precision, dropout=dropout) + more + mask_and_ids


def weight_copy_bytes(shape: ModelShape, precision: Precision) -> int:
    """Return the bytes of lower-precision copies of the weights."""
    match precision:
        case Precision.FP32 | Precision.BF16:
            return 0
        case Precision.FP8:  # the matrix and its transpose, as Transformer Engine keeps them
            return 2 * num_linear_parameters(shape)
        case Precision.MIXED:  # autocast's cache; the token table is multiplied too, for the logits
            multiplied = num_linear_parameters(shape) + shape.vocab_size * shape.hidden_size
            return _BFLOAT16_BYTES * multiplied
