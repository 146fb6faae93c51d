"""Workload ``autoresearch.trajectory_evidence``: the published loop, recounted.

Every figure of article 22 that its raw files can settle, whatever the article prints for it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import fields

from harness.errors import InputError, Problem
from harness.experiments.a22 import energy, noise, recount
from harness.experiments.a22.energy import Telemetry
from harness.experiments.a22.params import TrajectoryEvidenceParams
from harness.workloads.api.context import Context
from harness.workloads.api.emit import EventWriter
from harness.workloads.autoresearch.loop_state import improvement
from harness.workloads.autoresearch.trajectory import (
    BaselineEval,
    Decision,
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


def run(context: Context) -> None:
    """Recount the trajectory, and report each table in turn."""
    emit, params = context.emit, context.params
    path = context.evidence(params.trajectory)
    trajectory = read_trajectory(path)
    baseline = read_baseline(context.evidence(params.baseline))
    smoke = read_trajectory(context.evidence(params.smoke))
    if not trajectory.evaluated:
        raise InputError([Problem(message="no iteration was evaluated", path=path)])
    power_file = context.evidence(params.power)
    telemetry = energy.read_telemetry(
        power_file, trajectory.evaluated, params.utc_offset_h, params.busy_pct
    )

    emit.started("no device: published files")
    emit.measured("trajectory.size", path.stat().st_size)
    report_iterations(emit, trajectory)
    report_decisions(emit, trajectory)
    report_extremes(emit, trajectory)
    report_baseline(emit, trajectory, baseline, smoke)
    report_values(emit, trajectory, baseline)
    report_knobs(emit, trajectory)
    report_repetition(emit, trajectory, params)
    report_noise(emit, trajectory, smoke, params.level)
    report_time(emit, trajectory, params.long_steps)
    report_power(emit, telemetry)
    report_energy(emit, trajectory, telemetry, params)


def report_iterations(emit: EventWriter, trajectory: Trajectory) -> None:
    """Report how many records there are of each stage, and each evaluated iteration."""
    for stage in Stage:
        emit.measured("iterations.count", trajectory.count(stage), where={"stage": stage.value})
    if trajectory.summary is not None:
        emit.measured("iterations.requested", trajectory.summary.iters_requested)
    emit.measured("trajectory.torn_lines", int(bool(trajectory.torn)))
    if trajectory.torn:
        emit.note(f"the last record was cut off, and is not counted: {trajectory.torn[:80]!r}")

    header = trajectory.header
    keeps = recount.kept(trajectory)
    for each in trajectory.evaluated:
        where = {"iteration": each.iteration}
        gain = improvement(header.baseline_val_bpb, each.val_bpb)
        decision = Decision.KEEP if each in keeps else Decision.REVERT
        emit.measured("iteration.proposal", each.proposal.pair, where=where)
        emit.measured("iteration.decision", decision.value, where=where)
        emit.measured("iteration.val_bpb", each.val_bpb, where=where)
        emit.measured("iteration.improvement", gain * _PERCENT, where=where)
        emit.measured("iteration.wall", each.iter_wall_s, where=where)
    for ordinal, each in enumerate(keeps, 1):
        emit.measured("iteration.keep_ordinal", ordinal, where={"iteration": each.iteration})
    for each in recount.new_bests(trajectory.evaluated):
        emit.measured("iteration.best_so_far", each.val_bpb, where={"iteration": each.iteration})


def report_decisions(emit: EventWriter, trajectory: Trajectory) -> None:
    """Report what the rule keeps, and where the record contradicts it."""
    header, evaluated = trajectory.header, trajectory.evaluated
    baseline, keeps = header.baseline_val_bpb, recount.kept(trajectory)
    lower = sum(each.val_bpb < baseline for each in evaluated)
    reverts = len(evaluated) - len(keeps)
    emit.measured("decisions.count", len(keeps), where={"decision": Decision.KEEP.value})
    emit.measured("decisions.count", reverts, where={"decision": Decision.REVERT.value})
    emit.measured("decisions.accept_rate", len(keeps) / len(evaluated), count=len(evaluated))
    emit.measured("decisions.wrong", len(recount.wrong_decisions(trajectory)))
    emit.measured("decisions.wrong_improvement", len(recount.wrong_improvements(trajectory)))
    emit.measured("decisions.wrong_summary", len(recount.wrong_summary(trajectory)))
    emit.measured("decisions.lower", lower)
    emit.measured("decisions.higher", sum(each.val_bpb > baseline for each in evaluated))
    emit.measured("decisions.below_threshold", lower - len(keeps))
    emit.measured("decisions.threshold", baseline * (1.0 - header.accept_delta_frac))


def report_extremes(emit: EventWriter, trajectory: Trajectory) -> None:
    """Report the best and the worst iteration."""
    baseline = trajectory.header.baseline_val_bpb
    best = recount.new_bests(trajectory.evaluated)[-1]
    worst = max(trajectory.evaluated, key=lambda each: each.val_bpb)
    for name, each in (("best", best), ("worst", worst)):
        gain = improvement(baseline, each.val_bpb)
        emit.measured(f"{name}.val_bpb", each.val_bpb)
        emit.measured(f"{name}.iteration", each.iteration)
        emit.measured(f"{name}.proposal", each.proposal.pair)
        emit.measured(f"{name}.improvement", gain * _PERCENT)


def report_baseline(
    emit: EventWriter, trajectory: Trajectory, baseline: BaselineEval, smoke: Trajectory
) -> None:
    """Report what every iteration is compared with."""
    header, cfg, measured = trajectory.header, baseline.baseline_cfg, baseline.baseline_metrics
    drift = improvement(header.baseline_val_bpb, smoke.header.baseline_val_bpb)
    emit.measured("baseline.val_bpb", header.baseline_val_bpb)
    emit.measured("baseline.val_loss", header.baseline_val_bpb * math.log(2))
    emit.measured("baseline.perplexity", 2.0**header.baseline_val_bpb)
    emit.measured("baseline.train_loss_first", measured.train_loss_first)
    emit.measured("baseline.train_loss_last", measured.train_loss_last)
    emit.measured("baseline.step_time", measured.mean_step_ms, count=measured.train_steps)
    emit.measured("baseline.throughput", recount.throughput_token_s(cfg, measured.mean_step_ms))
    emit.measured("baseline.peak_memory", measured.peak_gpu_mem_gib)
    emit.measured("baseline.parameters", num_parameters(cfg.shape))
    emit.measured("baseline.tokens", recount.tokens_per_step(cfg) * cfg.steps)
    emit.measured("baseline.drift", abs(drift) * _PERCENT)
    emit.measured("parameters.wrong", len(recount.wrong_parameter_counts(trajectory)))


def report_values(emit: EventWriter, trajectory: Trajectory, baseline: BaselineEval) -> None:
    """Report the table of every knob=value tried."""
    firsts = {each.proposal.pair: each for each in reversed(trajectory.evaluated)}
    for pair, row in recount.by_value(trajectory).items():
        first, figures = firsts[pair], row.val_bpb
        where = {"knob": first.proposal.knob, "value": first.proposal.new_value}
        step_ratio = row.mean_step_ms / baseline.baseline_metrics.mean_step_ms
        parameters = num_parameters(first.candidate_cfg.shape)
        absent = "a single trial" if figures.sd is None else ""
        emit.measured("value.trials", figures.count, where=where)
        emit.measured("value.keeps", len(row.keeps), where=where)
        emit.measured("value.val_bpb_lowest", figures.lowest, where=where)
        emit.measured("value.val_bpb_mean", figures.mean, where=where, count=figures.count)
        emit.measured("value.val_bpb_highest", figures.highest, where=where)
        emit.measured("value.val_bpb_sd", figures.sd, where=where, absent=absent)
        emit.measured("value.improvement_mean", row.improvements.mean * _PERCENT, where=where)
        emit.measured("value.first_losses", row.first_losses, where=where)
        emit.measured("value.parameters", parameters, where=where)
        emit.measured("value.step_time", row.mean_step_ms, where=where, count=figures.count)
        emit.measured("value.step_ratio", step_ratio, where=where)
        emit.measured("value.peak_memory", row.peak_gpu_mem_gib, where=where)


def report_knobs(emit: EventWriter, trajectory: Trajectory) -> None:
    """Report every knob of the search space, the untouched ones too."""
    rows = recount.by_knob(trajectory)
    emit.measured("knobs.touched", len(rows))
    emit.measured("knobs.total", len(KNOBS))
    for knob in KNOBS:
        where, row = {"knob": knob}, rows.get(knob)
        emit.measured("knob.trials", len(row.iterations) if row else 0, where=where)
        emit.measured("knob.keeps", len(row.keeps) if row else 0, where=where)
        emit.measured("knob.values", row.distinct_values if row else 0, where=where)
        if row:
            gains = row.improvements
            emit.measured("knob.improvement_mean", gains.mean * _PERCENT, where=where)
            emit.measured("knob.improvement_best", gains.highest * _PERCENT, where=where)
            emit.measured("knob.improvement_worst", gains.lowest * _PERCENT, where=where)


def report_repetition(
    emit: EventWriter, trajectory: Trajectory, params: TrajectoryEvidenceParams
) -> None:
    """Report how often the agent proposes what it has proposed before."""
    pairs = recount.proposed_pairs(trajectory)
    repeated = recount.repeats(pairs)
    emit.measured("repeat.count", sum(repeated))
    emit.measured("repeat.rate", sum(repeated) / len(pairs), count=len(pairs))
    for first, rate in recount.window_rates(repeated, params.window):
        emit.measured("repeat.window_rate", rate, where={"first": first}, count=params.window)
    emit.measured("repeat.unique_pairs", len(set(pairs)))
    emit.measured("repeat.in_view", recount.repeats_in_view(pairs, params.history))
    emit.measured("repeat.of_reverted", recount.repeats_of_reverted(trajectory))
    emit.measured("entropy.knob", recount.entropy_bits([pair.split("=")[0] for pair in pairs]))
    emit.measured("entropy.pair", recount.entropy_bits(pairs))


def report_noise(
    emit: EventWriter, trajectory: Trajectory, smoke: Trajectory, level: float
) -> None:
    """Report how far repeated evaluations scatter, and which keeps that leaves standing."""
    same = noise.same_position_differences(trajectory, smoke)
    emit.measured("noise.same_position", max(same), count=len(same))
    pooled = noise.pooled_sd(noise.draws(trajectory).values())
    if pooled is None:
        emit.measured("noise.sd", None, absent="no configuration was evaluated twice")
        return
    header, keeps = trajectory.header, recount.kept(trajectory)
    threshold = header.accept_delta_frac * header.baseline_val_bpb
    risk = noise.false_keep_risk(threshold, pooled.sd)
    effects = noise.effects(trajectory, pooled.sd)
    survivors = noise.surviving(effects, level)
    emit.measured("noise.sd", pooled.sd, count=pooled.degrees_of_freedom)
    emit.measured("noise.sd_relative", pooled.sd / header.baseline_val_bpb * _PERCENT)
    emit.measured("noise.degrees_of_freedom", pooled.degrees_of_freedom)
    emit.measured("noise.threshold", threshold / pooled.sd)
    emit.measured("noise.threshold_difference", threshold / (math.sqrt(2.0) * pooled.sd))
    emit.measured("noise.false_keep_risk", risk)
    emit.measured("noise.false_keeps", risk * len(trajectory.evaluated))
    significant = noise.significant_keeps(trajectory, pooled.sd, level)
    emit.measured("noise.significant_keeps", len(significant))
    emit.measured("noise.surviving_values", len(survivors))
    emit.measured("noise.surviving_keeps", sum(each.candidate_cfg in survivors for each in keeps))
    firsts = {each.candidate_cfg: each.proposal for each in reversed(trajectory.evaluated)}
    for cfg, effect in effects.items():
        where = {"knob": firsts[cfg].knob, "value": firsts[cfg].new_value}
        emit.measured("value.z_score", effect.z_score, where=where, count=effect.draws)


def report_time(emit: EventWriter, trajectory: Trajectory, long_steps: int) -> None:
    """Report where the loop's time and memory went."""
    evaluated, summary = trajectory.evaluated, trajectory.summary
    training = [each.eval_metrics.train_wall_s for each in evaluated]
    validation = [each.eval_metrics.val_wall_s for each in evaluated]
    memory = [each.eval_metrics.peak_gpu_mem_gib for each in evaluated]
    wall_s = [each.iter_wall_s for each in evaluated]
    if summary is None:
        emit.measured("time.loop", None, absent="the loop did not come to its end")
    else:
        emit.measured("time.loop", summary.loop_wall_s)
    emit.measured("time.iterations", math.fsum(each.iter_wall_s for each in trajectory.iterations))
    report_statistics(emit, "time.iteration", wall_s)
    report_statistics(emit, "time.proposer", [each.nim_latency_s for each in evaluated])
    report_statistics(emit, "time.training", training)
    report_statistics(emit, "time.validation", validation)
    report_statistics(emit, "time.overhead", [recount.overhead_s(each) for each in evaluated])
    report_statistics(emit, "memory.peak", memory)
    rates = [
        recount.throughput_token_s(each.candidate_cfg, each.eval_metrics.mean_step_ms)
        for each in evaluated
    ]
    emit.measured("throughput.mean", statistics.fmean(rates), count=len(rates))
    long_s = statistics.fmean(training) * long_steps / trajectory.header.baseline_cfg.steps
    emit.measured("long.iteration", long_s / 60.0)
    emit.measured("long.loop", long_s * len(trajectory.iterations) / 3600.0)


def report_statistics(emit: EventWriter, metric: str, values: Sequence[float]) -> None:
    """Report mean, median, lowest and highest of a metric over the iterations."""
    figures = recount.spread(values)
    shown = {
        "mean": figures.mean,
        "median": statistics.median(values),
        "lowest": figures.lowest,
        "highest": figures.highest,
    }
    for statistic, value in shown.items():
        emit.measured(metric, value, where={"statistic": statistic}, count=figures.count)


def report_power(emit: EventWriter, telemetry: Telemetry) -> None:
    """Report power, utilisation and temperature: the whole file, the loop, the busy samples."""
    parts = {"file": telemetry.file, "loop": telemetry.loop, "busy": telemetry.busy}
    for part, samples in parts.items():
        where, watts = {"part": part}, energy.powers_w(samples)
        emit.measured("power.samples", len(samples), where=where)
        emit.measured("power.mean", statistics.fmean(watts), where=where, count=len(watts))
        emit.measured("power.median", statistics.median(watts), where=where, count=len(watts))
        emit.measured("power.p95", energy.percentile(watts, _P95), where=where, count=len(watts))
        emit.measured("power.peak", max(watts), where=where)
        utilisation = energy.utilisations_pct(samples)
        temperature = energy.temperatures_c(samples)
        emit.measured("utilisation.mean", statistics.fmean(utilisation), where=where)
        emit.measured("utilisation.peak", max(utilisation), where=where)
        emit.measured("temperature.mean", statistics.fmean(temperature), where=where)
        emit.measured("temperature.peak", max(temperature), where=where)


def report_energy(
    emit: EventWriter,
    trajectory: Trajectory,
    telemetry: Telemetry,
    params: TrajectoryEvidenceParams,
) -> None:
    """Report the energy of the loop and of each iteration, and what the article sets beside it."""
    evaluated = trajectory.evaluated
    loop_s, mean_w = energy.duration_s(evaluated), statistics.fmean(energy.powers_w(telemetry.loop))
    lamp_wh = energy.steady_wh(params.lamp_w, loop_s)
    rented_h = math.fsum(each.iter_wall_s for each in evaluated) / 3600.0
    emit.measured("energy.gpu", telemetry.file_wh, where={"part": "file"})
    emit.measured("energy.gpu", telemetry.loop_wh, where={"part": "loop"})
    emit.measured("energy.steady", energy.steady_wh(mean_w, loop_s))
    emit.measured("energy.cost", energy.cost_usd(telemetry.loop_wh, params.usd_per_kwh))
    emit.measured("energy.lamp", lamp_wh)
    emit.measured("energy.lamp_ratio", lamp_wh / telemetry.loop_wh)
    emit.measured("cloud.cost", rented_h * params.cloud_usd_per_h)

    energies_wh: list[float] = []
    for each in evaluated:
        where = {"iteration": each.iteration}
        watts = energy.powers_w(energy.during(telemetry.loop, [each], params.utc_offset_h))
        power_w = statistics.fmean(watts)
        energies_wh.append(energy.steady_wh(power_w, each.iter_wall_s))
        emit.measured("iteration.power", power_w, where=where, count=len(watts))
        emit.measured("iteration.energy", energies_wh[-1], where=where, count=len(watts))
    report_statistics(emit, "energy.per_iteration", energies_wh)
