"""Article 18's figures, recomputed from the raw files it published."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise

from harness.experiments.a18.params import FrameworksEvidenceParams
from harness.experiments.a19.published import (
    Figure,
    PublishedArm,
    figures,
    percent_above,
    read,
    read_snapshot,
)
from harness.workloads.api.context import Context
from harness.workloads.models.conditions import ARMS, Conditions, Framework
from harness.workloads.models.memory import parameter_bytes
from harness.workloads.models.peak_memory import (
    peak_bytes,
    published_peak_bytes,
)
from harness.workloads.models.shape import Precision, initial_loss_nats, num_parameters
from harness.workloads.training.pretrain_params import ArmParams
from harness.workloads.training.schedule import warmup_cosine

Arms = dict[str, PublishedArm]

_BYTES_PER_GIB = 1024.0**3
_MS_PER_S = 1e3
_SECONDS_PER_HOUR = 3600.0
_SECONDS_PER_MINUTE = 60.0
_GIGA = 1e9
_PRINTED_STEPS = (10, 50, 99)  # the article's trace

# from the one published arm to the other, a condition at a time
_LADDER = ("vanilla", "vanilla-init", "vanilla-bf16", "vanilla-dropout", "nemo")
_CHANGES = ("init", "precision", "dropout", "framework")


def run(context: Context) -> None:
    """Recompute every figure; the device named is the one they were measured on."""
    params: FrameworksEvidenceParams = context.params
    arms = {
        "vanilla": read(PublishedArm, context.evidence(params.vanilla)),
        "nemo": read(PublishedArm, context.evidence(params.nemo)),
    }
    snapshot = read_snapshot(context.evidence(params.snapshot))
    context.emit.started(arms["nemo"].cuda_device, source="published files")
    for figure in [
        *arm_figures(arms),
        *gain_figures(arms),
        *condition_figures(arms),
        *memory_figures(arms),
        *traffic_figures(params),
        *schedule_figures(arms["nemo"]),
        *budget_figures(arms, params),
        *figures(
            {
                "snapshot.power": snapshot.power_w,
                "snapshot.utilisation": snapshot.utilisation_pct,
                "snapshot.temperature": snapshot.temperature_c,
                "snapshot.memory": snapshot.memory_used,
            }
        ),
    ]:
        context.emit.measured(figure.metric, figure.value, where=figure.where)


def arm_figures(arms: Arms) -> Iterator[Figure]:
    """Yield what was recorded of each arm, and what its shape says beside it."""
    for name, arm in arms.items():
        step = _article(name)
        recomputed = step.tokens_per_step / arm.mean_step_ms * _MS_PER_S
        yield from figures(
            {
                "step_time.mean": arm.mean_step_ms,
                "throughput": arm.tokens_per_s,
                "throughput.deviation": percent_above(recomputed, arm.tokens_per_s),
                "loss.first": arm.loss_first,
                "loss.last": arm.loss_last,
                "loss.fall": arm.loss_first - arm.loss_last,
                "loss.initial": initial_loss_nats(step.shape, step.conditions.init),
                "memory.peak_allocated": arm.peak_gpu_mem_gib,
                "memory.peak_reserved": arm.peak_gpu_reserved_gib,
                "parameters": num_parameters(step.shape),
                "whole_run.time": arm.steps * arm.mean_step_ms / _MS_PER_S,
            },
            {"arm": name},
        )


def gain_figures(arms: Arms) -> Iterator[Figure]:
    """Yield what the published arms differ by."""
    vanilla, nemo = arms["vanilla"], arms["nemo"]
    memory, reserved = nemo.peak_gpu_mem_gib, nemo.peak_gpu_reserved_gib
    yield from figures(
        {
            "gain.throughput": percent_above(nemo.tokens_per_s, vanilla.tokens_per_s),
            "gain.step_time": percent_above(nemo.mean_step_ms, vanilla.mean_step_ms),
            "gain.step_saved": vanilla.mean_step_ms - nemo.mean_step_ms,
            "gain.memory_allocated": percent_above(memory, vanilla.peak_gpu_mem_gib),
            "gain.memory_reserved": percent_above(reserved, vanilla.peak_gpu_reserved_gib),
            "gain.memory_saved": vanilla.peak_gpu_mem_gib - memory,
        }
    )
    yield from figures({"loss.ratio": vanilla.loss_first / nemo.loss_first}, {"at": "first"})
    yield from figures({"loss.ratio": vanilla.loss_last / nemo.loss_last}, {"at": "last"})


def condition_figures(arms: Arms) -> Iterator[Figure]:
    """Yield how far the published arms are from differing in the framework alone."""
    one, other = ARMS["vanilla"], ARMS["nemo"]
    names = [each.name for each in fields(Conditions) if each.name != "framework"]
    yield from figures(
        {
            "conditions.differing": sum(getattr(one, n) != getattr(other, n) for n in names),
            "conditions.same_torch": arms["vanilla"].torch_version == arms["nemo"].torch_version,
        }
    )


def memory_figures(arms: Arms) -> Iterator[Figure]:
    """Yield what every arm should hold, also those that were never run, and what makes it so."""
    law_gib = {name: analytic_peak_bytes(_article(name)) / _BYTES_PER_GIB for name in ARMS}
    for name, value in law_gib.items():
        yield from figures({"memory.law": value}, {"arm": name})
    for name, arm in arms.items():
        deviation = percent_above(law_gib[name], arm.peak_gpu_mem_gib)
        yield from figures({"memory.law_deviation": deviation}, {"arm": name})
    for change, (before, after) in zip(_CHANGES, pairwise(_LADDER), strict=True):
        percent = 100 * (law_gib[after] - law_gib[before]) / law_gib["vanilla"]
        yield from figures({"memory.law_change": percent}, {"condition": change})


def analytic_peak_bytes(step: ArmParams) -> float:
    """Return the peak of an arm on a GPU, bytes, by the law of its framework."""
    conditions = step.conditions
    law = published_peak_bytes if conditions.framework is Framework.MEGATRON else peak_bytes
    dropout = conditions.dropout > 0
    return law(step.shape, step.tokens_per_step, conditions.precision, dropout=dropout)


def traffic_figures(params: FrameworksEvidenceParams) -> Iterator[Figure]:
    """Yield the least time that each arm's parameters and optimizer state cost a step.

    Memory cannot move them faster than at its bandwidth, and nothing else runs meanwhile.
    """
    least_ms = {}
    for name in ("vanilla", "nemo"):
        step = _article(name)
        per_parameter = state_traffic_bytes(step.conditions.precision)
        total = per_parameter * num_parameters(step.shape)
        least_ms[name] = total / (params.bandwidth_gb_s * _GIGA) * _MS_PER_S
        traffic = {"traffic.state": per_parameter, "traffic.least_time": least_ms[name]}
        yield from figures(traffic, {"arm": name})
    yield from figures({"traffic.least_saved": least_ms["vanilla"] - least_ms["nemo"]})


def state_traffic_bytes(precision: Precision) -> int:
    """Return the bytes that a step reads and writes a parameter, beside the matrix products.

    The norm of the gradients reads them, clipping reads and writes them; Adam reads weight,
    gradient and both moments and writes all but the gradient: ten passes. Under autocast each
    weight is cast to two bytes (read 4, write 2), and its gradient back (read 2, write 4); the
    position table and the norms, 0.3 % of the parameters, are counted as if they were too.
    """
    casts = 12 if precision is Precision.MIXED else 0
    return 10 * parameter_bytes(precision) + casts


def schedule_figures(arm: PublishedArm) -> Iterator[Figure]:
    """Yield the learning rate at the steps that the article prints."""
    peak = _article("nemo").learning_rate
    schedule = warmup_cosine(peak, arm.warmup_steps_excluded_from_mean, arm.steps)
    for step in _PRINTED_STEPS:
        yield from figures({"learning_rate": schedule.lr_at(step)}, {"step": step})


def budget_figures(arms: Arms, params: FrameworksEvidenceParams) -> Iterator[Figure]:
    """Yield what the article reckons from its rates: a long run, a night, a year."""
    long_s = {n: params.long_steps * arm.mean_step_ms / _MS_PER_S for n, arm in arms.items()}
    night = {n: arm.tokens_per_s * params.night_h * _SECONDS_PER_HOUR for n, arm in arms.items()}
    for name in arms:
        values = {"long_run.time": long_s[name] / _SECONDS_PER_HOUR, "night.tokens": night[name]}
        yield from figures(values, {"arm": name})
    gain = night["nemo"] - night["vanilla"]
    yield from figures(
        {
            "long_run.saved": (long_s["vanilla"] - long_s["nemo"]) / _SECONDS_PER_MINUTE,
            "night.gain": gain,
            "year.gain": gain * params.nights / _GIGA,
        }
    )


def _article(arm: str) -> ArmParams:
    return ArmParams(arm=arm)
