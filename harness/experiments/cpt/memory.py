"""Which models a machine's memory can train, in which precision and with which states.

Activations are `kept`, `recomputed` layer by layer, or `offloaded` to the host's memory, which on a
machine whose CPU and GPU share one memory is the same memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from harness.records import record
from harness.workloads.api.context import Context
from harness.workloads.api.declare import Better, Workload, param
from harness.workloads.api.figures import Figures, Row, Where
from harness.workloads.models.memory import (
    GIB,
    MIXED,
    REGIMES,
    Fit,
    ForwardPass,
    Need,
    NumberFormat,
    Regime,
    fits,
    lora_need,
    training_need,
)
from harness.workloads.models.presets import DGX_SPARK, LLAMA31_8B
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
_LOWER, _HIGHER = Better.LOWER, Better.HIGHER
_FLOP_PER_PARAMETER = {"kept": 6, "recomputed": 8}  # recomputing is one forward pass more
_SECONDS_PER_DAY = 86_400


@record
class TrainingParams:
    """A machine, a training step and a wall clock; the defaults are a DGX Spark's."""

    available_gib: float = param(
        DGX_SPARK.visible / GIB, doc="memory that CPU and GPU share", unit="GiB", low=0.0
    )
    floor_gib: float = param(
        8.0, doc="left to the system; the floor of the harness's own watchdog", unit="GiB", low=0.0
    )
    tokens: int = param(4096, doc="tokens of one forward pass", low=1)
    logit_bytes: int = param(
        14, doc="for each logit; 14 is what a plain framework path keeps (article 18)", low=2
    )
    lora_rank: int = param(16, doc="rank of the adapters on every matrix of the layers", low=1)
    achieved_tflop_s: tuple[float, ...] = param(
        (27.0, 32.0),
        doc="what articles 18 to 20 got out of a GB10, 6 FLOP a parameter and token",
        unit="TFLOP/s",
        low=0.0,
    )
    wall_days: tuple[float, ...] = param(
        (2.0, 7.0), doc="the article's head plans two days, its text a week", unit="d", low=0.0
    )


def _need(regime: Regime, forward: ForwardPass) -> Need:
    return training_need(LLAMA31_8B, regime, forward)


def _forward(params: TrainingParams, *, recompute: bool = False) -> ForwardPass:
    return ForwardPass(tokens=params.tokens, logit_bytes=params.logit_bytes, recompute=recompute)


def _available(params: TrainingParams) -> int:
    return int((params.available_gib - params.floor_gib) * GIB)


figure: Figures[TrainingParams] = Figures()

# --- states: weight, gradient, two moments and master copy ----------------------------------------

figure.rows("model.parameters", "parameter", "of a model")(
    lambda _: (({"model": model}, parameters) for model, parameters in MODELS.items())
)
figure.rows(
    "regime.bytes",
    "B/parameter",
    "weight, gradient, two moments and master copy of a trained parameter",
    better=_LOWER,
)(lambda _: (({"regime": each.name}, each.bytes_per_parameter) for each in REGIMES))


def _states(_: TrainingParams) -> Iterator[tuple[Where, float]]:
    for model, parameters in MODELS.items():
        for regime in REGIMES:
            at = {"model": model, "regime": regime.name}
            yield at, regime.bytes_per_parameter * parameters


figure.rows("state.memory", "GiB", "these, of all parameters", better=_LOWER)(
    lambda params: ((at, size / GIB) for at, size in _states(params))
)
figure.rows("state.fits", "flag", "the states alone fit beside the floor")(
    lambda params: ((at, size <= _available(params)) for at, size in _states(params))
)

# --- activations ----------------------------------------------------------------------------------


def _activations(params: TrainingParams) -> Iterator[tuple[Where, tuple[int, int]]]:
    kept = _need(REGIMES[0], _forward(params)).activations
    recomputed = _need(REGIMES[0], _forward(params, recompute=True)).activations
    for way, size in (("kept", kept), ("recomputed", recomputed), ("offloaded", kept)):
        yield {"activations": way}, (size, kept)


activations = figure.each(_activations)
activations(
    "activations.memory",
    "GiB",
    "what the forward pass keeps for the backward pass",
    better=_LOWER,
)(lambda sizes: sizes[0] / GIB)
activations(
    "activations.saved",
    "GiB",
    "by which the machine has more memory left than where activations are kept",
    better=_HIGHER,
)(lambda sizes: (sizes[1] - sizes[0]) / GIB)

# --- what the 8B model then takes -----------------------------------------------------------------


def _needs(params: TrainingParams) -> Iterator[tuple[Where, tuple[Need, Fit]]]:
    for way in ("kept", "recomputed"):
        forward = _forward(params, recompute=way == "recomputed")
        needs = {regime.name: _need(regime, forward) for regime in REGIMES}
        needs[ADAPTERS] = lora_need(LLAMA31_8B, NumberFormat.BF16, MIXED, params.lora_rank, forward)
        for regime, need in needs.items():
            yield {"regime": regime, "activations": way}, (need, fits(need, _available(params)))


need = figure.each(_needs)
need("need.memory", "GiB", "states and activations", better=_LOWER)(lambda n: n[0].total / GIB)
need(
    "need.spare",
    "GiB",
    "memory left above the floor; negative if it is short",
    better=_HIGHER,
)(lambda n: n[1].spare_gib)
need("need.fits", "flag", "states and activations fit beside the floor")(lambda n: n[1].fits)

# --- what a wall clock allows ---------------------------------------------------------------------


def _rates(params: TrainingParams) -> Iterator[tuple[Where, float]]:
    for way, flop in _FLOP_PER_PARAMETER.items():
        for tflop_s in params.achieved_tflop_s:
            rate = tflop_s * 1e12 / (flop * MODELS[LLAMA31_8B.name])
            yield {"activations": way, "tflop_s": tflop_s}, rate


figure.rows(
    "budget.rate",
    "token/s",
    "training tokens a second at that many FLOP a second",
    better=_HIGHER,
)(_rates)


@figure.rows("budget.tokens", "token", "training tokens in that many days", better=_HIGHER)
def _(params: TrainingParams) -> Iterator[Row]:
    for at, rate in _rates(params):
        for days in params.wall_days:
            yield {**at, "days": days}, rate * days * _SECONDS_PER_DAY


# --------------------------------------------------------------------------------------------------


def run(context: Context) -> None:
    """Report every figure."""
    context.emit.started("no device")
    figure.report(context.emit, context.params)


TRAINING = Workload(
    name="capacity.training",
    doc="which models, precisions and optimizer states a machine's memory can train",
    params=TrainingParams,
    metrics=figure.metrics,
    entry="harness.experiments.cpt.memory:run",
)

WORKLOADS = (TRAINING,)
