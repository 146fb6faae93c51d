"""Parameters and metrics of article 19. Loads no torch."""

from __future__ import annotations

from harness.records import record
from harness.workloads.api.declare import Metric, Workload, param
from harness.workloads.training.pretrain_params import (
    CELL_METRICS,
    CONDITION_METRICS,
    PRETRAIN_LAWS,
    EnvelopeParams,
)


@record
class EnvelopeEvidenceParams:
    """The published files, and the article's own round figures."""

    sweep: str = param("a19/sweep_results.json", doc="the sweep's configurations")
    power: str = param("a19/nvidia_smi_during_sweep.csv", doc="GPU samples during the sweep")
    vanilla: str = param("a18/vanilla_metrics.json", doc="the hand-rolled loop of article 18")
    nemo: str = param("a18/nemo_metrics.json", doc="the Megatron-Core loop of article 18")
    busy_pct: float = param(
        90.0, doc="a sample is busy from this utilisation on", unit="%", low=0.0, high=100.0
    )
    start_pct: float = param(
        10.0, doc="the sweep starts at this utilisation", unit="%", low=0.0, high=100.0
    )
    line_from_tokens: int = param(
        4096, doc="tokens a step from which the peak is a straight line", unit="token", low=1
    )
    budget_gib: float = param(100.0, doc="memory the article would fill", unit="GiB", low=1.0)
    mean_power_w: float = param(56.0, doc="power the article reckons with", unit="W", low=0.0)
    night_h: float = param(8.0, doc="hours of a night", unit="h", low=0.0)
    usd_per_day: float = param(
        0.27, doc="price of a day's electricity in the article", unit="USD", low=0.0
    )


def _metric(name: str, unit: str, doc: str) -> Metric:
    return Metric(name=name, unit=unit, doc=doc)


EVIDENCE_METRICS = (
    _metric("memory.law_deviation", "%", "analytic peak against the published one; per cell"),
    _metric("cell.gain_over_vanilla", "%", "throughput against article 18's hand-rolled loop"),
    _metric("cell.power", "W", "mean power of the busy samples in a cell's window"),
    _metric("cell.efficiency", "token/J", "throughput / cell.power"),
    _metric("sweep.cells_ok", "count", "configurations that finished"),
    _metric("sweep.cells_out_of_memory", "count", "configurations that did not"),
    _metric("sweep.best_cell", "text", "the fastest configuration"),
    _metric("sweep.best_throughput", "token/s", "its throughput"),
    _metric("sweep.worst_cell", "text", "the slowest configuration"),
    _metric("sweep.spread", "x", "highest throughput / lowest"),
    _metric("sweep.worst_share", "%", "lowest throughput / highest"),
    _metric("sweep.leanest_cell", "text", "least peak memory for its throughput"),
    _metric("sweep.plateau", "x", "longest sequence: throughput of the largest batch / the next"),
    _metric(
        "sweep.throughput_deviation", "%", "tokens / step time against the throughput recorded"
    ),
    _metric("sweep.wall_time", "s", "of the whole sweep, as recorded"),
    _metric("sweep.cells_wall_time", "s", "sum over the cells, as recorded"),
    _metric("fp8.speedup", "%", "throughput of fp8 above bf16; where: seq_len, batch_size"),
    _metric("fp8.speedup_least", "%", "over all shapes"),
    _metric("fp8.speedup_most", "%", "over all shapes"),
    _metric("fp8.speedup_falls", "flag", "it falls with every larger batch, at every length"),
    _metric("fp8.memory_change", "GiB", "peak of fp8 - bf16; where: seq_len, batch_size"),
    _metric("memory.slope", "MiB/token", "least squares of the peak; where: precision"),
    _metric("memory.intercept", "GiB", "of that line at no tokens; where: precision"),
    _metric("memory.line_residual", "GiB", "furthest cell from that line; where: precision"),
    _metric("memory.state", "B/parameter", "memory.intercept a parameter; where: precision"),
    _metric("memory.tokens_in_budget", "token", "a step that fits the budget; where: precision"),
    _metric("sweep.samples", "count", "GPU samples; where: rows"),
    _metric("sweep.power_mean", "W", "over the samples; where: rows"),
    _metric("sweep.utilisation_mean", "%", "over the samples; where: rows"),
    _metric("sweep.temperature_mean", "degC", "over the samples; where: rows"),
    _metric("sweep.power_max", "W", "highest sample"),
    _metric("sweep.utilisation_max", "%", "highest sample"),
    _metric("sweep.temperature_max", "degC", "highest sample"),
    _metric("sweep.samples_span", "s", "from the first sample to the last"),
    _metric("sweep.energy", "Wh", "of the GPU, trapezoid rule over all samples"),
    _metric("loss.initial", "nat", "of the untrained model, from its shape and initialisation"),
    _metric("drift.throughput", "%", "article 18's shape against article 18"),
    _metric("drift.step_time", "%", "article 18's shape against article 18"),
    _metric("drift.memory", "GiB", "its peak against article 18's"),
    _metric("drift.position", "count", "which configuration of the sweep that shape was"),
    _metric("budget.run_tokens", "token", "five minutes of the fastest configuration"),
    _metric("budget.campaign_tokens", "token", "a hundred such runs"),
    _metric("budget.chinchilla_tokens", "Gtoken", "20 tokens a parameter"),
    _metric("budget.chinchilla_days", "d", "those tokens in the fastest configuration"),
    _metric("budget.night_energy", "Wh", "the article's power for its night"),
    _metric("budget.day_energy", "kWh", "the article's power for a day"),
    _metric(
        "budget.electricity_rate", "USD/kWh", "the article's price of a day / budget.day_energy"
    ),
    _metric("work_rate", "TFLOP/s", "6 N a token; where: arm"),
    _metric("cloud.bandwidth_ratio", "x", "memory bandwidth / the Spark's; where: gpu"),
)


ENVELOPE = Workload(
    name="pretrain.envelope",
    doc="time, memory and loss of one batch shape and precision over a few steps",
    params=EnvelopeParams,
    metrics=(*CELL_METRICS, *CONDITION_METRICS),
    entry="harness.workloads.training.pretrain:run",
    derivation="harness.workloads.training.pretrain_metrics:cell",
    requires=("torch",),
    laws=PRETRAIN_LAWS,
)

ENVELOPE_EVIDENCE = Workload(
    name="pretrain.envelope_evidence",
    doc="article 19's figures, recomputed from the raw files it published",
    params=EnvelopeEvidenceParams,
    metrics=(*CELL_METRICS, *EVIDENCE_METRICS),
    entry="harness.experiments.a19.evidence:run",
)

WORKLOADS = (ENVELOPE, ENVELOPE_EVIDENCE)
