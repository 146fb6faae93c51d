"""What article 19 reckons from its sweep: budgets of tokens, days and energy; other machines."""

from __future__ import annotations

from collections.abc import Iterator

from harness.experiments.a19.params import EnvelopeEvidenceParams
from harness.experiments.a19.published import (
    Figure,
    PublishedArm,
    PublishedSweep,
    figures,
    percent_above,
)
from harness.workloads.models.shape import ModelShape, num_parameters

_SECONDS_PER_DAY = 86400.0
_FIVE_MINUTES_S = 300.0
_NUM_RUNS = 100
_TERA = 1e12
_GIGA = 1e9
_KILO = 1e3
_FLOPS_PER_PARAMETER = (
    6  # forward 2, backward 4 (Kaplan et al. 2020, arXiv 2001.08361, section 2.1)
)

# Memory bandwidth, GB/s, as NVIDIA's data sheets state it: DGX Spark, H100 SXM, H200 SXM, B200
_SPARK_GB_PER_S = 273.0
_CLOUD_GB_PER_S = {"H100": 3350.0, "H200": 4800.0, "B200": 8000.0}


def drift_figures(sweep: PublishedSweep, nemo: PublishedArm) -> Iterator[Figure]:
    """Yield how the shape that article 18 measured too came out, and which one in the sweep it was.

    The article compares with a run whose figures were not published; this compares with the file.
    """
    position, same = next(
        (position, cell)
        for position, cell in enumerate(sweep.results, 1)
        if (cell.batch_size, cell.seq_len) == (nemo.batch_size, nemo.seq_len)
    )
    yield from figures(
        {
            "drift.throughput": percent_above(same.tokens_per_s, nemo.tokens_per_s),
            "drift.step_time": percent_above(same.mean_step_ms, nemo.mean_step_ms),
            "drift.memory": same.peak_gpu_mem_gib - nemo.peak_gpu_mem_gib,
            "drift.position": position,
        }
    )


def budget_figures(
    sweep: PublishedSweep, vanilla: PublishedArm, params: EnvelopeEvidenceParams
) -> Iterator[Figure]:
    """Yield what the fastest configuration would do in a while, and what that would draw."""
    best = sweep.fastest
    shape = sweep.model.shape(best.seq_len)
    night_wh = params.mean_power_w * params.night_h
    day_kwh = params.mean_power_w * 24 / _KILO
    yield from figures(
        {
            "budget.run_tokens": best.tokens_per_s * _FIVE_MINUTES_S,
            "budget.campaign_tokens": best.tokens_per_s * _FIVE_MINUTES_S * _NUM_RUNS,
            "budget.chinchilla_tokens": chinchilla_tokens(shape) / _GIGA,
            "budget.chinchilla_days": chinchilla_tokens(shape)
            / (best.tokens_per_s * _SECONDS_PER_DAY),
            "budget.night_energy": night_wh,
            "budget.day_energy": day_kwh,
            "budget.electricity_rate": params.usd_per_day / day_kwh,
        }
    )
    for arm, rate in (("vanilla", vanilla.tokens_per_s), ("best", best.tokens_per_s)):
        value = work_rate_flops(shape, rate) / _TERA
        yield Figure(metric="work_rate", value=value, where={"arm": arm})
    for gpu, bandwidth in _CLOUD_GB_PER_S.items():
        ratio = bandwidth / _SPARK_GB_PER_S
        yield Figure(metric="cloud.bandwidth_ratio", value=ratio, where={"gpu": gpu})


def chinchilla_tokens(shape: ModelShape) -> float:
    """Return the compute-optimal number of tokens, 20 a parameter.

    Hoffmann et al. 2022, arXiv 2203.15556, table 3, as a rule of thumb.
    """
    return 20.0 * num_parameters(shape)


def work_rate_flops(shape: ModelShape, tokens_per_s: float) -> float:
    """Return the useful work a second, ``6 N`` a token, without the attention's scores, FLOP/s."""
    return _FLOPS_PER_PARAMETER * num_parameters(shape) * tokens_per_s
