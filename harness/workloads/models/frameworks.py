"""What a model is made of, behind one interface: torch alone, or Megatron-Core."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from harness.workloads.models.conditions import Conditions, Framework
from harness.workloads.models.gpt import Gpt
from harness.workloads.models.precision import Arithmetic
from harness.workloads.models.shape import ModelShape


@dataclass(frozen=True, kw_only=True)
class Library:
    """A way of making the model; the training loop is the same for all.

    Attributes:
        version: what the result says was used.
        world: what building and training happen in, given the seed.
        model: makes it, on its device and in training mode: ids (B, S) to logits (B, S, V).
    """

    version: str
    world: Callable[[int], AbstractContextManager[object]]
    model: Callable[[ModelShape, Conditions, Arithmetic], nn.Module]


def library(framework: Framework, device: torch.device) -> Library:
    """Return the way to make a model of `framework` on `device`."""
    match framework:
        case Framework.HAND_WRITTEN:
            version = f"torch {torch.__version__}"
            model = partial(hand_written, device=device)
            return Library(version=version, world=nullcontext, model=model)
        case Framework.MEGATRON:
            # absent from the environment of those who never ask for it
            from harness.workloads.models import megatron  # noqa: PLC0415

            return Library(
                version=megatron.version(device),
                world=partial(megatron.world, device=device),
                model=partial(megatron.model, device=device),
            )


def hand_written(
    shape: ModelShape, conditions: Conditions, way: Arithmetic, *, device: torch.device
) -> Gpt:
    """Return the model written by hand."""
    with device:
        model = Gpt(shape, dropout=conditions.dropout, linear=way.linear, init=conditions.init)
    model.store_in(way.parameter_dtype)
    return model
