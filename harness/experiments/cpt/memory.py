"""Which models a machine's memory can train, in which precision and with which states.

Activations are `kept`, `recomputed` layer by layer, or `offloaded` to the host's memory, which on a
machine whose CPU and GPU share one memory is the same memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from harness.experiments.cpt.memory_params import TrainingParams
from harness.records import Scalar
from harness.workloads.api.context import Context
from harness.workloads.models.memory import (
    GIB,
    MIXED,
    REGIMES,
    Dtype,
    ForwardPass,
    Need,
    Regime,
    fits,
    lora_need,
    training_need,
)
from harness.workloads.models.presets import LLAMA31_8B
from harness.workloads.models.shape import num_parameters

# parameters by name; the shapes of the other two do not enter, their states are enough to judge
MODELS: Mapping[str, int] = MappingProxyType(
    {
        LLAMA31_8B.name: num_parameters(LLAMA31_8B),
        "9B": 9_000_000_000,  # Nemotron Nano, by its name
        "49B": 49_000_000_000,  # as the article names it
    }
)
ADAPTERS = "adapters on bf16"
_FLOP_PER_PARAMETER = {"kept": 6, "recomputed": 8}  # recomputing is one forward pass more
_SECONDS_PER_DAY = 86_400

Figure = tuple[str, Scalar, Mapping[str, Scalar]]


def run(context: Context) -> None:
    """Report every figure."""
    context.emit.started("no device")
    for metric, value, where in figures(context.params):
        context.emit.measured(metric, value, where=where)


def figures(params: TrainingParams) -> Iterator[Figure]:
    """Yield every figure, unrounded."""
    yield from _states(params)
    yield from _activations(params)
    for name, activations, need in _needs(params):
        fit = fits(need, _available(params))
        at = {"regime": name, "activations": activations}
        yield "need.memory", need.total / GIB, at
        yield "need.spare", fit.spare_gib, at
        yield "need.fits", fit.fits, at
    yield from _budget(params)


def _states(params: TrainingParams) -> Iterator[Figure]:
    for model, parameters in MODELS.items():
        yield "model.parameters", parameters, {"model": model}
    for regime in REGIMES:
        yield "regime.bytes", regime.bytes_per_parameter, {"regime": regime.name}
    for model, parameters in MODELS.items():
        for regime in REGIMES:
            at = {"model": model, "regime": regime.name}
            size = regime.bytes_per_parameter * parameters
            yield "state.memory", size / GIB, at
            yield "state.fits", size <= _available(params), at


def _activations(params: TrainingParams) -> Iterator[Figure]:
    kept = _need(REGIMES[0], _forward(params)).activations
    recomputed = _need(REGIMES[0], _forward(params, recompute=True)).activations
    for way, size in (("kept", kept), ("recomputed", recomputed), ("offloaded", kept)):
        yield "activations.memory", size / GIB, {"activations": way}
        yield "activations.saved", (kept - size) / GIB, {"activations": way}


def _needs(params: TrainingParams) -> Iterator[tuple[str, str, Need]]:
    """Yield regime, what becomes of activations, and what the 8B model then takes."""
    for way in ("kept", "recomputed"):
        forward = _forward(params, recompute=way == "recomputed")
        for regime in REGIMES:
            yield regime.name, way, _need(regime, forward)
        adapters = lora_need(LLAMA31_8B, Dtype.BF16, MIXED, params.lora_rank, forward)
        yield ADAPTERS, way, adapters


def _need(regime: Regime, forward: ForwardPass) -> Need:
    return training_need(LLAMA31_8B, regime, forward)


def _forward(params: TrainingParams, *, recompute: bool = False) -> ForwardPass:
    return ForwardPass(tokens=params.tokens, logit_bytes=params.logit_bytes, recompute=recompute)


def _available(params: TrainingParams) -> int:
    return int((params.available_gib - params.floor_gib) * GIB)


def _budget(params: TrainingParams) -> Iterator[Figure]:
    for way, flop in _FLOP_PER_PARAMETER.items():
        for tflop_s in params.achieved_tflop_s:
            rate = tflop_s * 1e12 / (flop * MODELS[LLAMA31_8B.name])
            at: dict[str, Scalar] = {"activations": way, "tflop_s": tflop_s}
            yield "budget.rate", rate, at
            for days in params.wall_days:
                yield "budget.tokens", rate * days * _SECONDS_PER_DAY, {**at, "days": days}
