"""The inputs and figures of the two calculators.

Inputs carry the articles' names and defaults; what article 24 leaves out (a filter that is not
perfect, a faster rented GPU, a machine that idles) has a neutral default, so that it changes
nothing until it is set.
"""

from __future__ import annotations

from typing import Any

from harness.records import record
from harness.workloads.api import rates
from harness.workloads.api.declare import Better, Metric, Workload, param


def _rated(rate: rates.Rate, doc: str) -> Any:
    return param(rate.value, doc=f"{doc} ({rate.source}, {rate.date})", unit=rate.unit, low=1e-9)


@record
class CampaignParams:
    """Inputs of article 24's recipe campaign."""

    h100_hourly_usd: float = _rated(rates.H100_RENTAL, "rent of one H100")
    h200_hourly_usd: float = _rated(rates.H200_RENTAL, "rent of one H200")
    spark_kw: float = _rated(rates.SPARK_POWER, "power of the Spark while it works")
    kwh_usd: float = _rated(rates.ELECTRICITY, "price of electricity")
    spark_capex_usd: float = _rated(rates.SPARK_PRICE, "price of the Spark")
    spark_life_years: float = param(1.5, doc="years it is written off over", unit="year", low=0.01)
    iter_seconds: int = param(88, doc="one taste test, article 22's mean", unit="s", low=1)
    campaign_iters: int = param(100, doc="taste tests in a campaign", unit="count", low=1)
    final_node_hours: int = param(168, doc="node hours of the final run", unit="h", low=1)
    gpus_per_node: int = param(8, doc="GPUs in a rented node", unit="count", low=1)
    target_scale: float = param(60.0, doc="target cost over proxy cost", unit="x", low=1)
    wrong_pick_rate: float = param(0.5, doc="wrong recipes, booked blind", unit="1", low=0, high=1)
    residual_wrong_pick_rate: float = param(
        0.0, doc="wrong recipes after the search (article 24 takes 0)", unit="1", low=0, high=1
    )
    cloud_speedup: float = param(1.0, doc="rented GPU over Spark on the proxy", unit="x", low=0.01)
    duty_cycle: float = param(1.0, doc="share of its life in use", unit="1", low=0.001, high=1)
    campaigns_per_year: int = param(4, doc="campaigns a year, for payback", unit="count", low=1)
    iter_steps: int = param(60, doc="training steps in a taste test", unit="step", low=1)
    step_s: float = _rated(rates.SPARK_STEP, "one training step on the Spark")
    phase2_candidates: int = param(3, doc="recipes in phase 2", unit="count", low=1)
    phase2_steps: int = param(1000, doc="steps for each of them", unit="step", low=1)
    phase2_printed_h: float = param(22.0, doc="wall time as printed", unit="h", low=0)
    target_parameters: float = param(7e9, doc="size of the target", unit="parameter", low=1)
    target_tokens: float = param(140e9, doc="its training tokens", unit="token", low=1)
    proxy_parameters: tuple[float, ...] = param(
        (200e6, 354.6e6), doc="size of the proxy: as printed, article 22's", unit="parameter", low=1
    )
    utilisations: tuple[float, ...] = param(
        (0.35, 0.40, 0.50), doc="shares of peak in training", unit="1", low=0.01, high=1
    )
    pod_gpus: int = param(1024, doc="GPUs of the 70B example", unit="count", low=1)
    pod_hours: float = param(504.0, doc="its hours", unit="h", low=0)


@record
class TrainingTiersParams:
    """Inputs of article 23's four meanings of "train"."""

    power_w: float = _rated(rates.SPARK_GPU_POWER, "power of the Spark's GPU")
    kwh_usd: float = _rated(rates.HOME_ELECTRICITY, "price of electricity")
    run_min: float = param(73.0, doc="wall time of article 22's run", unit="min", low=0.01)
    parameters: float = param(354.6e6, doc="size of the model", unit="parameter", low=1)
    tokens_per_parameter: float = param(20.0, doc="Chinchilla's ratio", unit="1", low=0.1)
    printed_tokens: float = param(7e9, doc="its training tokens as printed", unit="token", low=1)
    batch_size: int = param(16, doc="sequences in a step", unit="count", low=1)
    seq_len: int = param(1024, doc="tokens in a sequence", unit="token", low=1)
    iter_steps: int = param(60, doc="training steps in a taste test", unit="step", low=1)
    step_s: float = _rated(rates.SPARK_STEP, "one training step on the Spark")
    bits_per_token: tuple[float, ...] = param(
        (10.85, 10.8534, 10.9554, 4.0), doc="validation losses", unit="bit/token", low=0, high=64
    )
    chars_per_token: float = param(4.66, doc="of article 20's corpus", unit="1", low=0.1)
    tier_costs_usd: tuple[float, ...] = param(
        (0.01, 0.30, 5.0, 50.0), doc="adapter, all weights, continued, scratch", unit="USD", low=0
    )
    lora_min: float = param(5.0, doc="path 1 on the Spark", unit="min", low=0)
    fine_tune_hours: float = param(3.0, doc="path 2, the longer", unit="h", low=0)
    scratch_days: float = param(6.0, doc="path 3", unit="d", low=0)
    large_tokens_per_s: float = param(10_000.0, doc="rate at 1B", unit="token/s", low=1)
    cloud_hourly_usd: float = _rated(rates.CLOUD_RENTAL, "rent of a cloud GPU")
    h100_speedup: float = param(5.0, doc="H100 over Spark as printed", unit="x", low=0.01)
    h100_min: float = param(12.0, doc="the run on an H100 as printed", unit="min", low=0)
    h100_power_w: float = _rated(rates.H100_POWER, "power of an H100")
    h100_capex_usd: float = _rated(rates.H100_PRICE, "price of an H100")
    spark_capex_usd: float = _rated(rates.SPARK_STREET_PRICE, "price of the Spark")
    num_gpus: int = param(8, doc="GPUs in an H100 node", unit="count", low=1)
    utilisation: float = param(0.4, doc="share of peak in training", unit="1", low=0.01, high=1)


_LOWER, _HIGHER = Better.LOWER, Better.HIGHER


def _metrics(better: Better | None, *rows: tuple[str, str, str]) -> tuple[Metric, ...]:
    return tuple(Metric(name=name, unit=unit, doc=doc, better=better) for name, unit, doc in rows)


CAMPAIGN = Workload(
    name="economics.campaign",
    doc="what a recipe search on a Spark costs, and what it saves of a rented final run",
    params=CampaignParams,
    entry="harness.experiments.a23_24.campaign:run",
    metrics=_metrics(
        _LOWER,
        ("hourly.cost", "USD/h", "an hour of a machine"),
        ("iteration.cost", "USD", "one taste test on a machine"),
        ("campaign.cost", "USD", "all taste tests on a machine"),
        ("final.cost", "USD", "the final run on a rented node"),
        ("varied.campaign_cost", "USD", "Spark campaign with one input changed"),
        ("varied.cloud_cost", "USD", "single-H100 campaign with one input changed"),
        ("phase2.cost", "USD", "phase 2 on the Spark"),
        ("phase2.candidate_cost", "USD", "one candidate of phase 2 on a machine"),
        ("pod.cost", "USD", "the 70B example at the H100 rent"),
    )
    + _metrics(
        _HIGHER,
        ("savings", "USD", "the loss that the search avoids, less what it costs"),
        ("savings.ratio", "x", "savings over what the search costs"),
        ("varied.savings", "USD", "savings with one input changed"),
        ("varied.savings_ratio", "x", "savings ratio with one input changed"),
    )
    + _metrics(
        None,
        ("campaign.wall", "h", "all taste tests, one after another"),
        ("hourly.ratio", "x", "an hour of one machine over an hour of another"),
        ("final.expected_loss", "USD", "what of it a blind booking is expected to waste"),
        ("amortisation.share", "%", "share of the price in a Spark hour"),
        ("payback.campaigns", "count", "campaigns whose savings buy the Spark"),
        ("payback.time", "year", "time until then"),
        ("break_even.wrong_pick_rate", "%", "blind wrong-pick rate at which nothing is saved"),
        ("break_even.cloud_speedup", "x", "speed-up of a rented H100 at which it costs no more"),
        ("phase2.wall", "h", "phase 2 on the Spark"),
        ("target.parameter_ratio", "x", "parameters of the target over those of a proxy"),
        ("target.tokens_per_parameter", "1", "training tokens over parameters"),
        ("target.compute", "FLOP", "6ND of the target"),
        ("target.node_time", "h", "that compute on one rented node"),
        ("target.final_tokens", "Gtoken", "tokens the final run's hours train on"),
        ("pod.expected_loss", "USD", "what of it a blind booking is expected to waste"),
        ("document.sha256", "text", "sha256 of the cost_arithmetic.json written here"),
        ("published.fields", "count", "fields of a published file that has these inputs"),
        ("published.fields_matching", "count", "how many of them were recomputed to the digit"),
    ),
)

TRAINING_TIERS = Workload(
    name="economics.training_tiers",
    doc="what four meanings of training cost in time, energy and money",
    params=TrainingTiersParams,
    entry="harness.experiments.a23_24.training_tiers:run",
    metrics=_metrics(
        _LOWER,
        ("run.cost", "USD", "electricity of article 22's run"),
        ("run.cloud_cost", "USD", "its wall time, rented"),
        ("spark.hourly_cost", "USD/h", "electricity of an hour"),
        ("spark.daily_cost", "USD", "electricity of a day"),
        ("training.cost", "USD", "electricity of training a model from scratch on the Spark"),
        ("path.cost", "USD", "electricity of a path of the stated length"),
    )
    + _metrics(
        None,
        ("run.energy", "kWh", "article 22's run"),
        ("run.cloud_factor", "x", "rent over electricity"),
        ("run.h100_time", "min", "the run at the printed H100 speed-up"),
        ("run.h100_energy_factor", "x", "energy on an H100 in the printed time, over the Spark's"),
        ("spark.daily_energy", "kWh", "a day at constant power"),
        ("spark.throughput", "token/s", "training rate of article 22's baseline step"),
        ("taste_test.tokens", "token", "tokens of one taste test"),
        ("recipe.tokens", "Gtoken", "compute-optimal tokens of the model"),
        ("recipe.token_multiple", "x", "those over a taste test's"),
        ("training.time", "d", "training a model from scratch"),
        ("tier.implied_time", "h", "hours of Spark electricity that a tier's price pays for"),
        ("tier.span", "x", "dearest tier over cheapest"),
        ("validation.perplexity", "1", "2 to the bits per token"),
        ("validation.bits_per_char", "1", "bits per token over characters per token"),
        ("price.h100_to_spark", "x", "price of an H100 over that of the Spark"),
    ),
)

WORKLOADS = (CAMPAIGN, TRAINING_TIERS)
