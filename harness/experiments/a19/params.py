"""Parameters and metrics of article 19. Loads no torch."""

from __future__ import annotations

from harness.workloads.api.declare import Workload
from harness.workloads.training.pretrain_params import (
    CELL_METRICS,
    CONDITION_METRICS,
    OBSERVED_METRICS,
    PRETRAIN_LAWS,
    EnvelopeParams,
)

ENVELOPE = Workload(
    name="pretrain.envelope",
    doc="time, memory and loss of one batch shape and precision over a few steps",
    params=EnvelopeParams,
    metrics=(*CELL_METRICS, *CONDITION_METRICS, *OBSERVED_METRICS),
    entry="harness.workloads.training.pretrain:run",
    derivation="harness.workloads.training.pretrain_metrics:cell",
    requires=("torch",),
    laws=PRETRAIN_LAWS,
)

WORKLOADS = (ENVELOPE,)
