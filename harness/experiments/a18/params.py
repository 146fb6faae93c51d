"""Parameters and metrics of article 18. Loads no torch."""

from __future__ import annotations

from harness.records import record
from harness.workloads.api.declare import Metric, Workload, param
from harness.workloads.training.pretrain_params import (
    CELL_METRICS,
    CONDITION_METRICS,
    PRETRAIN_LAWS,
    ArmParams,
)


@record
class FrameworksEvidenceParams:
    """The published files, and the article's own round figures."""

    vanilla: str = param("a18/vanilla_metrics.json", doc="the hand-written arm")
    nemo: str = param("a18/nemo_metrics.json", doc="the Megatron-Core arm")
    snapshot: str = param("a18/nvidia_smi_during_run.txt", doc="one look at the GPU, in nemo")
    long_steps: int = param(100_000, doc="steps of the article's overnight run", low=1)
    night_h: float = param(8.0, doc="hours of a night", unit="h", low=0.0)
    nights: int = param(365, doc="nights of a year", low=1)
    bandwidth_gb_s: float = param(
        273.0, doc="memory bandwidth of a DGX Spark, by its data sheet", unit="GB/s", low=0.1
    )


def _metric(name: str, unit: str, doc: str) -> Metric:
    return Metric(name=name, unit=unit, doc=doc)


_METRICS = (
    _metric("gain.throughput", "%", "nemo above vanilla"),
    _metric("gain.step_time", "%", "nemo above vanilla"),
    _metric("gain.step_saved", "ms", "vanilla - nemo"),
    _metric("gain.memory_allocated", "%", "nemo above vanilla"),
    _metric("gain.memory_reserved", "%", "nemo above vanilla"),
    _metric("gain.memory_saved", "GiB", "vanilla - nemo, allocated"),
    _metric("loss.ratio", "x", "vanilla / nemo; where: at"),
    _metric("loss.initial", "nat", "of the untrained model, from shape and init; where: arm"),
    _metric("throughput.deviation", "%", "tokens / step time above the one recorded; where: arm"),
    _metric("conditions.differing", "count", "of the published arms, beside the framework"),
    _metric("conditions.same_torch", "flag", "both published arms ran the same build of torch"),
    _metric("memory.law", "GiB", "analytic peak; where: arm"),
    _metric("memory.law_deviation", "%", "analytic peak above the published one; where: arm"),
    _metric("memory.law_change", "%", "of vanilla's analytic peak; where: condition that changes"),
    _metric("traffic.state", "B/parameter", "moved a step beside the products; where: arm"),
    _metric("traffic.least_time", "ms", "traffic.state at the memory's bandwidth; where: arm"),
    _metric("traffic.least_saved", "ms", "vanilla - nemo"),
    _metric("learning_rate", "1", "by the schedule; where: step"),
    _metric("whole_run.time", "s", "all steps at the mean step time; where: arm"),
    _metric("long_run.time", "h", "the article's overnight run; where: arm"),
    _metric("long_run.saved", "min", "vanilla - nemo"),
    _metric("night.tokens", "token", "in the article's night; where: arm"),
    _metric("night.gain", "token", "nemo - vanilla"),
    _metric("year.gain", "Gtoken", "night.gain in every night of a year"),
    _metric("snapshot.power", "W", "one look, about half-way"),
    _metric("snapshot.utilisation", "%", "one look, about half-way"),
    _metric("snapshot.temperature", "degC", "one look, about half-way"),
    _metric("snapshot.memory", "text", "GPU memory in use, as nvidia-smi answers"),
)

FRAMEWORKS = Workload(
    name="pretrain.frameworks",
    doc="one arm: the GPT by hand or out of Megatron-Core, under published or matched conditions",
    params=ArmParams,
    metrics=(*CELL_METRICS, *CONDITION_METRICS),
    entry="harness.workloads.training.pretrain:run",
    derivation="harness.workloads.training.pretrain_metrics:cell",
    requires=("torch", "megatron-core"),
    laws=PRETRAIN_LAWS,
)

FRAMEWORKS_EVIDENCE = Workload(
    name="pretrain.frameworks_evidence",
    doc="article 18's figures, recomputed from the raw files it published",
    params=FrameworksEvidenceParams,
    metrics=(*CELL_METRICS, *_METRICS),
    entry="harness.experiments.a18.evidence:run",
)

WORKLOADS = (FRAMEWORKS, FRAMEWORKS_EVIDENCE)
