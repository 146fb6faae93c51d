"""What a precision means: storage of the parameters, linear maps, context of the forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch

from harness.workloads.models.fp8 import fp8_on
from harness.workloads.models.gpt import LinearFactory, bias_free
from harness.workloads.models.shape import Precision


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """The parts that a precision decides.

    Attributes:
        parameter_dtype: of parameters, gradients and optimizer state; there is no second copy.
        linear: makes the linear maps inside the layers.
        forward_context: what the forward pass, without the loss, runs in.
        fp8_backend: library of the fp8 products; ``none`` without fp8.
    """

    parameter_dtype: torch.dtype
    linear: LinearFactory
    forward_context: Callable[[], AbstractContextManager[object]]
    fp8_backend: str = "none"


def arithmetic(precision: Precision, device: torch.device) -> Arithmetic:
    """Return what `precision` means on `device`.

    Raises:
        HostError: the device cannot do it.
    """
    autocast = partial(torch.autocast, device.type, torch.bfloat16)
    match precision:
        case Precision.FP32:
            return Arithmetic(
                parameter_dtype=torch.float32, linear=bias_free, forward_context=nullcontext
            )
        case Precision.MIXED:
            return Arithmetic(
                parameter_dtype=torch.float32, linear=bias_free, forward_context=autocast
            )
        case Precision.BF16:
            return Arithmetic(
                parameter_dtype=torch.bfloat16, linear=bias_free, forward_context=autocast
            )
        case Precision.FP8:
            fp8 = fp8_on(device)
            return Arithmetic(
                parameter_dtype=torch.bfloat16,
                linear=fp8.linear,
                forward_context=partial(_nested, autocast, fp8.context),
                fp8_backend=fp8.name,
            )


@contextmanager
def _nested(
    outer: Callable[[], AbstractContextManager[object]],
    inner: Callable[[], AbstractContextManager[object]],
) -> Iterator[None]:
    with outer(), inner():
        yield
