"""What an arm of article 18 is trained under: published as it was, or matched. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from types import MappingProxyType

from harness.records import record
from harness.workloads.models.shape import Init, Precision


class Framework(StrEnum):
    """What the model is made of; the training loop is one and the same."""

    HAND_WRITTEN = "hand-written"  # torch alone
    MEGATRON = "megatron"  # Megatron-Core's GPTModel


@record
class Conditions:
    """Everything that may differ between two arms on one machine.

    Attributes:
        framework: what the model is made of.
        precision: of parameters, optimizer state, residual stream and matrix products.
        init: what the weights are drawn from.
        dropout: of the embedding, the attention weights and both residual branches.
        pad_vocab_to: the token table has a multiple of so many rows; the data has none of the new.
    """

    framework: Framework
    precision: Precision
    init: Init
    dropout: float = 0.0
    pad_vocab_to: int = 1

    @property
    def text(self) -> str:
        """The conditions in a line, for tables."""
        rows = f", vocabulary padded to {self.pad_vocab_to}s" if self.pad_vocab_to > 1 else ""
        parts = f"{self.framework}, {self.precision}, init {self.init}"
        return f"{parts}, dropout {self.dropout:g}{rows}"


_VANILLA = Conditions(framework=Framework.HAND_WRITTEN, precision=Precision.MIXED, init=Init.TORCH)
_NEMO = Conditions(
    framework=Framework.MEGATRON, precision=Precision.BF16, init=Init.SCALED, dropout=0.1
)
_SCALED = replace(_VANILLA, init=Init.SHARED)
_PLAIN = replace(_SCALED, precision=Precision.BF16)

# The published arms differ in all but the sizes. The others lead from one to the other in steps of
# one condition, and set both frameworks side by side under the same.
ARMS: Mapping[str, Conditions] = MappingProxyType(
    {
        "vanilla": _VANILLA,  # published
        "vanilla-tables": replace(_VANILLA, init=Init.SMALL_TABLES),
        "vanilla-init": _SCALED,
        "vanilla-bf16": _PLAIN,
        "vanilla-dropout": replace(_PLAIN, dropout=_NEMO.dropout),
        "vanilla-padded": replace(_PLAIN, pad_vocab_to=128),
        "nemo": _NEMO,  # published
        "nemo-plain": replace(_PLAIN, framework=Framework.MEGATRON),
        "nemo-padded": replace(_PLAIN, framework=Framework.MEGATRON, pad_vocab_to=128),
    }
)
