"""Article 23's four meanings of "train", worked out: time, energy, money, perplexity. Unrounded."""

from __future__ import annotations

from collections.abc import Iterator

from harness.experiments.a23_24 import formulas
from harness.experiments.a23_24.params import TrainingTiersParams
from harness.workloads.api import rates
from harness.workloads.api.context import Context
from harness.workloads.api.declare import Better, Workload
from harness.workloads.api.figures import Figures, Row, Where

TIERS = ("adapter", "all_weights", "continued", "from_scratch")
LARGE_PARAMETERS = 1e9  # the model behind the tier table's dearest row
HUGE_PARAMETERS = 70e9  # the frontier box's model
_LOWER = Better.LOWER


def hourly_usd(p: TrainingTiersParams) -> float:
    """Return the electricity of an hour on the Spark, USD."""
    return formulas.electricity_usd_per_h(p.power_w / 1000, p.electricity_usd_per_kwh)


def tokens_per_s(p: TrainingTiersParams) -> float:
    """Return the training rate of the Spark at the baseline step."""
    return p.batch_size * p.seq_len / p.step_s


def tasted(p: TrainingTiersParams) -> int:
    """Return the tokens of one taste test."""
    return p.iter_steps * p.batch_size * p.seq_len


def optimal(p: TrainingTiersParams, parameters: float) -> float:
    """Return the compute-optimal training tokens of a model."""
    return formulas.chinchilla_tokens(parameters, p.tokens_per_parameter)


figure: Figures[TrainingTiersParams] = Figures()

# --- article 22's run, and the Spark --------------------------------------------------------------

figure("run.energy", "kWh", "article 22's run")(
    lambda p: formulas.energy_kwh(p.power_w, p.run_min / 60)
)
figure("run.cost", "USD", "electricity of article 22's run", better=_LOWER)(
    lambda p: p.run_min / 60 * hourly_usd(p)
)
figure("run.cloud_cost", "USD", "its wall time, rented", better=_LOWER)(
    lambda p: p.run_min / 60 * p.cloud_usd_per_hour
)
figure("run.cloud_factor", "x", "rent over electricity")(
    lambda p: p.cloud_usd_per_hour / hourly_usd(p)
)
figure("run.h100_time", "min", "the run at the printed H100 speed-up")(
    lambda p: p.run_min / p.h100_speedup
)


@figure("run.h100_energy_factor", "x", "energy on an H100 in the printed time, over the Spark's")
def _(p: TrainingTiersParams) -> float:
    h100_kwh = formulas.energy_kwh(p.h100_power_w, p.h100_min / 60)
    return h100_kwh / formulas.energy_kwh(p.power_w, p.run_min / 60)


figure("spark.hourly_cost", "USD/h", "electricity of an hour", better=_LOWER)(hourly_usd)
figure("spark.daily_cost", "USD", "electricity of a day", better=_LOWER)(
    lambda p: 24 * hourly_usd(p)
)
figure("spark.daily_energy", "kWh", "a day at constant power")(
    lambda p: formulas.energy_kwh(p.power_w, 24)
)
figure("price.h100_to_spark", "x", "price of an H100 over that of the Spark")(
    lambda p: p.h100_capex_usd / p.spark_capex_usd
)

# --- training from scratch ------------------------------------------------------------------------

figure("spark.tokens_per_second", "token/s", "training rate of article 22's baseline step")(
    tokens_per_s
)
figure("trial.tokens", "token", "tokens of one taste test")(tasted)
figure("recipe.tokens", "Gtoken", "compute-optimal tokens of the model")(
    lambda p: optimal(p, p.parameters) / 1e9
)
figure("recipe.token_multiple", "x", "those over a taste test's")(
    lambda p: optimal(p, p.parameters) / tasted(p)
)


def _spark_days(p: TrainingTiersParams) -> Iterator[tuple[Where, float]]:
    rate = tokens_per_s(p)
    huge_rate = rate * p.parameters / HUGE_PARAMETERS  # the same FLOP/s, spent on a larger model
    jobs = {
        "354m": (optimal(p, p.parameters), rate),
        "354m_printed_tokens": (p.printed_tokens, rate),
        "1b": (optimal(p, LARGE_PARAMETERS), p.large_tokens_per_s),
        "70b": (optimal(p, HUGE_PARAMETERS), huge_rate),
    }
    for model, (tokens, tok_per_s) in jobs.items():
        yield {"model": model}, formulas.training_days(tokens, tok_per_s)


@figure.rows("training.time", "d", "training a model from scratch")
def _(p: TrainingTiersParams) -> Iterator[Row]:
    for model, days in _spark_days(p):
        yield {**model, "machine": "spark"}, days
    flop = formulas.training_flop(p.parameters, optimal(p, p.parameters))
    hours = formulas.compute_hours(flop, p.num_gpus, rates.H100_BF16.value, p.mfu)
    yield {"model": "354m", "machine": "h100_node"}, hours / 24


figure.rows(
    "training.cost",
    "USD",
    "electricity of training a model from scratch on the Spark",
    better=_LOWER,
)(lambda p: ((model, 24 * days * hourly_usd(p)) for model, days in _spark_days(p)))

# --- the tier table, the three paths, validation losses -------------------------------------------

figure.rows("tier.implied_time", "h", "hours of Spark electricity that a tier's price pays for")(
    lambda p: (
        ({"tier": tier}, usd / hourly_usd(p))
        for tier, usd in zip(TIERS, p.tier_costs_usd, strict=True)
    )
)
figure("tier.span", "x", "dearest tier over cheapest")(
    lambda p: max(p.tier_costs_usd) / min(p.tier_costs_usd)
)


@figure.rows("path.cost", "USD", "electricity of a path of the stated length", better=_LOWER)
def _(p: TrainingTiersParams) -> Iterator[Row]:
    yield {"path": "adapter"}, p.lora_min / 60 * hourly_usd(p)
    yield {"path": "all_weights"}, p.fine_tune_hours * hourly_usd(p)
    yield {"path": "from_scratch"}, 24 * p.scratch_days * hourly_usd(p)


bits = figure.each(lambda p: (({"bits_per_token": b}, (b, p)) for b in p.bits_per_token))
bits("validation.perplexity", "1", "2 to the bits per token")(lambda at: formulas.perplexity(at[0]))
bits("validation.bits_per_char", "1", "bits per token over characters per token")(
    lambda at: at[0] / at[1].chars_per_token
)

# --------------------------------------------------------------------------------------------------


def run(context: Context) -> None:
    """Report every figure."""
    context.emit.started("no device")
    figure.report(context.emit, context.params)


TRAINING_TIERS = Workload(
    name="economics.training_tiers",
    doc="what four meanings of training cost in time, energy and money",
    params=TrainingTiersParams,
    metrics=figure.metrics,
    entry="harness.experiments.a23_24.training_tiers:run",
)

WORKLOADS = (TRAINING_TIERS,)
