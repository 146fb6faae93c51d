"""What decides a LoRA policy, as plain records. Loads no torch. Defaults are article 32's."""

from __future__ import annotations

from enum import StrEnum

from harness.records import record

SEVEN_PROJECTIONS = (
    *("q_proj", "k_proj", "v_proj", "o_proj"),
    *("gate_proj", "up_proj", "down_proj"),
)


class WeightDtype(StrEnum):
    """What the base is stored in; the adapter is float32 always."""

    FP32 = "float32"
    BF16 = "bfloat16"


class Dropout(StrEnum):
    """Whether the adapter's dropout acts in a pass."""

    ACTIVE = "active"  # article 33: policy and reference passes, so its KL never falls to zero
    OFF = "off"


class Product(StrEnum):
    """How a pass without dropout multiplies by ``W + s B A``; the same up to rounding."""

    BRANCH = "branch"  # W x + s B (A x): little memory, for models wide beside a batch
    FOLDED = "folded"  # (W + s B A) x: fewer passes over memory, for small models


@record
class LoraSettings:
    """A low-rank adapter.

    Attributes:
        rank: r.
        alpha: the adapter is added times ``alpha / rank``.
        dropout: of the adapter's input, where it is active.
        targets: last parts of the adapted matrices' names.
        seed: A is drawn from it; B is zero.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.05
    targets: tuple[str, ...] = SEVEN_PROJECTIONS
    seed: int = 42


@record
class Compute:
    """How passes are computed.

    Attributes:
        device: ``cuda`` or ``cpu``; None for CUDA where there is some.
        dtype: of the base.
        bf16: matrix products in bfloat16 also where the base is float32 (autocast).
        gradient_checkpointing: activations are computed again in the backward pass.
        product: of passes without dropout.
        tokens_per_batch: of one pass, padding included; a longer sequence is a pass of its own.
            2048 is the quickest for a model of a million parameters on one thread.
    """

    device: str | None = None
    dtype: WeightDtype = WeightDtype.FP32
    bf16: bool = False
    gradient_checkpointing: bool = False
    product: Product = Product.BRANCH
    tokens_per_batch: int = 2048
