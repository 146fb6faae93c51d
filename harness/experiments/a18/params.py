"""Parameters and metrics of article 18. Loads no torch."""

from __future__ import annotations

from harness.workloads.api.declare import Workload
from harness.workloads.training.pretrain_params import (
    CELL_METRICS,
    CONDITION_METRICS,
    OBSERVED_METRICS,
    PRETRAIN_LAWS,
    FrameworksParams,
)

FRAMEWORKS = Workload(
    name="pretrain.frameworks",
    doc="one arm: the GPT by hand or out of Megatron-Core, under published or matched conditions",
    params=FrameworksParams,
    metrics=(*CELL_METRICS, *CONDITION_METRICS, *OBSERVED_METRICS),
    entry="harness.workloads.training.pretrain:run",
    derivation="harness.workloads.training.pretrain_metrics:cell",
    requires=("torch", "megatron-core"),
    laws=PRETRAIN_LAWS,
)

WORKLOADS = (FRAMEWORKS,)
