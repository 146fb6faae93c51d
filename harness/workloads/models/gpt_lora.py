"""Low-rank adapters on the maps of the hand-written GPT (Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from harness.workloads.models.gpt import Gpt


class Adapted(nn.Module):
    """``x W + x A B``: a frozen map beside a trained one of low rank, which starts as zero."""

    def __init__(self, frozen: nn.Module, *, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.frozen = frozen
        self.a = nn.Parameter(torch.empty(inputs, rank))
        self.b = nn.Parameter(torch.zeros(rank, outputs))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))  # as in the paper's own code

    def forward(self, x: Tensor) -> Tensor:
        """Return the map of `x`, whose last dimension is the inputs'."""
        out: Tensor = self.frozen(x) + x @ self.a @ self.b
        return out


def adapt(model: Gpt, rank: int) -> Gpt:
    """Freeze the model and put adapters beside the four linear maps of each layer, in place.

    The tables and the norms stay as they are.
    """
    model.requires_grad_(requires_grad=False)
    for block in model.blocks:
        attend = block.get_submodule("attend")
        for owner, name in (attend, "qkv"), (attend, "out"), (block, "up"), (block, "down"):
            frozen = getattr(owner, name)
            inputs, outputs = frozen.in_features, frozen.out_features
            with frozen.weight.device:
                adapted = Adapted(frozen, inputs=inputs, outputs=outputs, rank=rank)
            setattr(owner, name, adapted.to(frozen.weight.dtype))
    return model
