"""Article 18's figures, recomputed from the raw files it published."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from itertools import pairwise

from harness.experiments.a19.published import (
    PublishedArm,
    PublishedSnapshot,
    percent_above,
    read,
    read_snapshot,
)
from harness.records import record
from harness.workloads.api.context import Context
from harness.workloads.api.declare import Workload, param
from harness.workloads.api.figures import Figures, Row
from harness.workloads.models.conditions import ARMS, Conditions, Framework
from harness.workloads.models.memory import parameter_bytes
from harness.workloads.models.peak_memory import (
    peak_bytes,
    published_peak_bytes,
)
from harness.workloads.models.shape import Precision, initial_loss_nats, num_parameters
from harness.workloads.training.pretrain_params import CELL_METRICS, FrameworksParams
from harness.workloads.training.schedule import warmup_cosine

_BYTES_PER_GIB = 1024.0**3
_MS_PER_S = 1e3
_SECONDS_PER_HOUR = 3600.0
_SECONDS_PER_MINUTE = 60.0
_GIGA = 1e9
_PRINTED_STEPS = (10, 50, 99)  # the article's trace

# from the one published arm to the other, a condition at a time
_LADDER = ("vanilla", "vanilla-init", "vanilla-bf16", "vanilla-dropout", "nemo")
_CHANGES = ("init", "precision", "dropout", "framework")


@record
class FrameworksEvidenceParams:
    """The published files, and the article's own round figures."""

    vanilla: str = param("a18/vanilla_metrics.json", doc="the hand-written arm")
    nemo: str = param("a18/nemo_metrics.json", doc="the Megatron-Core arm")
    snapshot: str = param("a18/nvidia_smi_during_run.txt", doc="one look at the GPU, in nemo")
    overnight_steps: int = param(100_000, doc="steps of the article's overnight run", low=1)
    night_h: float = param(8.0, doc="hours of a night", unit="h", low=0.0)
    nights: int = param(365, doc="nights of a year", low=1)
    bandwidth_gb_s: float = param(
        273.0, doc="memory bandwidth of a DGX Spark, by its data sheet", unit="GB/s", low=0.1
    )


@record
class FrameworkVariant:
    """What was recorded of an arm; and the params that say what its shape and conditions give."""

    recorded: PublishedArm
    params: FrameworksParams
    evidence: FrameworksEvidenceParams

    @property
    def least_ms(self) -> float:
        """The least time that its states cost a step: memory moves at its bandwidth at most."""
        total = state_traffic_bytes(self.params.conditions.precision)
        total *= num_parameters(self.params.shape)
        return total / (self.evidence.bandwidth_gb_s * _GIGA) * _MS_PER_S

    @property
    def long_s(self) -> float:
        """The article's overnight run."""
        return self.evidence.overnight_steps * self.recorded.mean_step_ms / _MS_PER_S

    @property
    def night_tokens(self) -> float:
        """Tokens that it trains on in the article's night."""
        return self.recorded.tokens_per_s * self.evidence.night_h * _SECONDS_PER_HOUR


@record
class PublishedFrameworks:
    """The published files, read."""

    vanilla: FrameworkVariant
    nemo: FrameworkVariant
    snapshot: PublishedSnapshot


def analytic_peak_bytes(step: FrameworksParams) -> float:
    """Return the peak of an arm on a GPU, bytes, by the law of its framework."""
    conditions = step.conditions
    law = published_peak_bytes if conditions.framework is Framework.MEGATRON else peak_bytes
    dropout = conditions.dropout > 0
    return law(step.shape, step.tokens_per_step, conditions.precision, dropout=dropout)


def state_traffic_bytes(precision: Precision) -> int:
    """Return the bytes per parameter that a step reads and writes, without the matrix products.

    The norm of the gradients reads them, clipping reads and writes them; Adam reads weight,
    gradient and both moments and writes all but the gradient: ten passes. Under autocast each
    weight is cast to two bytes (read 4, write 2), and its gradient back (read 2, write 4); the
    position table and the norms, 0.3 % of the parameters, are counted as if they were too.
    """
    casts = 12 if precision is Precision.MIXED else 0
    return 10 * parameter_bytes(precision) + casts


def law_gib(arm: str) -> float:
    """Return the analytic peak of an arm, GiB."""
    return analytic_peak_bytes(FrameworksParams(variant=arm)) / _BYTES_PER_GIB


figure: Figures[PublishedFrameworks] = Figures(*CELL_METRICS)

# --- each published arm, as recorded and by its shape ---------------------------------------------

arm = figure.each(
    lambda p: (({"variant": a.params.variant}, a) for a in (p.vanilla, p.nemo)), keys="variant"
)
arm("step_time.mean")(lambda a: a.recorded.mean_step_ms)
arm("tokens_per_second")(lambda a: a.recorded.tokens_per_s)


@arm("tokens_per_second.deviation", "%", "tokens / step time above the one recorded")
def _(arm: FrameworkVariant) -> float:
    recomputed = arm.params.tokens_per_step / arm.recorded.mean_step_ms * _MS_PER_S
    return percent_above(recomputed, arm.recorded.tokens_per_s)


arm("loss.first")(lambda a: a.recorded.loss_first)
arm("loss.last")(lambda a: a.recorded.loss_last)
arm("loss.fall")(lambda a: a.recorded.loss_first - a.recorded.loss_last)
arm("loss.initial", "nat", "of the untrained model, from shape and init")(
    lambda a: initial_loss_nats(a.params.shape, a.params.conditions.init)
)
arm("memory.peak_allocated")(lambda a: a.recorded.peak_gpu_mem_gib)
arm("memory.peak_reserved")(lambda a: a.recorded.peak_gpu_reserved_gib)
arm("memory.law_deviation", "%", "analytic peak above the published one")(
    lambda a: percent_above(law_gib(a.params.variant), a.recorded.peak_gpu_mem_gib)
)
arm("parameters")(lambda a: num_parameters(a.params.shape))
arm("whole_run.time", "s", "all steps at the mean step time")(
    lambda a: a.recorded.steps * a.recorded.mean_step_ms / _MS_PER_S
)
arm("traffic.state", "B/parameter", "moved a step beside the products")(
    lambda a: state_traffic_bytes(a.params.conditions.precision)
)
arm("traffic.min_time", "ms", "traffic.state at the memory's bandwidth")(lambda a: a.least_ms)
arm("long_run.time", "h", "the article's overnight run")(lambda a: a.long_s / _SECONDS_PER_HOUR)
arm("night.tokens", "token", "in the article's night")(lambda a: a.night_tokens)

# --- what the published arms differ by ------------------------------------------------------------


def _gain(of: Callable[[PublishedArm], float]) -> Callable[[PublishedFrameworks], float]:
    return lambda p: percent_above(of(p.nemo.recorded), of(p.vanilla.recorded))


def _saved(
    of: Callable[[FrameworkVariant], float], per: float = 1.0
) -> Callable[[PublishedFrameworks], float]:
    return lambda p: (of(p.vanilla) - of(p.nemo)) / per


figure("gain.tokens_per_second", "%", "nemo above vanilla")(_gain(lambda a: a.tokens_per_s))
figure("gain.step_time", "%", "nemo above vanilla")(_gain(lambda a: a.mean_step_ms))
figure("gain.step_saved", "ms", "vanilla - nemo")(_saved(lambda a: a.recorded.mean_step_ms))
figure("gain.memory_allocated", "%", "nemo above vanilla")(_gain(lambda a: a.peak_gpu_mem_gib))
figure("gain.memory_reserved", "%", "nemo above vanilla")(_gain(lambda a: a.peak_gpu_reserved_gib))
figure("gain.memory_saved", "GiB", "vanilla - nemo, allocated")(
    _saved(lambda a: a.recorded.peak_gpu_mem_gib)
)
figure("traffic.min_saved", "ms", "vanilla - nemo")(_saved(lambda a: a.least_ms))
figure("long_run.saved", "min", "vanilla - nemo")(_saved(lambda a: a.long_s, _SECONDS_PER_MINUTE))


@figure.rows("loss.ratio", "x", "vanilla / nemo; where: at")
def _(p: PublishedFrameworks) -> Iterator[Row]:
    vanilla, nemo = p.vanilla.recorded, p.nemo.recorded
    yield {"at": "first"}, vanilla.loss_first / nemo.loss_first
    yield {"at": "last"}, vanilla.loss_last / nemo.loss_last


@figure("conditions.differing", "count", "of the published arms, beside the framework")
def _(_: PublishedFrameworks) -> int:
    names = [each.name for each in fields(Conditions) if each.name != "framework"]
    return sum(getattr(ARMS["vanilla"], n) != getattr(ARMS["nemo"], n) for n in names)


figure("conditions.same_torch", "flag", "both published arms ran the same build of torch")(
    lambda p: p.vanilla.recorded.torch_version == p.nemo.recorded.torch_version
)

# --- what any arm should hold, run or not, and what makes it so -----------------------------------

figure.rows("memory.law", "GiB", "analytic peak; where: variant")(
    lambda _: (({"variant": name}, law_gib(name)) for name in ARMS)
)


@figure.rows("memory.law_change", "%", "of vanilla's analytic peak; where: condition that changes")
def _(_: PublishedFrameworks) -> Iterator[Row]:
    for change, (before, after) in zip(_CHANGES, pairwise(_LADDER), strict=True):
        percent = 100 * (law_gib(after) - law_gib(before)) / law_gib("vanilla")
        yield {"condition": change}, percent


# --- what the article reckons: a trace, a night, a year; and one look -----------------------------


@figure.rows("learning_rate", "1", "by the schedule; where: step")
def _(p: PublishedFrameworks) -> Iterator[Row]:
    schedule = warmup_cosine(
        p.nemo.params.learning_rate,
        p.nemo.recorded.warmup_steps_excluded_from_mean,
        p.nemo.recorded.steps,
    )
    for step in _PRINTED_STEPS:
        yield {"step": step}, schedule.lr_at(step)


figure("night.gain", "token", "nemo - vanilla")(
    lambda p: p.nemo.night_tokens - p.vanilla.night_tokens
)


@figure("year.gain", "Gtoken", "night.gain in every night of a year")
def _(p: PublishedFrameworks) -> float:
    return (p.nemo.night_tokens - p.vanilla.night_tokens) * p.nemo.evidence.nights / _GIGA


look = figure.of(lambda p: p.snapshot)
look("snapshot.power", "W", "one look, about half-way")(lambda look: look.power_w)
look("snapshot.utilisation", "%", "one look, about half-way")(lambda look: look.utilisation_pct)
look("snapshot.temperature", "degC", "one look, about half-way")(lambda look: look.temperature_c)
look("snapshot.memory", "text", "GPU memory in use, as nvidia-smi answers")(
    lambda look: look.memory_used
)

# --------------------------------------------------------------------------------------------------


def run(context: Context) -> None:
    """Recompute every figure; the device named is the one they were measured on."""
    params: FrameworksEvidenceParams = context.params

    def arm(name: str, file: str) -> FrameworkVariant:
        recorded = read(PublishedArm, context.evidence(file))
        return FrameworkVariant(
            recorded=recorded, params=FrameworksParams(variant=name), evidence=params
        )

    published = PublishedFrameworks(
        vanilla=arm("vanilla", params.vanilla),
        nemo=arm("nemo", params.nemo),
        snapshot=read_snapshot(context.evidence(params.snapshot)),
    )
    context.emit.started(published.nemo.recorded.cuda_device, source="published files")
    figure.report(context.emit, published)


FRAMEWORKS_EVIDENCE = Workload(
    name="pretrain.frameworks_evidence",
    doc="article 18's figures, recomputed from the raw files it published",
    params=FrameworksEvidenceParams,
    metrics=figure.metrics,
    entry="harness.experiments.a18.evidence:run",
)

WORKLOADS = (FRAMEWORKS_EVIDENCE,)
