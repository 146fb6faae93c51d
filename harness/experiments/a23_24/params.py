"""The inputs of the two calculators.

Inputs carry the articles' names and defaults; what article 24 leaves out (a filter that is not
perfect, a faster rented GPU, a machine that idles) has a neutral default, so that it changes
nothing until it is set.
"""

from __future__ import annotations

from typing import Any

from harness.records import record
from harness.workloads.api import rates
from harness.workloads.api.declare import param


def _rated(rate: rates.Rate, doc: str) -> Any:
    return param(rate.value, doc=f"{doc} ({rate.source}, {rate.date})", unit=rate.unit, low=1e-9)


@record
class CampaignParams:
    """Inputs of article 24's recipe campaign."""

    h100_usd_per_hour: float = _rated(rates.H100_RENTAL, "rent of one H100")
    h200_usd_per_hour: float = _rated(rates.H200_RENTAL, "rent of one H200")
    spark_kw: float = _rated(rates.SPARK_POWER, "power of the Spark while it works")
    electricity_usd_per_kwh: float = _rated(rates.ELECTRICITY, "price of electricity")
    spark_capex_usd: float = _rated(rates.SPARK_PRICE, "price of the Spark")
    spark_life_years: float = param(1.5, doc="years of depreciation", unit="year", low=0.01)
    iter_seconds: int = param(88, doc="time of one short trial, article 22's mean", unit="s", low=1)
    campaign_iters: int = param(100, doc="short trials in a campaign", unit="count", low=1)
    final_node_hours: int = param(168, doc="node hours of the final run", unit="h", low=1)
    gpus_per_node: int = param(8, doc="GPUs in a rented node", unit="count", low=1)
    target_scale: float = param(60.0, doc="target cost over proxy cost", unit="x", low=1)
    wrong_pick_rate: float = param(
        0.5, doc="share of wrong recipes without a search", unit="1", low=0, high=1
    )
    residual_wrong_pick_rate: float = param(
        0.0, doc="share of wrong recipes after the search (article 24: 0)", unit="1", low=0, high=1
    )
    cloud_speedup: float = param(
        1.0, doc="speed of a rented GPU over a Spark on the proxy", unit="x", low=0.01
    )
    duty_cycle: float = param(1.0, doc="share of its life in use", unit="1", low=0.001, high=1)
    campaigns_per_year: int = param(4, doc="campaigns a year, for payback", unit="count", low=1)
    iter_steps: int = param(60, doc="training steps in a short trial", unit="step", low=1)
    step_s: float = _rated(rates.SPARK_STEP, "one training step on the Spark")
    phase2_candidates: int = param(3, doc="recipes in phase 2", unit="count", low=1)
    phase2_steps: int = param(1000, doc="steps for each of them", unit="step", low=1)
    phase2_printed_h: float = param(22.0, doc="wall time as printed", unit="h", low=0)
    target_parameters: float = param(7e9, doc="size of the target", unit="parameter", low=1)
    target_tokens: float = param(140e9, doc="its training tokens", unit="token", low=1)
    proxy_parameters: tuple[float, ...] = param(
        (200e6, 354.6e6), doc="size of the proxy: as printed, article 22's", unit="parameter", low=1
    )
    mfu: tuple[float, ...] = param(
        (0.35, 0.40, 0.50), doc="shares of peak in training", unit="1", low=0.01, high=1
    )
    pod_gpus: int = param(1024, doc="GPUs of the 70B example", unit="count", low=1)
    pod_hours: float = param(504.0, doc="its hours", unit="h", low=0)


@record
class TrainingTiersParams:
    """Inputs of article 23's four meanings of "train"."""

    power_w: float = _rated(rates.SPARK_GPU_POWER, "power of the Spark's GPU")
    electricity_usd_per_kwh: float = _rated(rates.HOME_ELECTRICITY, "price of electricity")
    run_min: float = param(73.0, doc="wall time of article 22's run", unit="min", low=0.01)
    parameters: float = param(354.6e6, doc="size of the model", unit="parameter", low=1)
    tokens_per_parameter: float = param(20.0, doc="Chinchilla's ratio", unit="1", low=0.1)
    printed_tokens: float = param(7e9, doc="its training tokens as printed", unit="token", low=1)
    batch_size: int = param(16, doc="sequences in a step", unit="count", low=1)
    seq_len: int = param(1024, doc="tokens in a sequence", unit="token", low=1)
    iter_steps: int = param(60, doc="training steps in a short trial", unit="step", low=1)
    step_s: float = _rated(rates.SPARK_STEP, "one training step on the Spark")
    bits_per_token: tuple[float, ...] = param(
        (10.85, 10.8534, 10.9554, 4.0), doc="validation losses", unit="bit/token", low=0, high=64
    )
    chars_per_token: float = param(
        4.66, doc="characters per token of article 20's corpus", unit="1", low=0.1
    )
    tier_costs_usd: tuple[float, ...] = param(
        (0.01, 0.30, 5.0, 50.0),
        doc="printed cost: LoRA, full, continued, from scratch",
        unit="USD",
        low=0,
    )
    lora_min: float = param(5.0, doc="time of path 1 (LoRA) on the Spark", unit="min", low=0)
    fine_tune_hours: float = param(3.0, doc="time of path 2, upper value", unit="h", low=0)
    scratch_days: float = param(6.0, doc="time of path 3", unit="d", low=0)
    large_tokens_per_s: float = param(10_000.0, doc="rate at 1B", unit="token/s", low=1)
    cloud_usd_per_hour: float = _rated(rates.CLOUD_RENTAL, "rent of a cloud GPU")
    h100_speedup: float = param(5.0, doc="H100 over Spark as printed", unit="x", low=0.01)
    h100_min: float = param(12.0, doc="the run on an H100 as printed", unit="min", low=0)
    h100_power_w: float = _rated(rates.H100_POWER, "power of an H100")
    h100_capex_usd: float = _rated(rates.H100_PRICE, "price of an H100")
    spark_capex_usd: float = _rated(rates.SPARK_STREET_PRICE, "price of the Spark")
    num_gpus: int = param(8, doc="GPUs in an H100 node", unit="count", low=1)
    mfu: float = param(0.4, doc="share of peak in training", unit="1", low=0.01, high=1)
