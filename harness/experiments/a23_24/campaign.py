"""Article 24's cost model: search recipes on a Spark, then book the final run once.

Beyond the article: what the search leaves wrong, a faster rented GPU, a machine that idles, and
the break-even points. With those at their neutral defaults the published cost_arithmetic.json
comes out byte for byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from harness.experiments.a23_24 import formulas
from harness.experiments.a23_24.figure import Figure, Row, report
from harness.experiments.a23_24.params import CampaignParams
from harness.records import record
from harness.workloads.api import rates
from harness.workloads.api.context import Context

DOCUMENT = "cost_arithmetic.json"

# One input changed at a time: what the articles themselves say elsewhere, and a spread around it.
VARIED: dict[str, tuple[float, ...]] = {
    "spark_life_years": (0.5, 1.0, 3.0, 5.0),
    "spark_capex_usd": (rates.SPARK_STREET_PRICE.value,),
    "spark_kw": (rates.SPARK_LOGGED_POWER.value / 1000, 0.12),
    "kwh_usd": (rates.HOME_ELECTRICITY.value,),
    "duty_cycle": (0.25,),
    "cloud_speedup": (2.0, 3.4, 5.0, 6.0),  # 3.4: what the printed phase-2 prices imply
    "wrong_pick_rate": (0.1, 0.2, 0.3, 0.7),
    "residual_wrong_pick_rate": (0.1, 0.2, 0.5),  # what the caveats expect; what they say literally
}


class Machine(StrEnum):
    """What an hour of work is paid for."""

    SPARK_AMORTISATION = "spark_amortisation"
    SPARK_ELECTRICITY = "spark_electricity"
    SPARK = "spark"
    H100 = "h100"
    H200 = "h200"
    NODE = "h100_node"
    TARGET = "h100_node_at_target_scale"  # the node, for as many times longer as the target takes


_CLOUD = {Machine.H100, Machine.H200, Machine.NODE, Machine.TARGET}
_RATIOS = (  # of this machine's hour over that one's
    (Machine.H100, Machine.SPARK_ELECTRICITY),
    (Machine.NODE, Machine.SPARK),
    (Machine.TARGET, Machine.SPARK),
)


@record
class Costs:
    """A campaign's costs in USD, unrounded."""

    hourly: Mapping[Machine, float]
    iteration: Mapping[Machine, float]
    campaign: Mapping[Machine, float]
    final: float
    expected_loss: float
    savings: float

    @property
    def ratio(self) -> float:
        """Savings over what the search costs."""
        return self.savings / self.campaign[Machine.SPARK]

    def hour_ratio(self, of: Machine, to: Machine) -> float:
        """An hour of one machine over an hour of another."""
        return self.hourly[of] / self.hourly[to]


def costs(p: CampaignParams) -> Costs:
    """Work out a campaign from its inputs (article 24, the formulas behind its table)."""
    hourly = hourly_usd(p)
    iteration = _work_usd(p, hourly, p.iter_seconds)
    campaign = {machine: usd * p.campaign_iters for machine, usd in iteration.items()}
    final = hourly[Machine.NODE] * p.final_node_hours
    return Costs(
        hourly=hourly,
        iteration=iteration,
        campaign=campaign,
        final=final,
        expected_loss=p.wrong_pick_rate * final,
        savings=formulas.savings_usd(
            final, p.wrong_pick_rate, p.residual_wrong_pick_rate, campaign[Machine.SPARK]
        ),
    )


def hourly_usd(p: CampaignParams) -> dict[Machine, float]:
    """Return what an hour of each machine costs, USD."""
    price = formulas.amortisation_usd_per_h(p.spark_capex_usd, p.spark_life_years, p.duty_cycle)
    electricity = formulas.electricity_usd_per_h(p.spark_kw, p.kwh_usd)
    node = p.gpus_per_node * p.h100_hourly_usd
    return {
        Machine.SPARK_AMORTISATION: price,
        Machine.SPARK_ELECTRICITY: electricity,
        Machine.SPARK: price + electricity,
        Machine.H100: p.h100_hourly_usd,
        Machine.H200: p.h200_hourly_usd,
        Machine.NODE: node,
        Machine.TARGET: p.target_scale * node,
    }


def _work_usd(
    p: CampaignParams, hourly: Mapping[Machine, float], seconds: float
) -> dict[Machine, float]:
    return {
        machine: formulas.cost_usd(usd, seconds, p.cloud_speedup if machine in _CLOUD else 1.0)
        for machine, usd in hourly.items()
    }


# --- the published document -----------------------------------------------------------------------

_INPUTS = (
    "h100_hourly_usd",
    "h200_hourly_usd",
    "spark_kw",
    "kwh_usd",
    "spark_capex_usd",
    "spark_life_years",
    "iter_seconds",
    "campaign_iters",
    "final_node_hours",
)


def document(p: CampaignParams) -> dict[str, dict[str, Any]]:
    """Return the published document for these inputs: its groups, names and roundings.

    Some published names state a default (100 iterations, one week, 60x) whatever the input is.
    """
    c, m = costs(p), Machine
    return {
        "rates": {
            **{name: getattr(p, name) for name in _INPUTS},
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


# --- figures --------------------------------------------------------------------------------------


def figures(p: CampaignParams) -> Iterator[Figure]:
    """Yield every figure of a campaign, unrounded."""
    c = costs(p)
    yield from _cost_figures(p, c)
    yield from _worth_figures(p, c)
    yield from _varied_figures(p)
    yield from _phase2_figures(p, c)
    yield from _target_figures(p, c)


def _cost_figures(p: CampaignParams, c: Costs) -> Iterator[Figure]:
    for machine in Machine:
        row = {"machine": machine.value}
        yield Figure("hourly.cost", c.hourly[machine], row)
        yield Figure("iteration.cost", c.iteration[machine], row)
        yield Figure("campaign.cost", c.campaign[machine], row)
    yield Figure("campaign.wall", p.campaign_iters * p.iter_seconds / formulas.SECONDS_PER_HOUR)
    for of, to in _RATIOS:
        yield Figure("hourly.ratio", c.hour_ratio(of, to), {"of": of.value, "to": to.value})


def _worth_figures(p: CampaignParams, c: Costs) -> Iterator[Figure]:
    search, spark_hour = c.campaign[Machine.SPARK], c.hourly[Machine.SPARK]
    payback = p.spark_capex_usd / c.savings if c.savings > 0 else float("inf")
    break_even = formulas.break_even_wrong_pick_rate(c.final, p.residual_wrong_pick_rate, search)
    yield Figure("final.cost", c.final)
    yield Figure("final.expected_loss", c.expected_loss)
    yield Figure("savings", c.savings)
    yield Figure("savings.ratio", c.ratio)
    yield Figure("amortisation.share", 100 * c.hourly[Machine.SPARK_AMORTISATION] / spark_hour)
    yield Figure("payback.campaigns", payback)
    yield Figure("payback.time", payback / p.campaigns_per_year)
    yield Figure("break_even.wrong_pick_rate", 100 * break_even)
    yield Figure("break_even.cloud_speedup", c.hour_ratio(Machine.H100, Machine.SPARK))


def _varied_figures(p: CampaignParams) -> Iterator[Figure]:
    for name, values in VARIED.items():
        for value in values:
            changed: dict[str, Any] = {name: value}
            c = costs(replace(p, **changed))
            row: Row = {"input": name, "value": value}
            yield Figure("varied.campaign_cost", c.campaign[Machine.SPARK], row)
            yield Figure("varied.cloud_cost", c.campaign[Machine.H100], row)
            yield Figure("varied.savings", c.savings, row)
            yield Figure("varied.savings_ratio", c.ratio, row)


def _phase2_figures(p: CampaignParams, c: Costs) -> Iterator[Figure]:
    candidate_s = p.phase2_steps / p.iter_steps * p.iter_seconds
    hours = {
        "printed": p.phase2_printed_h,
        "taste_test_pace": p.phase2_candidates * candidate_s / formulas.SECONDS_PER_HOUR,
        "step_pace": p.phase2_candidates * p.phase2_steps * p.step_s / formulas.SECONDS_PER_HOUR,
    }
    for pace, wall_h in hours.items():
        yield Figure("phase2.wall", wall_h, {"pace": pace})
        yield Figure("phase2.cost", wall_h * c.hourly[Machine.SPARK], {"pace": pace})
    for machine, usd in _work_usd(p, c.hourly, candidate_s).items():
        yield Figure("phase2.candidate_cost", usd, {"machine": machine.value})


def _target_figures(p: CampaignParams, c: Costs) -> Iterator[Figure]:
    flop = formulas.training_flop(p.target_parameters, p.target_tokens)
    yield Figure("target.compute", flop)
    yield Figure("target.tokens_per_parameter", p.target_tokens / p.target_parameters)
    for size in p.proxy_parameters:
        yield Figure("target.parameter_ratio", p.target_parameters / size, {"proxy": size})
    for precision, rate in {"bf16": rates.H100_BF16, "fp8": rates.H100_FP8}.items():
        for share in p.utilisations:
            row: Row = {"precision": precision, "utilisation": share}
            hours = formulas.compute_hours(flop, p.gpus_per_node, rate.value, share)
            tokens = p.target_tokens * p.final_node_hours / hours
            yield Figure("target.node_time", hours, row)
            yield Figure("target.final_tokens", tokens / 1e9, row)
    pod_usd = p.pod_gpus * p.pod_hours * c.hourly[Machine.H100]
    yield Figure("pod.cost", pod_usd)
    yield Figure("pod.expected_loss", p.wrong_pick_rate * pod_usd)


# --- the program ----------------------------------------------------------------------------------


def run(context: Context) -> None:
    """Report every figure, write the document and compare it with the published ones."""
    p, emit = context.params, context.emit
    emit.started("no device")
    report(emit, figures(p))
    path = context.out / DOCUMENT
    path.write_text(rendered(p), encoding="utf-8")
    emit.artefact(DOCUMENT, path)
    emit.measured("document.sha256", hashlib.sha256(path.read_bytes()).hexdigest())
    for name in context.spec.evidence:
        published = json.loads(context.evidence(name).read_text(encoding="utf-8"))
        report(emit, compared(document(p), published))


def compared(
    ours: Mapping[str, Mapping[str, Any]], published: Mapping[str, Mapping[str, Any]]
) -> Iterator[Figure]:
    """Count the published fields, and those recomputed to the digit; nothing for other inputs."""
    if any(ours["rates"][name] != published["rates"][name] for name in _INPUTS):
        return
    fields = [(group, name) for group in published for name in published[group]]
    matching = sum(ours[group][name] == published[group][name] for group, name in fields)
    yield Figure("published.fields", len(fields))
    yield Figure("published.fields_matching", matching)
