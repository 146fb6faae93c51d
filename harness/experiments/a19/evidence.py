"""Article 19's figures, recomputed from the raw files it published.

The samples of ``nvidia-smi`` carry no marks of the configurations. They are laid against the
sweep's own wall times one after the other, from the first sample that shows work: right to a
sampling interval of 2 s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby, pairwise

from harness.experiments.a19.published import (
    PublishedArm,
    PublishedCell,
    PublishedSweep,
    percent_above,
    read,
)
from harness.probes import nvidia_smi as power
from harness.probes.nvidia_smi import PowerSample
from harness.records import record
from harness.statistics import Line, least_squares
from harness.workloads.api.context import Context
from harness.workloads.api.declare import Workload, param
from harness.workloads.api.figures import Figures, Row, Where
from harness.workloads.models.peak_memory import published_peak_bytes
from harness.workloads.models.shape import Precision, initial_loss_nats, num_parameters
from harness.workloads.training.pretrain_params import CELL_METRICS

Window = tuple[float, float]  # from, to: seconds on the samples' clock

_MIB_PER_GIB = 1024.0
_BYTES_PER_GIB = 1024.0**3
_MS_PER_S = 1e3
_SECONDS_PER_DAY = 86400.0
_FIVE_MINUTES_S = 300.0
_NUM_RUNS = 100
_TERA = 1e12
_GIGA = 1e9
_KILO = 1e3
_TOKENS_PER_PARAMETER = 20.0  # Hoffmann et al. 2022, arXiv 2203.15556, table 3, as a rule of thumb
_FLOPS_PER_PARAMETER = (
    6  # forward 2, backward 4 (Kaplan et al. 2020, arXiv 2001.08361, section 2.1)
)

# Memory bandwidth, GB/s, as NVIDIA's data sheets state it: DGX Spark, H100 SXM, H200 SXM, B200
_SPARK_GB_PER_S = 273.0
_CLOUD_GB_PER_S = {"H100": 3350.0, "H200": 4800.0, "B200": 8000.0}


@record
class EnvelopeEvidenceParams:
    """The published files, and the article's own round figures."""

    sweep: str = param("a19/sweep_results.json", doc="the sweep's configurations")
    power: str = param("a19/nvidia_smi_during_sweep.csv", doc="GPU samples during the sweep")
    vanilla: str = param("a18/vanilla_metrics.json", doc="article 18's hand-written loop")
    nemo: str = param("a18/nemo_metrics.json", doc="article 18's Megatron-Core loop")
    busy_pct: float = param(
        90.0, doc="a sample is busy from this utilisation on", unit="%", low=0.0, high=100.0
    )
    start_pct: float = param(
        10.0, doc="the sweep starts at this utilisation", unit="%", low=0.0, high=100.0
    )
    line_from_tokens: int = param(
        4096, doc="tokens per step from which the peak is linear", unit="token", low=1
    )
    budget_gib: float = param(100.0, doc="memory the article would fill", unit="GiB", low=1.0)
    mean_power_w: float = param(56.0, doc="power that the article assumes", unit="W", low=0.0)
    night_h: float = param(8.0, doc="hours of a night", unit="h", low=0.0)
    usd_per_day: float = param(
        0.27, doc="price of a day's electricity in the article", unit="USD", low=0.0
    )


@dataclass(frozen=True, kw_only=True)
class PublishedEnvelope:
    """The published files, read."""

    sweep: PublishedSweep
    samples: Sequence[PowerSample]
    vanilla: PublishedArm
    nemo: PublishedArm
    params: EnvelopeEvidenceParams

    @property
    def best(self) -> PublishedCell:
        """The configuration with the highest throughput."""
        return self.sweep.fastest

    @cached_property
    def worst(self) -> PublishedCell:
        """The configuration with the lowest throughput."""
        return min(self.sweep.results, key=lambda cell: cell.tokens_per_s)

    @cached_property
    def parameters(self) -> int:
        """Of the model in the fastest configuration."""
        return num_parameters(self.sweep.model.shape(self.best.seq_len))

    @property
    def day_kwh(self) -> float:
        """The article's power for a day."""
        return self.params.mean_power_w * 24 / _KILO

    @cached_property
    def by_shape(self) -> Mapping[tuple[int, int], Mapping[Precision, PublishedCell]]:
        """(sequence length, batch size) -> its configuration in either precision."""
        shapes: dict[tuple[int, int], dict[Precision, PublishedCell]] = {}
        for cell in self.sweep.results:
            shapes.setdefault((cell.seq_len, cell.batch_size), {})[cell.precision] = cell
        return shapes

    @cached_property
    def speedups(self) -> Mapping[tuple[int, int], float]:
        """Shape -> by how many percent eight bits are faster."""
        return {
            shape: percent_above(
                cells[Precision.FP8].tokens_per_s, cells[Precision.BF16].tokens_per_s
            )
            for shape, cells in self.by_shape.items()
        }

    @cached_property
    def busy(self) -> Sequence[PowerSample]:
        """The samples that show work."""
        return power.busy(self.samples, self.params.busy_pct)

    @cached_property
    def windows(self) -> Sequence[tuple[PublishedCell, Window]]:
        """When each configuration ran."""
        return cell_windows(self.sweep, self.samples, self.params.start_pct)

    def rows(self) -> Iterator[tuple[str, Sequence[PowerSample]]]:
        """Yield the sets of samples that are reported."""
        yield "all", self.samples
        yield "busy", self.busy
        for precision in self.sweep.precisions:
            own = [window for cell, window in self.windows if cell.precision is precision]
            yield f"busy_{precision.value}", power.window(self.busy, own[0][0], own[-1][1])

    @cached_property
    def remeasured(self) -> tuple[int, PublishedCell]:
        """The shape that article 18 measured too, and which one in the sweep it was.

        The article compares with a run whose figures were not published; this is the file's.
        """
        shape = (self.nemo.batch_size, self.nemo.seq_len)
        return next(
            (position, cell)
            for position, cell in enumerate(self.sweep.results, 1)
            if (cell.batch_size, cell.seq_len) == shape
        )


def cell_windows(
    sweep: PublishedSweep, samples: Sequence[PowerSample], start_pct: float
) -> list[tuple[PublishedCell, Window]]:
    """Return when each configuration ran, from the first sample of at least `start_pct` on."""
    start_s = power.busy(samples, start_pct)[0].at_s
    edges = accumulate((cell.wall_s for cell in sweep.results), initial=start_s)
    return list(zip(sweep.results, pairwise(edges), strict=True))


def memory_line(sweep: PublishedSweep, precision: Precision, from_tokens: int) -> Line:
    """Return peak GiB by tokens per step, of the cells with at least so many tokens."""
    return least_squares(
        (float(cell.tokens_per_step), cell.peak_gpu_mem_gib)
        for cell in sweep.results
        if cell.precision is precision and cell.tokens_per_step >= from_tokens
    )


figure: Figures[PublishedEnvelope] = Figures(*CELL_METRICS)

# --- the published table, row by row, with related figures ---------------------

cell = figure.each(lambda p: ((c.where, c) for c in p.sweep.results))
cell("step_time.mean")(lambda c: c.mean_step_ms)
cell("tokens_per_second")(lambda c: c.tokens_per_s)
cell("loss.first")(lambda c: c.loss_first)
cell("loss.last")(lambda c: c.loss_last)
cell("loss.fall")(lambda c: c.loss_first - c.loss_last)
cell("memory.peak_allocated")(lambda c: c.peak_gpu_mem_gib)
cell("memory.peak_reserved")(lambda c: c.peak_gpu_reserved_gib)
cell("cell.wall_time")(lambda c: c.wall_s)
cell("cell.out_of_memory")(lambda c: not c.ok)


@figure.rows("memory.law_deviation", "%", "analytic peak against the published one; per cell")
def _(p: PublishedEnvelope) -> Iterator[Row]:
    for c in p.sweep.results:
        shape = p.sweep.model.shape(c.seq_len)
        law = published_peak_bytes(shape, c.tokens_per_step, c.precision)
        yield c.where, percent_above(law / _BYTES_PER_GIB, c.peak_gpu_mem_gib)


@figure.rows("cell.gain_over_vanilla", "%", "throughput against article 18's hand-rolled loop")
def _(p: PublishedEnvelope) -> Iterator[Row]:
    for c in p.sweep.results:
        yield c.where, percent_above(c.tokens_per_s, p.vanilla.tokens_per_s)


@figure.rows("parameters")
def _(p: PublishedEnvelope) -> Iterator[Row]:
    for c in p.sweep.results:
        yield c.where, num_parameters(p.sweep.model.shape(c.seq_len))


# --- what all cells together say: best, worst, spread, and the time they took ---------------------

best = figure.of(lambda p: p.best)
best("sweep.best_cell", "text", "the fastest configuration")(lambda c: c.label)
best("sweep.best_tokens_per_second", "token/s", "its throughput")(lambda c: c.tokens_per_s)
best("budget.run_tokens", "token", "five minutes of the fastest configuration")(
    lambda c: c.tokens_per_s * _FIVE_MINUTES_S
)
best("budget.campaign_tokens", "token", "a hundred such runs")(
    lambda c: c.tokens_per_s * _FIVE_MINUTES_S * _NUM_RUNS
)
figure("sweep.worst_cell", "text", "the slowest configuration")(lambda p: p.worst.label)
figure("sweep.max_to_min", "x", "highest throughput / lowest")(
    lambda p: p.best.tokens_per_s / p.worst.tokens_per_s
)
figure("sweep.worst_share", "%", "lowest throughput / highest")(
    lambda p: 100 * p.worst.tokens_per_s / p.best.tokens_per_s
)
figure("loss.initial", "nat", "of the untrained model, from its shape and initialisation")(
    lambda p: initial_loss_nats(p.sweep.model.shape(p.best.seq_len))
)
cells = figure.of(lambda p: p.sweep.results)
cells("sweep.cells_ok", "count", "configurations that finished")(lambda cs: sum(c.ok for c in cs))
cells("sweep.cells_out_of_memory", "count", "configurations that did not")(
    lambda cs: sum(not c.ok for c in cs)
)
cells("sweep.leanest_cell", "text", "least peak memory for its throughput")(
    lambda cs: min(cs, key=lambda c: c.peak_gpu_mem_gib / c.tokens_per_s).label
)
cells("sweep.cells_wall_time", "s", "sum over the cells, as recorded")(
    lambda cs: math.fsum(c.wall_s for c in cs)
)


@figure(
    "sweep.tokens_per_second_deviation", "%", "tokens / step time against the throughput recorded"
)
def _(p: PublishedEnvelope) -> float:
    recomputed = (
        percent_above(c.tokens_per_step / c.mean_step_ms * _MS_PER_S, c.tokens_per_s)
        for c in p.sweep.results
    )
    return max(recomputed, key=abs)


figure("sweep.wall_time", "s", "of the whole sweep, as recorded")(lambda p: p.sweep.sweep_wall_s)


@figure.rows("sweep.plateau", "x", "longest sequence: throughput of the largest batch / the next")
def _(p: PublishedEnvelope) -> Iterator[Row]:
    longest = max(c.seq_len for c in p.sweep.results)
    for precision in p.sweep.precisions:
        rows = [c for c in p.sweep.results if (c.precision, c.seq_len) == (precision, longest)]
        last, before = sorted(rows, key=lambda c: -c.batch_size)[:2]
        yield {"precision": precision.value}, last.tokens_per_s / before.tokens_per_s


# --- what eight bits gain in speed and cost in memory, shape by shape -----------------------------


def _shape(seq_len: int, batch_size: int) -> Where:
    return {"seq_len": seq_len, "batch_size": batch_size}


@figure.rows("fp8.speedup", "%", "throughput of fp8 above bf16; where: seq_len, batch_size")
def _(p: PublishedEnvelope) -> Iterator[Row]:
    return ((_shape(*shape), speedup) for shape, speedup in p.speedups.items())


@figure.rows("fp8.memory_change", "GiB", "peak of fp8 - bf16; where: seq_len, batch_size")
def _(p: PublishedEnvelope) -> Iterator[Row]:
    for shape, cells in p.by_shape.items():
        wide, narrow = cells[Precision.BF16], cells[Precision.FP8]
        yield _shape(*shape), narrow.peak_gpu_mem_gib - wide.peak_gpu_mem_gib


figure("fp8.speedup_min", "%", "over all shapes")(lambda p: min(p.speedups.values()))
figure("fp8.speedup_max", "%", "over all shapes")(lambda p: max(p.speedups.values()))


@figure("fp8.speedup_falls", "flag", "it falls with every larger batch, at every length")
def _(p: PublishedEnvelope) -> bool:
    by_length = groupby(sorted(p.speedups.items()), key=lambda item: item[0][0])
    return all(one > other for _, group in by_length for (_, one), (_, other) in pairwise(group))


# --- how the peak grows with the tokens of a step -------------------------------------------------


@record
class Growth:
    """The line of peak memory over tokens a step, in one precision."""

    line: Line
    parameters: int
    budget_gib: float


def _growth(p: PublishedEnvelope) -> Iterator[tuple[Where, Growth]]:
    for precision in p.sweep.precisions:
        line = memory_line(p.sweep, precision, p.params.line_from_tokens)
        parameters = num_parameters(p.sweep.model.shape(1024))
        found = Growth(line=line, parameters=parameters, budget_gib=p.params.budget_gib)
        yield {"precision": precision.value}, found


growth = figure.each(_growth, keys="precision")
growth("memory.slope", "MiB/token", "least squares of the peak")(
    lambda g: g.line.slope * _MIB_PER_GIB
)
growth("memory.intercept", "GiB", "of that line at no tokens")(lambda g: g.line.intercept)
growth("memory.line_residual", "GiB", "furthest cell from that line")(lambda g: g.line.residual)
growth("memory.state", "B/parameter", "memory.intercept a parameter")(
    lambda g: g.line.intercept * _BYTES_PER_GIB / g.parameters
)
growth("memory.tokens_in_budget", "token", "a step that fits the budget")(
    lambda g: math.floor((g.budget_gib - g.line.intercept) / g.line.slope)
)

# --- power, temperature and energy, by the samples ------------------------------------------------

rows = figure.each(
    lambda p: (({"subset": name}, samples) for name, samples in p.rows()), keys="subset"
)
rows("sweep.samples", "count", "GPU samples")(len)
rows("sweep.power_mean", "W", "over the samples")(power.mean_power_w)
rows("sweep.utilisation_mean", "%", "over the samples")(power.mean_utilisation_pct)
rows("sweep.temperature_mean", "degC", "over the samples")(power.mean_temperature_c)


def _largest(of: Callable[[PowerSample], float | None]) -> Callable[[PublishedEnvelope], float]:
    return lambda p: max(value for each in p.samples if (value := of(each)) is not None)


figure("sweep.power_max", "W", "highest sample")(_largest(lambda s: s.power_w))
figure("sweep.utilisation_max", "%", "highest sample")(_largest(lambda s: s.utilisation_pct))
figure("sweep.temperature_max", "degC", "highest sample")(_largest(lambda s: s.temperature_c))
figure("sweep.samples_span", "s", "from the first sample to the last")(
    lambda p: power.span_s(p.samples)
)
figure("sweep.energy", "Wh", "of the GPU, trapezoid rule over all samples")(
    lambda p: power.energy_wh(p.samples)
)


def _powered(p: PublishedEnvelope) -> Iterator[tuple[Where, tuple[PublishedCell, float]]]:
    for c, window in p.windows:
        mean_w = power.mean_power_w(power.window(p.busy, *window))
        if mean_w is not None:
            yield c.where, (c, mean_w)


powered = figure.each(_powered)
powered("cell.power", "W", "mean power of the busy samples in a cell's window")(lambda c: c[1])
powered("cell.efficiency", "token/J", "throughput / cell.power")(lambda c: c[0].tokens_per_s / c[1])

# --- against article 18 ---------------------------------------------------------------------------

figure("drift.tokens_per_second", "%", "article 18's shape against article 18")(
    lambda p: percent_above(p.remeasured[1].tokens_per_s, p.nemo.tokens_per_s)
)
figure("drift.step_time", "%", "article 18's shape against article 18")(
    lambda p: percent_above(p.remeasured[1].mean_step_ms, p.nemo.mean_step_ms)
)
figure("drift.memory", "GiB", "its peak against article 18's")(
    lambda p: p.remeasured[1].peak_gpu_mem_gib - p.nemo.peak_gpu_mem_gib
)
figure("drift.position", "count", "which configuration of the sweep that shape was")(
    lambda p: p.remeasured[0]
)

# --- what the fastest configuration does in a while, and what that draws; other machines ----------

figure("budget.chinchilla_tokens", "Gtoken", "20 tokens a parameter")(
    lambda p: _TOKENS_PER_PARAMETER * p.parameters / _GIGA
)
figure("budget.chinchilla_days", "d", "those tokens in the fastest configuration")(
    lambda p: _TOKENS_PER_PARAMETER * p.parameters / (p.best.tokens_per_s * _SECONDS_PER_DAY)
)
figure("budget.night_energy", "Wh", "the article's power for its night")(
    lambda p: p.params.mean_power_w * p.params.night_h
)
figure("budget.day_energy", "kWh", "the article's power for a day")(lambda p: p.day_kwh)
figure("budget.electricity_rate", "USD/kWh", "the article's price of a day / budget.day_energy")(
    lambda p: p.params.usd_per_day / p.day_kwh
)


@figure.rows("work_rate", "TFLOP/s", "6 N a token, without the attention's scores; where: variant")
def _(p: PublishedEnvelope) -> Iterator[Row]:
    for arm, rate in (("vanilla", p.vanilla.tokens_per_s), ("best", p.best.tokens_per_s)):
        yield {"variant": arm}, _FLOPS_PER_PARAMETER * p.parameters * rate / _TERA


@figure.rows("cloud.bandwidth_ratio", "x", "memory bandwidth / the Spark's; where: gpu")
def _(_: PublishedEnvelope) -> Iterator[Row]:
    return (({"gpu": gpu}, rate / _SPARK_GB_PER_S) for gpu, rate in _CLOUD_GB_PER_S.items())


# --------------------------------------------------------------------------------------------------


def run(context: Context) -> None:
    """Recompute every figure; the device named is the one they were measured on."""
    params: EnvelopeEvidenceParams = context.params
    published = PublishedEnvelope(
        sweep=read(PublishedSweep, context.evidence(params.sweep)),
        samples=power.parse_csv(context.evidence(params.power)),
        vanilla=read(PublishedArm, context.evidence(params.vanilla)),
        nemo=read(PublishedArm, context.evidence(params.nemo)),
        params=params,
    )
    context.emit.started(published.sweep.device, source="published files")
    figure.report(context.emit, published)


ENVELOPE_EVIDENCE = Workload(
    name="pretrain.envelope_evidence",
    doc="article 19's figures, recomputed from the raw files it published",
    params=EnvelopeEvidenceParams,
    metrics=figure.metrics,
    entry="harness.experiments.a19.evidence:run",
)

WORKLOADS = (ENVELOPE_EVIDENCE,)
