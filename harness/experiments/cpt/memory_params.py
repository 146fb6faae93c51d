"""What the arithmetic of memory takes and reports. Loads nothing but records."""

from __future__ import annotations

from harness.records import record
from harness.workloads.api.declare import Better, Metric, Workload, param
from harness.workloads.models.memory import GIB
from harness.workloads.models.presets import DGX_SPARK


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


TRAINING = Workload(
    name="capacity.training",
    doc="which models, precisions and optimizer states a machine's memory can train",
    params=TrainingParams,
    entry="harness.experiments.cpt.memory:run",
    metrics=(
        Metric(name="model.parameters", unit="parameter", doc="of a model"),
        Metric(
            name="regime.bytes",
            unit="B/parameter",
            doc="weight, gradient, two moments and master copy of a trained parameter",
            better=Better.LOWER,
        ),
        Metric(
            name="state.memory", unit="GiB", doc="these, of all parameters", better=Better.LOWER
        ),
        Metric(name="state.fits", unit="flag", doc="the states alone fit beside the floor"),
        Metric(
            name="activations.memory",
            unit="GiB",
            doc="what the forward pass keeps for the backward pass",
            better=Better.LOWER,
        ),
        Metric(
            name="activations.saved",
            unit="GiB",
            doc="by which the machine has more memory left than where activations are kept",
            better=Better.HIGHER,
        ),
        Metric(name="need.memory", unit="GiB", doc="states and activations", better=Better.LOWER),
        Metric(
            name="need.spare",
            unit="GiB",
            doc="what is left beside the floor; negative by how much it is short",
            better=Better.HIGHER,
        ),
        Metric(name="need.fits", unit="flag", doc="states and activations fit beside the floor"),
        Metric(
            name="budget.rate",
            unit="token/s",
            doc="training tokens a second at that many FLOP a second",
            better=Better.HIGHER,
        ),
        Metric(
            name="budget.tokens",
            unit="token",
            doc="training tokens in that many days",
            better=Better.HIGHER,
        ),
    ),
)

WORKLOADS = (TRAINING,)
