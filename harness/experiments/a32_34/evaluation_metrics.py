"""What an evaluation reports beside `declare.AGENT`. Loads no torch."""

from __future__ import annotations

from harness.workloads.api.declare import Better, Metric

_HIGHER, _LOWER = Better.HIGHER, Better.LOWER

EVALUATED = (
    Metric(
        name="agent.rollout_errors",
        unit="count",
        doc="rollouts that broke, by no agent's doing, and count nowhere; where: policy",
        better=_LOWER,
    ),
    Metric(name="agent.stop_reason", unit="%", doc="of all rollouts; where: policy, reason"),
    Metric(
        name="agent.assertion_pass_rate_low", unit="%", doc="tasks resampled, 95 %; where: policy"
    ),
    Metric(
        name="agent.assertion_pass_rate_high", unit="%", doc="tasks resampled, 95 %; where: policy"
    ),
    Metric(name="agent.stop_rate_low", unit="%", doc="Wilson, 95 %; where: policy"),
    Metric(name="agent.stop_rate_high", unit="%", doc="Wilson, 95 %; where: policy"),
    Metric(
        name="agent.environment_share",
        unit="%",
        doc="of the rollouts' time, not the model's: boxes, grading, bookkeeping; where: policy",
        better=_LOWER,
        timing=True,
    ),
    Metric(
        name="agent.stop_early",
        unit="1",
        doc="mean probability of stopping at a turn before the work is done; where: policy",
    ),
    Metric(
        name="agent.stop_late",
        unit="1",
        doc="mean probability of stopping at a turn after the work is done; where: policy",
    ),
    Metric(
        name="agent.reparsed_stop_rate",
        unit="%",
        doc="clean stops of stored rollouts, read by another parser; where: policy, parser",
    ),
    Metric(
        name="agent.reparsed_turns",
        unit="turn",
        doc="mean turns of the same; where: policy, parser",
    ),
)

_COMPARED = (
    ("agent.pass_rate_difference", "%", "of tasks passed", _HIGHER),
    ("agent.assertion_pass_rate_difference", "%", "of assertions that hold", _HIGHER),
    ("agent.stop_rate_difference", "%", "of clean stops", _HIGHER),
    ("agent.turns_difference", "turn", "of mean turns", _LOWER),
)

COMPARED = (
    *(
        Metric(name=name, unit=unit, doc=f"policy - other, {doc}; where: both", better=better)
        for name, unit, doc, better in _COMPARED
    ),
    *(
        Metric(name=f"{name}_{end}", unit=unit, doc="tasks resampled, 95 %; where: policy, other")
        for name, unit, _, _ in _COMPARED
        for end in ("low", "high")
    ),
    Metric(
        name="agent.pass_rate_paired_p",
        unit="1",
        doc="two-sided p of no difference, McNemar's exact test; where: policy, other",
    ),
    Metric(
        name="agent.stop_rate_paired_p",
        unit="1",
        doc="two-sided p of no difference, McNemar's exact test; where: policy, other",
    ),
    Metric(
        name="stop.by_parser",
        unit="%",
        doc="clean stops that only the parser made; where: source (replay or rollouts)",
    ),
    Metric(
        name="stop.by_training",
        unit="%",
        doc="clean stops gained at one parser; where: source (replay or rollouts)",
    ),
)
