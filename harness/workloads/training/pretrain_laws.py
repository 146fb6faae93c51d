"""The formulas of the GPT of articles 18 to 22, asked of any row that tells of a training step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.workloads.api.declare import build, fields_of
from harness.workloads.models.peak_memory import local_peak_bytes, peak_bytes, published_peak_bytes
from harness.workloads.models.shape import num_parameters, training_flop_per_token
from harness.workloads.training.pretrain_params import (
    AskedParams,
    CellParams,
    EnvelopeParams,
    FrameworksParams,
    MemoryLawParams,
    ParameterCountParams,
)

_PEAKS = {"harness": peak_bytes, "published": published_peak_bytes, "local": local_peak_bytes}


def peak_memory(params: MemoryLawParams, keys: Mapping[str, Any]) -> float:
    """Return the peak of a training step, bytes.

    Raises:
        ValueError: the keys describe no training step.
    """
    step = _step(keys)
    precision, dropout = step.conditions.precision, step.conditions.dropout > 0
    return _PEAKS[params.loop](step.shape, step.tokens_per_step, precision, dropout=dropout)


def parameter_count(_: ParameterCountParams, keys: Mapping[str, Any]) -> int:
    """Return how many parameters the model of a training step has.

    Raises:
        ValueError: the keys describe no training step.
    """
    return num_parameters(_step(keys).shape)


def asked(params: AskedParams, keys: Mapping[str, Any]) -> float:
    """Return the product of some params of the run.

    Raises:
        ValueError: the run has no such number.
    """
    product = 1.0
    for name in params.params:
        value = keys.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            message = f"the run has no number {name!r}"
            raise ValueError(message)  # noqa: TRY004 - as a law says it
        product *= value
    return product


def flop_per_token(params: CellParams) -> float:
    """Return the floating-point operations that a cell takes a token."""
    return training_flop_per_token(params.shape, params.seq_len)


def _step(keys: Mapping[str, Any]) -> CellParams:
    """Return an arm of article 18, else a cell of article 19.

    What the keys do not name is as in that article.
    """
    kind = FrameworksParams if "variant" in keys else EnvelopeParams
    named = {name: value for name, value in keys.items() if name in fields_of(kind)}
    try:
        step: CellParams = build(kind, named)
    except ValueError as error:
        message = f"this is not a training step: {error}"
        raise ValueError(message) from None
    return step
