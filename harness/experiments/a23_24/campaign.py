"""Article 24's cost model: search recipes on a Spark, then book the final run once.

Beyond the article: what the search leaves wrong, a faster rented GPU, a machine that idles, and
the break-even points. With those at their neutral defaults the published cost_arithmetic.json
comes out byte for byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from harness.experiments.a23_24 import formulas
from harness.experiments.a23_24.params import CampaignParams
from harness.reading import read_json
from harness.records import record
from harness.workloads.api import rates
from harness.workloads.api.context import Context
from harness.workloads.api.declare import Better, Workload
from harness.workloads.api.figures import Figures, Row, Where

DOCUMENT = "cost_arithmetic.json"
_LOWER, _HIGHER = Better.LOWER, Better.HIGHER

# One input changed at a time: what the articles themselves say elsewhere, and a spread around it.
VARIED: dict[str, tuple[float, ...]] = {
    "spark_life_years": (0.5, 1.0, 3.0, 5.0),
    "spark_capex_usd": (rates.SPARK_STREET_PRICE.value,),
    "spark_kw": (rates.SPARK_LOGGED_POWER.value / 1000, 0.12),
    "electricity_usd_per_kwh": (rates.HOME_ELECTRICITY.value,),
    "duty_cycle": (0.25,),
    "cloud_speedup": (2.0, 3.4, 5.0, 6.0),  # 3.4: what the printed phase-2 prices imply
    "wrong_pick_rate": (0.1, 0.2, 0.3, 0.7),
    "residual_wrong_pick_rate": (0.1, 0.2, 0.5),  # what the caveats expect; what they say literally
}


class PricedMachine(StrEnum):
    """What an hour of work is paid for."""

    SPARK_AMORTISATION = "spark_amortisation"
    SPARK_ELECTRICITY = "spark_electricity"
    SPARK = "spark"
    H100 = "h100"
    H200 = "h200"
    NODE = "h100_node"
    TARGET = "h100_node_at_target_scale"  # the node, for as many times longer as the target takes


_CLOUD = {PricedMachine.H100, PricedMachine.H200, PricedMachine.NODE, PricedMachine.TARGET}
_RATIOS = (  # of this machine's hour over that one's
    (PricedMachine.H100, PricedMachine.SPARK_ELECTRICITY),
    (PricedMachine.NODE, PricedMachine.SPARK),
    (PricedMachine.TARGET, PricedMachine.SPARK),
)


@record
class Costs:
    """A campaign's costs in USD, unrounded."""

    hourly: Mapping[PricedMachine, float]
    iteration: Mapping[PricedMachine, float]
    campaign: Mapping[PricedMachine, float]
    final: float
    expected_loss: float
    savings: float

    @property
    def ratio(self) -> float:
        """Savings over what the search costs."""
        return self.savings / self.campaign[PricedMachine.SPARK]

    def hour_ratio(self, of: PricedMachine, to: PricedMachine) -> float:
        """An hour of one machine over an hour of another."""
        return self.hourly[of] / self.hourly[to]


def costs(p: CampaignParams) -> Costs:
    """Work out a campaign from its inputs (article 24, the formulas behind its table)."""
    hourly = hourly_usd(p)
    iteration = _work_usd(p, hourly, p.iter_seconds)
    campaign = {machine: usd * p.campaign_iters for machine, usd in iteration.items()}
    final = hourly[PricedMachine.NODE] * p.final_node_hours
    return Costs(
        hourly=hourly,
        iteration=iteration,
        campaign=campaign,
        final=final,
        expected_loss=p.wrong_pick_rate * final,
        savings=formulas.savings_usd(
            final, p.wrong_pick_rate, p.residual_wrong_pick_rate, campaign[PricedMachine.SPARK]
        ),
    )


def hourly_usd(p: CampaignParams) -> dict[PricedMachine, float]:
    """Return what an hour of each machine costs, USD."""
    price = formulas.amortisation_usd_per_h(p.spark_capex_usd, p.spark_life_years, p.duty_cycle)
    electricity = formulas.electricity_usd_per_h(p.spark_kw, p.electricity_usd_per_kwh)
    node = p.gpus_per_node * p.h100_usd_per_hour
    return {
        PricedMachine.SPARK_AMORTISATION: price,
        PricedMachine.SPARK_ELECTRICITY: electricity,
        PricedMachine.SPARK: price + electricity,
        PricedMachine.H100: p.h100_usd_per_hour,
        PricedMachine.H200: p.h200_usd_per_hour,
        PricedMachine.NODE: node,
        PricedMachine.TARGET: p.target_scale * node,
    }


def _work_usd(
    p: CampaignParams, hourly: Mapping[PricedMachine, float], seconds: float
) -> dict[PricedMachine, float]:
    return {
        machine: formulas.cost_usd(usd, seconds, p.cloud_speedup if machine in _CLOUD else 1.0)
        for machine, usd in hourly.items()
    }


# --- the published document -----------------------------------------------------------------------

_INPUTS = {  # published name -> param
    "h100_hourly_usd": "h100_usd_per_hour",
    "h200_hourly_usd": "h200_usd_per_hour",
    "spark_kw": "spark_kw",
    "kwh_usd": "electricity_usd_per_kwh",
    "spark_capex_usd": "spark_capex_usd",
    "spark_life_years": "spark_life_years",
    "iter_seconds": "iter_seconds",
    "campaign_iters": "campaign_iters",
    "final_node_hours": "final_node_hours",
}


def document(p: CampaignParams) -> dict[str, dict[str, Any]]:
    """Return the published document for these inputs: its groups, names and roundings.

    Some published names state a default (100 iterations, one week, 60x) whatever the input is.
    """
    c, m = costs(p), PricedMachine
    return {
        "rates": {
            **{name: getattr(p, param) for name, param in _INPUTS.items()},
            "spark_amortized_hourly": round(c.hourly[m.SPARK_AMORTISATION], 4),
            "spark_electricity_hourly": round(c.hourly[m.SPARK_ELECTRICITY], 4),
            "spark_total_hourly": round(c.hourly[m.SPARK], 4),
            "cloud_8xh100_hourly": round(c.hourly[m.NODE], 2),
        },
        "per_iter_usd": {
            "spark_electricity_only": round(c.iteration[m.SPARK_ELECTRICITY], 4),
            "spark_total_cost_of_use": round(c.iteration[m.SPARK], 4),
            "h100_single": round(c.iteration[m.H100], 3),
            "h100_8gpu_node": round(c.iteration[m.NODE], 3),
            "h200_single": round(c.iteration[m.H200], 3),
            "h100_8gpu_node_target_scale_60x": round(c.iteration[m.TARGET], 2),
        },
        "campaign_100_iters_usd": {
            "spark_electricity_only": round(c.campaign[m.SPARK_ELECTRICITY], 2),
            "spark_total_cost_of_use": round(c.campaign[m.SPARK], 2),
            "h100_single_proxy": round(c.campaign[m.H100], 2),
            "h100_8gpu_node_proxy": round(c.campaign[m.NODE], 2),
            "h100_8gpu_node_target_scale": round(c.campaign[m.TARGET], 2),
        },
        "final_pretrain_usd": {"8xh100_one_week": round(c.final, 2)},
        "expected_value_argument": {
            "wrong_pick_rate": p.wrong_pick_rate,
            "expected_loss_from_blind_booking_usd": round(c.expected_loss, 2),
            "spark_recipe_search_cost_usd": round(c.campaign[m.SPARK], 2),
            "expected_savings_per_campaign_usd": round(c.savings, 2),
            "ratio_savings_to_spark_cost": round(c.ratio, 1),
        },
        "ratios": {
            "h100_single_vs_spark_electricity": round(c.hour_ratio(m.H100, m.SPARK_ELECTRICITY), 1),
            "h100_8gpu_vs_spark_total": round(c.hour_ratio(m.NODE, m.SPARK), 1),
            "target_scale_8gpu_vs_spark_total": round(c.hour_ratio(m.TARGET, m.SPARK), 1),
        },
    }


def rendered(p: CampaignParams) -> str:
    """Return the document as the published file spells it."""
    return json.dumps(document(p), indent=2) + "\n"


# --- figures, unrounded ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Campaign:
    """A campaign: its inputs, what follows from them, and published documents to compare with."""

    p: CampaignParams
    published: tuple[Mapping[str, Mapping[str, Any]], ...] = ()

    @cached_property
    def costs(self) -> Costs:
        """Its costs."""
        return costs(self.p)

    @property
    def payback(self) -> float:
        """The campaigns whose savings buy the Spark."""
        saved = self.costs.savings
        return self.p.spark_capex_usd / saved if saved > 0 else float("inf")

    @property
    def candidate_s(self) -> float:
        """One candidate of phase 2 at the pace of a taste test."""
        return self.p.phase2_steps / self.p.iter_steps * self.p.iter_seconds

    @property
    def phase2_h(self) -> Iterator[tuple[Where, float]]:
        """Phase 2 on the Spark at each pace."""
        p, hour = self.p, formulas.SECONDS_PER_HOUR
        yield {"pace": "printed"}, p.phase2_printed_h
        yield {"pace": "taste_test_pace"}, p.phase2_candidates * self.candidate_s / hour
        yield {"pace": "step_pace"}, p.phase2_candidates * p.phase2_steps * p.step_s / hour

    @property
    def target_flop(self) -> float:
        """6ND of the target."""
        return formulas.training_flop(self.p.target_parameters, self.p.target_tokens)

    @property
    def node_h(self) -> Iterator[tuple[Where, float]]:
        """That compute on one rented node, at each precision and share of the peak."""
        for precision, rate in {"bf16": rates.H100_BF16, "fp8": rates.H100_FP8}.items():
            for share in self.p.mfu:
                hours = formulas.compute_hours(
                    self.target_flop, self.p.gpus_per_node, rate.value, share
                )
                yield {"precision": precision, "mfu": share}, hours

    @property
    def pod_usd(self) -> float:
        """The 70B example at the H100 rent."""
        return self.p.pod_gpus * self.p.pod_hours * self.costs.hourly[PricedMachine.H100]


figure: Figures[Campaign] = Figures()


def _of_machines(
    usd: Callable[[Costs], Mapping[PricedMachine, float]],
) -> Callable[..., Iterator[Row]]:
    return lambda c: (({"machine": m.value}, usd(c.costs)[m]) for m in PricedMachine)


figure.rows("hourly.cost", "USD/h", "an hour of a machine", better=_LOWER)(
    _of_machines(lambda c: c.hourly)
)
figure.rows("iteration.cost", "USD", "one taste test on a machine", better=_LOWER)(
    _of_machines(lambda c: c.iteration)
)
figure.rows("campaign.cost", "USD", "all taste tests on a machine", better=_LOWER)(
    _of_machines(lambda c: c.campaign)
)
figure("campaign.time", "h", "all taste tests, one after another")(
    lambda c: c.p.campaign_iters * c.p.iter_seconds / formulas.SECONDS_PER_HOUR
)


@figure.rows("hourly.ratio", "x", "an hour of one machine over an hour of another")
def _(c: Campaign) -> Iterator[Row]:
    for of, to in _RATIOS:
        yield {"machine": of.value, "to": to.value}, c.costs.hour_ratio(of, to)


figure("final.cost", "USD", "the final run on a rented node", better=_LOWER)(
    lambda c: c.costs.final
)
figure("final.expected_loss", "USD", "what of it a blind booking is expected to waste")(
    lambda c: c.costs.expected_loss
)
figure("savings", "USD", "the loss that the search avoids, less what it costs", better=_HIGHER)(
    lambda c: c.costs.savings
)
figure("savings.ratio", "x", "savings over what the search costs", better=_HIGHER)(
    lambda c: c.costs.ratio
)


@figure("amortisation.share", "%", "share of the price in a Spark hour")
def _(c: Campaign) -> float:
    hourly = c.costs.hourly
    return 100 * hourly[PricedMachine.SPARK_AMORTISATION] / hourly[PricedMachine.SPARK]


figure("payback.campaigns", "count", "campaigns whose savings buy the Spark")(lambda c: c.payback)
figure("payback.time", "year", "time until then")(lambda c: c.payback / c.p.campaigns_per_year)


@figure("break_even.wrong_pick_rate", "%", "blind wrong-pick rate at which nothing is saved")
def _(c: Campaign) -> float:
    search, left = c.costs.campaign[PricedMachine.SPARK], c.p.residual_wrong_pick_rate
    return 100 * formulas.break_even_wrong_pick_rate(c.costs.final, left, search)


figure("break_even.cloud_speedup", "x", "speed-up of a rented H100 at which it costs no more")(
    lambda c: c.costs.hour_ratio(PricedMachine.H100, PricedMachine.SPARK)
)

# --- with one input changed -----------------------------------------------------------------------


def _varied(c: Campaign) -> Iterator[tuple[Where, Costs]]:
    for name, values in VARIED.items():
        for value in values:
            changed: dict[str, Any] = {name: value}
            yield {"input": name, "value": value}, costs(replace(c.p, **changed))


varied = figure.each(_varied)
varied("varied.campaign_cost", "USD", "Spark campaign with one input changed", better=_LOWER)(
    lambda c: c.campaign[PricedMachine.SPARK]
)
varied("varied.cloud_cost", "USD", "single-H100 campaign with one input changed", better=_LOWER)(
    lambda c: c.campaign[PricedMachine.H100]
)
varied("varied.savings", "USD", "savings with one input changed", better=_HIGHER)(
    lambda c: c.savings
)
varied("varied.savings_ratio", "x", "savings ratio with one input changed", better=_HIGHER)(
    lambda c: c.ratio
)

# --- phase 2, the target, a pod -------------------------------------------------------------------

figure.rows("phase2.time", "h", "phase 2 on the Spark")(lambda c: c.phase2_h)
figure.rows("phase2.cost", "USD", "phase 2 on the Spark", better=_LOWER)(
    lambda c: ((pace, hours * c.costs.hourly[PricedMachine.SPARK]) for pace, hours in c.phase2_h)
)


@figure.rows("phase2.candidate_cost", "USD", "one candidate of phase 2 on a machine", better=_LOWER)
def _(c: Campaign) -> Iterator[Row]:
    for machine, usd in _work_usd(c.p, c.costs.hourly, c.candidate_s).items():
        yield {"machine": machine.value}, usd


figure("target.compute", "FLOP", "6ND of the target")(lambda c: c.target_flop)
figure("target.tokens_per_parameter", "1", "training tokens over parameters")(
    lambda c: c.p.target_tokens / c.p.target_parameters
)
figure.rows("target.parameter_ratio", "x", "parameters of the target over those of a proxy")(
    lambda c: (({"proxy": size}, c.p.target_parameters / size) for size in c.p.proxy_parameters)
)
figure.rows("target.node_time", "h", "that compute on one rented node")(lambda c: c.node_h)
figure.rows("target.final_tokens", "Gtoken", "tokens the final run's hours train on")(
    lambda c: (
        (row, c.p.target_tokens * c.p.final_node_hours / hours / 1e9) for row, hours in c.node_h
    )
)
figure("pod.cost", "USD", "the 70B example at the H100 rent", better=_LOWER)(lambda c: c.pod_usd)
figure("pod.expected_loss", "USD", "what of it a blind booking is expected to waste")(
    lambda c: c.p.wrong_pick_rate * c.pod_usd
)

# --- the document, beside a published one ---------------------------------------------------------

figure("document.sha256", "text", "sha256 of the cost_arithmetic.json written here")(
    lambda c: hashlib.sha256(rendered(c.p).encode()).hexdigest()
)


def compared(
    ours: Mapping[str, Mapping[str, Any]], published: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[int, int]]:
    """Yield how many fields are published, and how many of them are ours to the digit.

    Nothing for a document of other inputs.
    """
    if all(ours["rates"][name] == published["rates"][name] for name in _INPUTS):
        fields = [(group, name) for group in published for name in published[group]]
        matching = sum(ours[group][name] == published[group][name] for group, name in fields)
        yield len(fields), matching


comparison = figure.each(
    lambda c: (({}, found) for each in c.published for found in compared(document(c.p), each))
)
comparison("published.fields", "count", "fields of a published file that has these inputs")(
    lambda found: found[0]
)
comparison("published.fields_matching", "count", "how many of them were recomputed to the digit")(
    lambda found: found[1]
)


def run(context: Context) -> None:
    """Report every figure, and write the document."""
    published = tuple(
        read_json(context.evidence(name).read_bytes()) for name in context.spec.evidence
    )
    context.emit.started("no device")
    path = context.out / DOCUMENT
    path.write_text(rendered(context.params), encoding="utf-8")
    context.emit.artefact(DOCUMENT, path)
    figure.report(context.emit, Campaign(context.params, published))


CAMPAIGN = Workload(
    name="economics.campaign",
    doc="cost of a recipe search on a Spark, and its savings on a rented final run",
    params=CampaignParams,
    metrics=figure.metrics,
    entry="harness.experiments.a23_24.campaign:run",
)

WORKLOADS = (CAMPAIGN,)
