from __future__ import annotations

import torch
from torch import Tensor

from harness.workloads.models.fp8 import (
    BACKWARD_DTYPE,
    FORWARD_DTYPE,
    Fp8Linear,
    fp8_on,
    quantise,
)


def _relative_error(got: Tensor, expected: Tensor) -> float:
    difference = got.double() - expected.double()
    return float(difference.norm().item() / expected.double().norm().item())


def test_quantising_uses_the_whole_range_and_scales_back() -> None:
    values = torch.tensor([-3.0, 0.0, 1.5, 6.0])
    narrow, scale = quantise(values, FORWARD_DTYPE)
    assert narrow.dtype == FORWARD_DTYPE
    assert narrow.float().abs().max().item() == 448.0
    torch.testing.assert_close(narrow.float() * scale, values, rtol=0.07, atol=0.0)


def test_a_tensor_of_zeros_stays_zeros() -> None:
    narrow, scale = quantise(torch.zeros(4), BACKWARD_DTYPE)
    assert torch.isfinite(scale)
    assert torch.equal(narrow.float(), torch.zeros(4))


def test_product_and_both_gradients_are_right_to_eight_bits() -> None:
    torch.manual_seed(0)
    linear = Fp8Linear(32, 48)
    torch.nn.init.normal_(linear.weight, std=0.02)
    linear.to(torch.bfloat16)
    x = torch.randn(2, 16, 32, dtype=torch.bfloat16, requires_grad=True)
    y = linear(x)
    upstream = torch.randn_like(y)
    y.backward(upstream)

    exact_x, exact_w = x.detach().double(), linear.weight.detach().double()
    exact_g = upstream.double().flatten(0, 1)
    assert x.grad is not None
    assert linear.weight.grad is not None
    assert (y.shape, y.dtype) == ((2, 16, 48), torch.bfloat16)
    # a value keeps 4 bits in E4M3 and 3 in E5M2: errors of 2**-4 and 2**-3 at most, less in the sum
    assert _relative_error(y, exact_x @ exact_w.T) < 0.06
    assert _relative_error(x.grad, (exact_g @ exact_w).view(2, 16, 32)) < 0.1
    assert _relative_error(linear.weight.grad, exact_g.T @ exact_x.flatten(0, 1)) < 0.1


def test_says_what_does_the_products() -> None:
    assert fp8_on(torch.device("cpu")).name == "torch._scaled_mm, current scaling"
