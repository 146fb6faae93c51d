"""Article 23's four meanings of "train", worked out: time, energy, money, perplexity."""

from __future__ import annotations

from collections.abc import Iterator

from harness.experiments.a23_24 import formulas
from harness.experiments.a23_24.figure import Figure, report
from harness.experiments.a23_24.params import TrainingTiersParams
from harness.workloads.api import rates
from harness.workloads.api.context import Context

TIERS = ("adapter", "all_weights", "continued", "from_scratch")
LARGE_PARAMETERS = 1e9  # the model behind the tier table's dearest row
HUGE_PARAMETERS = 70e9  # the frontier box's model


def figures(p: TrainingTiersParams) -> Iterator[Figure]:
    """Yield every figure of the article, unrounded."""
    yield from _run_figures(p)
    yield from _recipe_figures(p)
    yield from _training_figures(p)
    yield from _tier_figures(p)
    yield from _validation_figures(p)
    yield Figure("price.h100_to_spark", p.h100_capex_usd / p.spark_capex_usd)


def run(context: Context) -> None:
    """Report every figure."""
    context.emit.started("no device")
    report(context.emit, figures(context.params))


def hourly_usd(p: TrainingTiersParams) -> float:
    """Return the electricity of an hour on the Spark, USD."""
    return formulas.electricity_usd_per_h(p.power_w / 1000, p.kwh_usd)


def tokens_per_s(p: TrainingTiersParams) -> float:
    """Return the training rate of the Spark at the baseline step."""
    return p.batch_size * p.seq_len / p.step_s


def _run_figures(p: TrainingTiersParams) -> Iterator[Figure]:
    hours, usd_per_h = p.run_min / 60, hourly_usd(p)
    spark_kwh = formulas.energy_kwh(p.power_w, hours)
    yield Figure("run.energy", spark_kwh)
    yield Figure("run.cost", hours * usd_per_h)
    yield Figure("run.cloud_cost", hours * p.cloud_hourly_usd)
    yield Figure("run.cloud_factor", p.cloud_hourly_usd / usd_per_h)
    yield Figure("run.h100_time", p.run_min / p.h100_speedup)
    h100_kwh = formulas.energy_kwh(p.h100_power_w, p.h100_min / 60)
    yield Figure("run.h100_energy_factor", h100_kwh / spark_kwh)
    yield Figure("spark.hourly_cost", usd_per_h)
    yield Figure("spark.daily_energy", formulas.energy_kwh(p.power_w, 24))
    yield Figure("spark.daily_cost", 24 * usd_per_h)


def _recipe_figures(p: TrainingTiersParams) -> Iterator[Figure]:
    tasted = p.iter_steps * p.batch_size * p.seq_len
    wanted = formulas.chinchilla_tokens(p.parameters, p.tokens_per_parameter)
    yield Figure("spark.throughput", tokens_per_s(p))
    yield Figure("taste_test.tokens", tasted)
    yield Figure("recipe.tokens", wanted / 1e9)
    yield Figure("recipe.token_multiple", wanted / tasted)


def _training_figures(p: TrainingTiersParams) -> Iterator[Figure]:
    def optimal(parameters: float) -> float:
        return formulas.chinchilla_tokens(parameters, p.tokens_per_parameter)

    rate = tokens_per_s(p)
    huge_rate = rate * p.parameters / HUGE_PARAMETERS  # the same FLOP/s, spent on a larger model
    jobs = {
        "354m": (optimal(p.parameters), rate),
        "354m_printed_tokens": (p.printed_tokens, rate),
        "1b": (optimal(LARGE_PARAMETERS), p.large_tokens_per_s),
        "70b": (optimal(HUGE_PARAMETERS), huge_rate),
    }
    for model, (tokens, tok_per_s) in jobs.items():
        days = formulas.training_days(tokens, tok_per_s)
        yield Figure("training.time", days, {"model": model, "machine": "spark"})
        yield Figure("training.cost", 24 * days * hourly_usd(p), {"model": model})
    flop = formulas.training_flop(p.parameters, optimal(p.parameters))
    hours = formulas.compute_hours(flop, p.num_gpus, rates.H100_BF16.value, p.utilisation)
    yield Figure("training.time", hours / 24, {"model": "354m", "machine": "h100_node"})


def _tier_figures(p: TrainingTiersParams) -> Iterator[Figure]:
    usd_per_h = hourly_usd(p)
    for tier, usd in zip(TIERS, p.tier_costs_usd, strict=True):
        yield Figure("tier.implied_time", usd / usd_per_h, {"tier": tier})
    yield Figure("tier.span", max(p.tier_costs_usd) / min(p.tier_costs_usd))
    paths_h = {
        "adapter": p.lora_min / 60,
        "all_weights": p.fine_tune_hours,
        "from_scratch": 24 * p.scratch_days,
    }
    for path, hours in paths_h.items():
        yield Figure("path.cost", hours * usd_per_h, {"path": path})


def _validation_figures(p: TrainingTiersParams) -> Iterator[Figure]:
    for bits in p.bits_per_token:
        row = {"bits_per_token": bits}
        yield Figure("validation.perplexity", formulas.perplexity(bits), row)
        yield Figure("validation.bits_per_char", bits / p.chars_per_token, row)
