"""Peak memory of a training step, from first principles. Loads no torch.

Alive are the state (weights, gradients, the two moments of Adam), what the forward pass keeps for
the backward pass, and the loss's own tensors. With N parameters of e bytes, T tokens a step and a
vocabulary of V, the peak is the larger of two moments:

=====================  ==================  ====================================================
end of the forward     4 e N + kept        T V (10 in bf16, 8 in fp32): logits, their float32
                                           copy (bf16 only), log-softmax; the old gradients
                                           still live, they are cleared after the forward
start of the backward  3 e N + kept        T V (14 in bf16, 16 in fp32): logits, log-softmax,
                                           the gradients of log-softmax and of the logits
=====================  ==================  ====================================================

A layer keeps, in elements a token, both norms' inputs and outputs 4 d, queries, keys and values
3 d, the attention's output d, GELU's input and output 2 ff; and a byte for each of two dropout
masks of d. In bf16 with ff = 4 d that is 34 d bytes, the textbook's figure without a score matrix
(Korthikanti et al. 2022, arXiv 2205.05198, section 4). In fp8 the inputs of the four linear maps
are kept in one byte, the attention's output in both forms: 29 d; and the layers' weights are kept
in one byte twice more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from harness.records import record
from harness.workloads.pretrain.shape import (
    GptShape,
    Precision,
    num_linear_parameters,
    num_parameters,
)

_ELEMENT_BYTES = {Precision.FP32: 4, Precision.BF16: 2, Precision.FP8: 2}
_FLOAT32_BYTES = 4
_ID_BYTES = 8  # int64

# bytes a token and vocabulary entry: logits, float32 copy, log-softmax, two gradients
_LOSS_FORWARD = {Precision.FP32: 4 + 4, Precision.BF16: 2 + 4 + 4, Precision.FP8: 2 + 4 + 4}
_LOSS_BACKWARD = {Precision.FP32: 4 + 12, Precision.BF16: 2 + 12, Precision.FP8: 2 + 12}

# one-byte copies of the layers' weights: Transformer Engine keeps the matrix and its transpose
_FP8_WEIGHT_COPIES = 2


def peak_bytes(shape: GptShape, tokens: int, precision: Precision, *, dropout: bool) -> float:
    """Return the peak of this implementation, bytes; on the CPU it holds to 1 part in 10,000.

    Counted there, without dropout (the CPU's kernels keep larger masks than CUDA's and, with
    dropout, a score matrix). Fewer than about d / 5 tokens a step would move the peak elsewhere.

    Args:
        shape: the model.
        tokens: per step, batch size times sequence length.
        precision: see `Precision`.
        dropout: whether masks are kept.
    """
    element = _ELEMENT_BYTES[precision]
    positions = shape.max_positions * shape.width  # that table is float32 in every precision
    copy = element * num_parameters(shape) + (_FLOAT32_BYTES - element) * positions
    kept = tokens * _kept_bytes_per_token(shape, precision, dropout=dropout)
    forward = 4 * copy + tokens * shape.vocab_size * _LOSS_FORWARD[precision]
    backward = 3 * copy + tokens * shape.vocab_size * _LOSS_BACKWARD[precision]
    return fp8_weight_bytes(shape, precision) + kept + max(forward, backward)


def published_peak_bytes(shape: GptShape, tokens: int, precision: Precision) -> float:
    """Return the peak of article 19's own loop, bytes: Megatron-Core and Transformer Engine.

    ``max{6 N + w + T (c L d + 14 V), 8 N + w + T (c L d + 10 V)} + 9 d T``, with c = 34 and w = 0
    in bf16, c = 29 and w the eight-bit weight copies in fp8. The last term is the embedding's
    float32 sum and mask, and the last norm's input and output. It reproduces all 16 published
    peaks within 1.1 %, with no activation recomputed and with two-byte optimizer state.
    """
    params, vocab = num_parameters(shape), shape.vocab_size
    layers = shape.num_layers * layer_bytes_per_token(shape, precision, dropout=True)
    forward = 8 * params + tokens * (layers + 10 * vocab)
    backward = 6 * params + tokens * (layers + 14 * vocab)
    return fp8_weight_bytes(shape, precision) + max(forward, backward) + 9 * shape.width * tokens


def layer_bytes_per_token(shape: GptShape, precision: Precision, *, dropout: bool) -> int:
    """Return what one layer keeps for the backward pass, bytes a token: ``c d``."""
    width, element = shape.width, _ELEMENT_BYTES[precision]
    linear_inputs = 3 * width + shape.ff_width  # norm outputs, attention output, GELU output
    others = 2 * width + 3 * width + shape.ff_width  # norm inputs, q, k and v, GELU input
    masks = 2 * width if dropout else 0
    if precision is Precision.FP8:
        return linear_inputs + element * (others + width) + masks
    return element * (linear_inputs + others) + masks


def fp8_weight_bytes(shape: GptShape, precision: Precision) -> int:
    """Return the one-byte copies of the layers' weights, bytes."""
    copies = _FP8_WEIGHT_COPIES if precision is Precision.FP8 else 0
    return copies * num_linear_parameters(shape)


def _kept_bytes_per_token(shape: GptShape, precision: Precision, *, dropout: bool) -> int:
    element = _ELEMENT_BYTES[precision]
    statistics = 2 * element  # a norm's mean and deviation; float32 on CUDA, a ten-thousandth more
    log_sums = _FLOAT32_BYTES * shape.num_heads  # attention, instead of its score matrix
    layer = layer_bytes_per_token(shape, precision, dropout=dropout) + 2 * statistics + log_sums
    last_norm = 2 * element * shape.width + statistics
    embedding_mask = shape.width if dropout else 0
    return shape.num_layers * layer + last_norm + embedding_mask + 2 * _ID_BYTES


@record
class Line:
    """A straight line through points, by least squares.

    Attributes:
        slope: per unit of x.
        intercept: at x = 0.
        residual: the largest distance of a point from the line, in y.
    """

    slope: float
    intercept: float
    residual: float


def least_squares(points: Iterable[tuple[float, float]]) -> Line:
    """Return the line through (x, y) points that has the least sum of squared distances in y.

    Raises:
        ValueError: fewer than two different x.
    """
    known = list(points)
    if len({x for x, _ in known}) < 2:  # noqa: PLR2004 - a line needs two
        message = f"no line through {len(known)} points of one x"
        raise ValueError(message)
    mean_x, mean_y = (_mean([point[axis] for point in known]) for axis in (0, 1))
    spread = math.fsum((x - mean_x) ** 2 for x, _ in known)
    slope = math.fsum((x - mean_x) * (y - mean_y) for x, y in known) / spread
    intercept = mean_y - slope * mean_x
    residual = max(abs(y - intercept - slope * x) for x, y in known)
    return Line(slope=slope, intercept=intercept, residual=residual)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
