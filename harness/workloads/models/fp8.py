"""Linear maps whose three matrix products take eight-bit floats.

Transformer Engine's where it is installed, as the article has it: delayed scaling, E4M3 forward and
E5M2 backward, scales from the largest of the last 16 maxima. Elsewhere the map below, which departs
from it in one point: every tensor is scaled by its own maximum of this very step.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import HostError
from harness.workloads.models.gpt import LinearFactory

FORWARD_DTYPE = torch.float8_e4m3fn
BACKWARD_DTYPE = torch.float8_e5m2
_LEAST_CAPABILITY = (8, 9)  # the first with eight-bit matrix units (Ada)
_LEAST_MAXIMUM = 1e-12  # so that a tensor of zeros has a scale to be divided by


@dataclass(frozen=True, kw_only=True)
class Fp8:
    """A way of doing eight-bit products.

    Attributes:
        name: what the result says was used.
        linear: makes a linear map.
        context: what the forward pass runs in.
    """

    name: str
    linear: LinearFactory
    context: Callable[[], AbstractContextManager[object]]


def fp8_on(device: torch.device) -> Fp8:
    """Return the way to do eight-bit products on `device`.

    Raises:
        HostError: the device has no eight-bit matrix units.
    """
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < _LEAST_CAPABILITY:
        message = f"{torch.cuda.get_device_name(device)} has no eight-bit matrix units"
        raise HostError(message, "choose precision bf16")
    if device.type == "cuda" and find_spec("transformer_engine"):
        return transformer_engine()
    return Fp8(name="torch._scaled_mm, current scaling", linear=Fp8Linear, context=nullcontext)


def transformer_engine() -> Fp8:
    """Return Transformer Engine's maps, with the recipe of articles 19 and 20."""
    import transformer_engine.pytorch as te  # noqa: PLC0415 - CUDA only, and slow to import
    from transformer_engine.common.recipe import DelayedScaling, Format  # noqa: PLC0415

    recipe = DelayedScaling(fp8_format=Format.HYBRID, amax_history_len=16, amax_compute_algo="max")

    def linear(num_in: int, num_out: int) -> nn.Module:
        return te.Linear(num_in, num_out, bias=False)  # type: ignore[no-any-return]

    def context() -> AbstractContextManager[object]:
        return te.fp8_autocast(enabled=True, fp8_recipe=recipe)  # type: ignore[no-any-return]

    return Fp8(name="Transformer Engine, delayed scaling", linear=linear, context=context)


class Fp8Linear(nn.Module):
    """``x W^T`` in eight bits; widths, and the number of tokens, are multiples of 16."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_out, num_in))

    def forward(self, x: Tensor) -> Tensor:
        """Return the product, in the weight's dtype."""
        product: Tensor = _Fp8Product.apply(x.flatten(0, -2), self.weight)  # type: ignore[no-untyped-call]
        return product.view(*x.shape[:-1], -1)


class _Fp8Product(torch.autograd.Function):
    """Keeps the eight-bit input and weight for the backward pass, one byte an element each.

    Shapes: T tokens, K inputs, N outputs. The second operand of ``_scaled_mm`` is column-major.
    """

    @staticmethod
    def forward(ctx: Any, x_TK: Tensor, weight_NK: Tensor) -> Tensor:
        x8_TK, x_scale = quantise(x_TK, FORWARD_DTYPE)
        weight8_NK, weight_scale = quantise(weight_NK, FORWARD_DTYPE)
        ctx.save_for_backward(x8_TK, x_scale, weight8_NK, weight_scale)
        ctx.out_dtype = weight_NK.dtype
        return _product(x8_TK, weight8_NK.t(), x_scale, weight_scale, weight_NK.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x8_TK, x_scale, weight8_NK, weight_scale = ctx.saved_tensors
        gradient8_TN, gradient_scale = quantise(gradients[0], BACKWARD_DTYPE)
        for_input = _product(
            gradient8_TN, _column_major(weight8_NK), gradient_scale, weight_scale, ctx.out_dtype
        )
        for_weight = _product(
            gradient8_TN.t().contiguous(),
            _column_major(x8_TK),
            gradient_scale,
            x_scale,
            ctx.out_dtype,
        )
        return for_input, for_weight


def quantise(values: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the values in eight bits, and the float32 scale that gives them back by product."""
    largest = torch.finfo(dtype).max
    scale = values.abs().amax().float().clamp(min=_LEAST_MAXIMUM) / largest
    return (values / scale).clamp(-largest, largest).to(dtype), scale


def _column_major(matrix: Tensor) -> Tensor:
    return matrix.t().contiguous().t()


def _product(
    left: Tensor, right: Tensor, left_scale: Tensor, right_scale: Tensor, dtype: torch.dtype
) -> Tensor:
    return torch._scaled_mm(  # noqa: SLF001 - the only eight-bit product torch has
        left, right, scale_a=left_scale, scale_b=right_scale, out_dtype=dtype
    )
