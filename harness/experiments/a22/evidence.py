"""Workload ``autoresearch.trajectory_evidence``: figures of the published loop, recomputed.

Every figure of article 22 that its raw files can settle, whatever the article prints for it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import NamedTuple

from harness.errors import InputError, Problem
from harness.experiments.a22 import energy, noise, recount
from harness.experiments.a22.energy import Telemetry
from harness.experiments.a22.noise import Effect, PooledStd
from harness.probes.nvidia_smi import PowerSample
from harness.records import record
from harness.workloads.api.context import Context
from harness.workloads.api.declare import Better, Workload, param
from harness.workloads.api.figures import Absent, Counted, Figures, Row, Value, Where
from harness.workloads.api.rates import CLOUD_RENTAL, HOME_ELECTRICITY
from harness.workloads.autoresearch.loop_state import improvement
from harness.workloads.autoresearch.trajectory import (
    BaselineEval,
    Decision,
    Evaluated,
    Stage,
    TrainConfig,
    Trajectory,
    read_baseline,
    read_trajectory,
)
from harness.workloads.models.shape import num_parameters

KNOBS = tuple(field.name for field in fields(TrainConfig))[:13]  # article 22, "Search space"
_PERCENT = 100.0
_P95 = 95
_LOWER = Better.LOWER


@record
class TrajectoryEvidenceParams:
    """Inputs of the recomputation."""

    trajectory: str = param("a22/trajectory.jsonl", doc="the production loop's records")
    baseline: str = param("a22/baseline_eval.json", doc="the production loop's baseline evaluation")
    smoke: str = param("a22/smoke_trajectory.jsonl", doc="the three-iteration trial before it")
    power: str = param("a22/nvidia_smi_during_run.csv", doc="GPU samples during the loop")
    utc_offset_h: float = param(
        -7.0, doc="clock of the samples minus UTC", unit="h", low=-12.0, high=14.0
    )
    busy_pct: float = param(50.0, doc="a sample is busy from this utilisation on", unit="%")
    history_window: int = param(
        5, doc="iterations that the proposer's prompt shows", unit="count", low=1
    )
    window: int = param(10, doc="iterations of one repeat-rate window", unit="count", low=1)
    alpha: float = param(
        0.05, doc="chance of any false alarm that a noise test allows itself", low=1e-6, high=0.5
    )
    electricity_usd_per_kwh: float = param(
        HOME_ELECTRICITY.value, doc="price of electricity", unit="USD/kWh", low=0.0
    )
    cloud_usd_per_hour: float = param(
        CLOUD_RENTAL.value, doc="price of a rented GPU", unit="USD/h", low=0.0
    )
    reference_power_w: float = param(
        100.0, doc="the lamp that the loop is compared with", unit="W", low=0.0
    )
    long_trial_steps: int = param(1000, doc="steps of the longer iteration", unit="step", low=1)


class Tried(NamedTuple):
    """The trials of one ``knob=value``: the first, all, and the baseline's step beside them."""

    first: Evaluated
    row: recount.KnobOutcomes
    baseline_step_ms: float

    @property
    def where(self) -> Where:
        """The row keys."""
        return {"knob": self.first.proposal.knob, "value": self.first.proposal.new_value}


@dataclass(frozen=True, kw_only=True)
class PublishedLoop:
    """The published loop, read."""

    trajectory: Trajectory
    size_bytes: int
    baseline: BaselineEval
    smoke: Trajectory
    telemetry: Telemetry
    params: TrajectoryEvidenceParams

    @property
    def evaluated(self) -> tuple[Evaluated, ...]:
        """The iterations that have a figure."""
        return self.trajectory.evaluated

    @property
    def val_bpb(self) -> float:
        """What every iteration is compared with."""
        return self.trajectory.header.baseline_val_bpb

    def gain_pct(self, each: Evaluated) -> float:
        """Return by how many percent an iteration is below the baseline."""
        return improvement(self.val_bpb, each.val_bpb) * _PERCENT

    @cached_property
    def keeps(self) -> tuple[Evaluated, ...]:
        """The iterations that the rule keeps."""
        return recount.kept(self.trajectory)

    @property
    def lower(self) -> int:
        """How many iterations are below the baseline."""
        return sum(each.val_bpb < self.val_bpb for each in self.evaluated)

    @cached_property
    def tried(self) -> list[Tried]:
        """Every ``knob=value``, the most tried first."""
        firsts = {each.proposal.pair: each for each in reversed(self.evaluated)}
        step_ms = self.baseline.baseline_metrics.mean_step_ms
        rows = recount.by_value(self.trajectory)
        return [Tried(firsts[pair], row, step_ms) for pair, row in rows.items()]

    @cached_property
    def by_knob(self) -> dict[str, recount.KnobOutcomes]:
        """The trials of each knob that was touched."""
        return recount.by_knob(self.trajectory)

    @cached_property
    def pairs(self) -> tuple[str, ...]:
        """The proposals, in order."""
        return recount.proposed_pairs(self.trajectory)

    @cached_property
    def repeated(self) -> tuple[bool, ...]:
        """Whether each of them had been proposed before."""
        return recount.repeats(self.pairs)

    @cached_property
    def noise(self) -> PooledStd:
        """How far evaluations of one configuration scatter."""
        pooled = noise.pooled_sd(noise.draws(self.trajectory).values())
        if pooled is None:
            message = "no configuration was evaluated twice"
            raise Absent(message)
        return pooled

    @property
    def threshold(self) -> float:
        """The improvement from which on a candidate is kept."""
        return self.trajectory.header.accept_delta_frac * self.val_bpb

    @cached_property
    def effects(self) -> dict[TrainConfig, Effect]:
        """What each configuration is worth in the mean."""
        return noise.effects(self.trajectory, self.noise.std)

    @cached_property
    def survivors(self) -> tuple[TrainConfig, ...]:
        """The configurations that are better in the mean than the noise explains."""
        return noise.surviving(self.effects, self.params.alpha)

    @property
    def long_s(self) -> float:
        """An iteration of `long_steps`, by proportion."""
        training = statistics.fmean(each.eval_metrics.train_wall_s for each in self.evaluated)
        return training * self.params.long_trial_steps / self.trajectory.header.baseline_cfg.steps

    def watts(self, each: Evaluated) -> tuple[float, ...]:
        """Return the samples of an iteration's power."""
        during = energy.during(self.telemetry.loop, [each], self.params.utc_offset_h)
        return energy.powers_w(during)

    def energy_wh(self, each: Evaluated) -> float:
        """Return an iteration's energy: its mean power times its wall clock."""
        return energy.steady_wh(statistics.fmean(self.watts(each)), each.iter_wall_s)

    @property
    def lamp_wh(self) -> float:
        """What a lamp takes that burns as long as the loop runs."""
        return energy.steady_wh(self.params.reference_power_w, energy.duration_s(self.evaluated))


def _statistics(values: Sequence[float]) -> Iterator[Row]:
    found = recount.spread(values)
    yield {"statistic": "mean"}, Counted(found.mean, found.count)
    yield {"statistic": "median"}, Counted(statistics.median(values), found.count)
    yield {"statistic": "min"}, Counted(found.min, found.count)
    yield {"statistic": "max"}, Counted(found.max, found.count)


class At(NamedTuple):
    """One iteration of the published loop."""

    p: PublishedLoop
    each: Evaluated


figure: Figures[PublishedLoop] = Figures()

# --- records, and each evaluated iteration --------------------------------------------------------

figure("trajectory.size", "B", "bytes of the trajectory file")(lambda p: p.size_bytes)
figure.rows("iterations.count", "count", "records of a stage; where: stage")(
    lambda p: (({"stage": stage.value}, p.trajectory.count(stage)) for stage in Stage)
)
figure("iterations.requested", "count", "iterations the loop was asked for", optional=True)(
    lambda p: p.trajectory.summary.iters_requested if p.trajectory.summary else None
)
figure("trajectory.torn_lines", "count", "records cut off by a kill, not counted")(
    lambda p: int(bool(p.trajectory.torn))
)

iteration = figure.each(
    lambda p: (({"iteration": each.iteration}, At(p, each)) for each in p.evaluated),
    keys="iteration",
)
iteration("iteration.proposal", "text", "knob=value proposed")(lambda at: at.each.proposal.pair)
iteration("iteration.decision", "text", "what the rule says")(
    lambda at: (Decision.KEEP if at.each in at.p.keeps else Decision.REVERT).value
)
iteration("iteration.val_bpb", "bit/token", "held-out loss")(lambda at: at.each.val_bpb)
iteration("iteration.improvement", "%", "against the baseline")(lambda at: at.p.gain_pct(at.each))
iteration("iteration.time", "s", "wall clock")(lambda at: at.each.iter_wall_s)
figure.rows("iteration.accepted_ordinal", "count", "which keep it is; where: iteration")(
    lambda p: (({"iteration": each.iteration}, n) for n, each in enumerate(p.keeps, 1))
)
figure.rows("iteration.best_so_far", "bit/token", "where: iteration that set it")(
    lambda p: (
        ({"iteration": each.iteration}, each.val_bpb) for each in recount.new_bests(p.evaluated)
    )
)

# --- what the rule keeps, and where the record contradicts it -------------------------------------


@figure.rows("decisions.count", "count", "by the 0.5 % rule; where: decision")
def _(p: PublishedLoop) -> Iterator[Row]:
    yield {"decision": Decision.KEEP.value}, len(p.keeps)
    yield {"decision": Decision.REVERT.value}, len(p.evaluated) - len(p.keeps)


figure("decisions.accept_rate", "1", "keeps / evaluated")(
    lambda p: Counted(len(p.keeps) / len(p.evaluated), len(p.evaluated))
)
record_of = figure.of(lambda p: p.trajectory)
record_of("decisions.wrong", "count", "recorded decisions that the rule contradicts")(
    lambda t: len(recount.wrong_decisions(t))
)
record_of("decisions.wrong_improvement", "count", "recorded fractions not recomputed")(
    lambda t: len(recount.wrong_improvements(t))
)
record_of("decisions.wrong_summary", "count", "summary fields not borne out")(
    lambda t: len(recount.wrong_summary(t))
)
record_of("parameters.wrong", "count", "recorded sizes that the formula contradicts")(
    lambda t: len(recount.wrong_parameter_counts(t))
)
figure("decisions.lower", "count", "iterations below the baseline's figure")(lambda p: p.lower)
figure("decisions.higher", "count", "iterations above the baseline's figure")(
    lambda p: sum(each.val_bpb > p.val_bpb for each in p.evaluated)
)
figure("decisions.below_threshold", "count", "lower than the baseline, reverted")(
    lambda p: p.lower - len(p.keeps)
)
figure("decisions.threshold", "bit/token", "highest figure that is kept")(
    lambda p: p.val_bpb * (1.0 - p.trajectory.header.accept_delta_frac)
)
best = figure.of(lambda p: At(p, recount.new_bests(p.evaluated)[-1]))
best("best.val_bpb", "bit/token", "lowest of all iterations", better=_LOWER)(
    lambda at: at.each.val_bpb
)
best("best.iteration", "1", "which iteration that was")(lambda at: at.each.iteration)
best("best.proposal", "text", "its knob=value")(lambda at: at.each.proposal.pair)
best("best.improvement", "%", "(baseline - best) / baseline")(lambda at: at.p.gain_pct(at.each))
worst = figure.of(lambda p: At(p, max(p.evaluated, key=lambda each: each.val_bpb)))
worst("worst.val_bpb", "bit/token", "highest of all iterations")(lambda at: at.each.val_bpb)
worst("worst.iteration", "1", "which iteration that was")(lambda at: at.each.iteration)
worst("worst.proposal", "text", "its knob=value")(lambda at: at.each.proposal.pair)
worst("worst.improvement", "%", "(baseline - worst) / baseline")(lambda at: at.p.gain_pct(at.each))

# --- what every iteration is compared with --------------------------------------------------------

figure("baseline.val_bpb", "bit/token", "held-out loss", better=_LOWER)(lambda p: p.val_bpb)
figure("baseline.val_loss", "nat", "the same, nats per token")(lambda p: p.val_bpb * math.log(2))
figure("baseline.perplexity", "1", "2 ** val_bpb")(lambda p: 2.0**p.val_bpb)
baseline = figure.of(lambda p: p.baseline.baseline_metrics)
baseline("baseline.train_loss_first", "nat", "loss of the first step")(
    lambda found: found.train_loss_first
)
baseline("baseline.train_loss_last", "nat", "loss of the last step")(
    lambda found: found.train_loss_last
)
baseline("baseline.step_time", "ms", "mean optimizer step", better=_LOWER)(
    lambda found: Counted(found.mean_step_ms, found.train_steps)
)
baseline("baseline.peak_memory", "GiB", "most that torch had allocated")(
    lambda found: found.peak_gpu_mem_gib
)


@figure("baseline.tokens_per_second", "token/s", "tokens of a step / its time")
def _(p: PublishedLoop) -> float:
    step_ms = p.baseline.baseline_metrics.mean_step_ms
    return recount.throughput_token_s(p.baseline.baseline_cfg, step_ms)


config = figure.of(lambda p: p.baseline.baseline_cfg)
config("baseline.parameters", "parameter", "from the formula")(
    lambda cfg: num_parameters(cfg.shape)
)
config("baseline.tokens", "token", "training tokens of one evaluation")(
    lambda cfg: recount.tokens_per_step(cfg) * cfg.steps
)
figure("baseline.drift", "%", "|smoke - production| / production")(
    lambda p: abs(improvement(p.val_bpb, p.smoke.header.baseline_val_bpb)) * _PERCENT
)

# --- every knob=value tried, and every knob of the search space -----------------------------------

value = figure.each(lambda p: ((tried.where, tried) for tried in p.tried), keys="knob, value")
value("value.trials", "count", "proposals")(lambda v: v.row.val_bpb.count)
value("value.accepted", "count", "kept")(lambda v: len(v.row.accepted))
value("value.val_bpb_min", "bit/token")(lambda v: v.row.val_bpb.min)
value("value.val_bpb_mean", "bit/token")(lambda v: Counted(v.row.val_bpb.mean, v.row.val_bpb.count))
value("value.val_bpb_max", "bit/token")(lambda v: v.row.val_bpb.max)


@value("value.val_bpb_std", "bit/token", "sample sd")
def _(tried: Tried) -> float:
    if tried.row.val_bpb.std is None:
        message = "a single trial"
        raise Absent(message)
    return tried.row.val_bpb.std


value("value.improvement_mean", "%")(lambda v: v.row.improvements.mean * _PERCENT)
value("value.first_losses", "count", "distinct first losses")(lambda v: v.row.first_losses)
value("value.parameters", "parameter", "formula")(
    lambda v: num_parameters(v.first.candidate_cfg.shape)
)
value("value.step_time", "ms", "mean optimizer step")(
    lambda v: Counted(v.row.mean_step_ms, v.row.val_bpb.count)
)
value("value.step_ratio", "x", "step / baseline's step")(
    lambda v: v.row.mean_step_ms / v.baseline_step_ms
)
value("value.peak_memory", "GiB", "most allocated")(lambda v: v.row.peak_gpu_mem_gib)
figure("knobs.touched", "count", "knobs proposed at least once")(lambda p: len(p.by_knob))
figure("knobs.total", "count", "knobs of the search space")(lambda _: len(KNOBS))
knob = figure.each(lambda p: (({"knob": name}, p.by_knob.get(name)) for name in KNOBS), keys="knob")
knob("knob.trials", "count", "proposals")(lambda row: len(row.iterations) if row else 0)
knob("knob.accepted", "count", "kept")(lambda row: len(row.accepted) if row else 0)
knob("knob.values", "count", "distinct values tried")(lambda row: row.distinct_values if row else 0)
touched = figure.each(
    lambda p: (({"knob": k}, p.by_knob[k]) for k in KNOBS if k in p.by_knob), keys="knob"
)
touched("knob.improvement_mean", "%")(lambda row: row.improvements.mean * _PERCENT)
touched("knob.improvement_best", "%")(lambda row: row.improvements.max * _PERCENT)
touched("knob.improvement_worst", "%")(lambda row: row.improvements.min * _PERCENT)

# --- how often the agent repeats a proposal -------------------------------------

figure("repeat.count", "count", "proposals of a pair proposed before")(lambda p: sum(p.repeated))
figure("repeat.rate", "1", "repeats / proposals")(
    lambda p: Counted(sum(p.repeated) / len(p.pairs), len(p.pairs))
)


@figure.rows("repeat.window_rate", "1", "in one window; where: first iteration")
def _(p: PublishedLoop) -> Iterator[Row]:
    window = p.params.window
    for first, rate in recount.window_rates(p.repeated, window):
        yield {"first": first}, Counted(rate, window)


figure("repeat.unique_pairs", "count", "distinct knob=value")(lambda p: len(set(p.pairs)))
figure("repeat.in_view", "count", "repeats that the prompt's history shows")(
    lambda p: recount.repeats_in_view(p.pairs, p.params.history_window)
)
figure("repeat.of_reverted", "count", "repeats of a pair reverted before")(
    lambda p: recount.repeats_of_reverted(p.trajectory)
)
figure("entropy.knob", "bit", "of the knobs proposed")(
    lambda p: recount.entropy_bits([pair.split("=")[0] for pair in p.pairs])
)
figure("entropy.pair", "bit", "of the knob=value proposed")(lambda p: recount.entropy_bits(p.pairs))

# --- how far repeated evaluations scatter, and which keeps that leaves standing -------------------


@figure("noise.same_position", "bit/token", "most that two processes' k-th runs differ")
def _(p: PublishedLoop) -> Value:
    same = noise.same_position_differences(p.trajectory, p.smoke)
    return Counted(max(same), len(same))


figure("noise.std", "bit/token", "within a configuration, pooled")(
    lambda p: Counted(p.noise.std, p.noise.degrees_of_freedom)
)
figure("noise.std_relative", "%", "noise.std / baseline")(
    lambda p: p.noise.std / p.val_bpb * _PERCENT
)
figure("noise.degrees_of_freedom", "count", "behind noise.std")(
    lambda p: p.noise.degrees_of_freedom
)
figure("noise.threshold", "x", "keep threshold / sd of one run")(
    lambda p: p.threshold / p.noise.std
)
figure("noise.threshold_difference", "x", "keep threshold / sd of a difference")(
    lambda p: p.threshold / (math.sqrt(2.0) * p.noise.std)
)
figure("noise.false_accept_risk", "1", "chance to keep a candidate without effect")(
    lambda p: noise.false_keep_risk(p.threshold, p.noise.std)
)
figure("noise.false_accepts", "1", "that chance times the evaluated candidates")(
    lambda p: noise.false_keep_risk(p.threshold, p.noise.std) * len(p.evaluated)
)
figure("noise.significant_accepted", "count", "keeps beyond the noise, each alone")(
    lambda p: len(noise.significant_keeps(p.trajectory, p.noise.std, p.params.alpha))
)
figure("noise.surviving_values", "count", "configurations better in the mean")(
    lambda p: len(p.survivors)
)
figure("noise.surviving_accepted", "count", "keeps of such a configuration")(
    lambda p: sum(each.candidate_cfg in p.survivors for each in p.keeps)
)


@figure.rows("value.z_score", "1", "mean gain / standard error; where: knob, value")
def _(p: PublishedLoop) -> Iterator[Row]:
    firsts = {each.candidate_cfg: each.proposal for each in reversed(p.evaluated)}
    for cfg, effect in p.effects.items():
        where = {"knob": firsts[cfg].knob, "value": firsts[cfg].new_value}
        yield where, Counted(effect.z_score, effect.draws)


# --- where the loop's time and memory went --------------------------------------------------------


@figure("time.loop", "s", "wall clock of the loop, as it recorded it")
def _(p: PublishedLoop) -> float:
    if p.trajectory.summary is None:
        message = "the loop did not finish"
        raise Absent(message)
    return p.trajectory.summary.loop_wall_s


figure("time.iterations", "s", "sum of the iterations")(
    lambda p: math.fsum(each.iter_wall_s for each in p.trajectory.iterations)
)
done = figure.of(lambda p: p.evaluated)
done.rows("time.iteration", "s", "one iteration; where: statistic")(
    lambda done: _statistics([each.iter_wall_s for each in done])
)
done.rows("time.proposer", "s", "one answer of the model; where: statistic")(
    lambda done: _statistics([each.nim_latency_s for each in done])
)
done.rows("time.training", "s", "one training; where: statistic")(
    lambda done: _statistics([each.eval_metrics.train_wall_s for each in done])
)
done.rows("time.validation", "s", "one validation; where: statistic")(
    lambda done: _statistics([each.eval_metrics.val_wall_s for each in done])
)
done.rows("time.overhead", "s", "rest of an iteration's time; where: statistic")(
    lambda done: _statistics([recount.overhead_s(each) for each in done])
)
done.rows("memory.peak", "GiB", "torch's peak allocation; where: statistic")(
    lambda done: _statistics([each.eval_metrics.peak_gpu_mem_gib for each in done])
)


@done("tokens_per_second.mean", "token/s", "mean of the iterations' throughputs")
def _(done: Sequence[Evaluated]) -> Value:
    rates = [
        recount.throughput_token_s(each.candidate_cfg, each.eval_metrics.mean_step_ms)
        for each in done
    ]
    return Counted(statistics.fmean(rates), len(rates))


figure("long.iteration", "min", "an iteration of long_steps, by proportion")(
    lambda p: p.long_s / 60.0
)
figure("long.loop", "h", "as many such iterations as were requested")(
    lambda p: p.long_s * len(p.trajectory.iterations) / 3600.0
)

# --- power, utilisation and temperature: the whole file, the p, the busy samples ---------------


def _parts(p: PublishedLoop) -> Iterator[tuple[Where, Sequence[PowerSample]]]:
    yield {"subset": "file"}, p.telemetry.file
    yield {"subset": "loop"}, p.telemetry.loop
    yield {"subset": "busy"}, p.telemetry.busy


part = figure.each(_parts, keys="subset")
watts = part.of(energy.powers_w)
part("power.samples", "count")(len)
watts("power.mean", "W", "GPU board")(lambda w: Counted(statistics.fmean(w), len(w)))
watts("power.median", "W", "GPU board")(lambda w: Counted(statistics.median(w), len(w)))
watts("power.p95", "W", "GPU board")(lambda w: Counted(energy.percentile(w, _P95), len(w)))
watts("power.peak", "W", "GPU board")(max)
part("utilisation.mean", "%", "GPU")(
    lambda samples: statistics.fmean(energy.utilisations_pct(samples))
)
part("utilisation.peak", "%", "GPU")(lambda samples: max(energy.utilisations_pct(samples)))
part("temperature.mean", "degC", "GPU")(
    lambda samples: statistics.fmean(energy.temperatures_c(samples))
)
part("temperature.peak", "degC", "GPU")(lambda samples: max(energy.temperatures_c(samples)))

# --- energy of the loop and of each iteration, and what the article sets beside it ----------------


@figure.rows("energy.gpu", "Wh", "trapezoid of the power; where: subset")
def _(p: PublishedLoop) -> Iterator[Row]:
    yield {"subset": "file"}, p.telemetry.file_wh
    yield {"subset": "loop"}, p.telemetry.loop_wh


@figure("energy.steady", "Wh", "loop's wall times its mean power")
def _(p: PublishedLoop) -> float:
    mean_w = statistics.fmean(energy.powers_w(p.telemetry.loop))
    return energy.steady_wh(mean_w, energy.duration_s(p.evaluated))


figure("energy.cost", "USD", "of the loop's energy")(
    lambda p: energy.cost_usd(p.telemetry.loop_wh, p.params.electricity_usd_per_kwh)
)
figure("energy.lamp", "Wh", "a lamp burning as long as the loop")(lambda p: p.lamp_wh)
figure("energy.lamp_ratio", "x", "lamp's energy / loop's")(
    lambda p: p.lamp_wh / p.telemetry.loop_wh
)


@figure("cloud.cost", "USD", "the iterations' time on a rented GPU")
def _(p: PublishedLoop) -> float:
    rented_h = math.fsum(each.iter_wall_s for each in p.evaluated) / 3600.0
    return rented_h * p.params.cloud_usd_per_hour


@iteration("iteration.power", "W", "mean GPU power in its window")
def _(at: At) -> Value:
    watts = at.p.watts(at.each)
    return Counted(statistics.fmean(watts), len(watts))


@iteration("iteration.energy", "Wh", "that power times its wall")
def _(at: At) -> Value:
    return Counted(at.p.energy_wh(at.each), len(at.p.watts(at.each)))


figure.rows("energy.per_iteration", "Wh", "where: statistic")(
    lambda p: _statistics([p.energy_wh(each) for each in p.evaluated])
)

# --------------------------------------------------------------------------------------------------


def run(context: Context) -> None:
    """Recompute the figures of the trajectory.

    Raises:
        InputError: no iteration of it was evaluated.
    """
    params: TrajectoryEvidenceParams = context.params
    path = context.evidence(params.trajectory)
    trajectory = read_trajectory(path)
    baseline = read_baseline(context.evidence(params.baseline))
    smoke = read_trajectory(context.evidence(params.smoke))
    if not trajectory.evaluated:
        raise InputError([Problem(message="no iteration was evaluated", path=path)])
    published = PublishedLoop(
        trajectory=trajectory,
        size_bytes=path.stat().st_size,
        baseline=baseline,
        smoke=smoke,
        telemetry=energy.read_telemetry(
            context.evidence(params.power),
            trajectory.evaluated,
            params.utc_offset_h,
            params.busy_pct,
        ),
        params=params,
    )
    context.emit.started("no device: published files")
    if trajectory.torn:
        text = f"the last record was cut off, and is not counted: {trajectory.torn[:80]!r}"
        context.emit.note(text)
    figure.report(context.emit, published)


TRAJECTORY_EVIDENCE = Workload(
    name="autoresearch.trajectory_evidence",
    doc="recompute the published trajectory of an agent p, its noise and its energy",
    params=TrajectoryEvidenceParams,
    metrics=figure.metrics,
    entry="harness.experiments.a22.evidence:run",
)

WORKLOADS = (TRAJECTORY_EVIDENCE,)
