"""Runs, ledgers and metrics in as few words as a test needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.check.verdicts import check
from harness.records import (
    FinishedRun,
    Measurement,
    Profile,
    RunOutcome,
    RunSpec,
    Scalar,
    Status,
    Usage,
    Verdict,
)
from harness.scenario.expectations import Expectations
from harness.workloads.api.declare import Better, Metric

SPARK = "NVIDIA GB10"
METRICS = {
    metric.name: metric
    for metric in (
        Metric(name="speed", unit="token/s", doc="", better=Better.HIGHER, timing=True),
        Metric(name="loss", unit="nat", doc="", better=Better.LOWER),
        Metric(name="loss.first", unit="nat", doc="", better=Better.LOWER),
        Metric(name="memory", unit="GiB", doc="", resolution=0.01),
        Metric(name="parameters", unit="parameter", doc=""),
        Metric(name="unaccounted", unit="%", doc=""),
        Metric(name="pass_rate", unit="1", doc="", better=Better.HIGHER),
        Metric(name="turns", unit="turn", doc="", better=Better.LOWER, resolution=0.5),
        Metric(name="hash", unit="text", doc=""),
        Metric(name="rollout_errors", unit="count", doc="", is_loss=True),
        Metric(name="wall", unit="s", doc="", better=Better.LOWER),
    )
}


def row(
    metric: str, value: Scalar, *, where: Mapping[str, Scalar] | None = None, **facts: Any
) -> Measurement:
    """A measurement in its metric's unit."""
    unit = facts.pop("unit", METRICS[metric].unit)
    return Measurement(metric=metric, value=value, unit=unit, where=where or {}, **facts)


def run(
    *measurements: Measurement,
    params: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = SPARK,
    status: Status = Status.FINISHED,
    **facts: Any,
) -> FinishedRun:
    """A run of the cell `params`."""
    values = params or {}
    spec = RunSpec(
        scenario="a00-test",
        profile=facts.pop("profile", Profile.SPARK),
        workload="noop",
        params=values,
        axes=tuple(values),
        seed=seed,
        replicate=seed,
        source=facts.pop("source", ""),
    )
    outcome = RunOutcome(
        status=status, runtime="local", device=device, usage=Usage(wall_s=1.0), **facts
    )
    return FinishedRun(spec=spec, outcome=outcome, measurements=measurements)


def replicates(metric: str, values: Sequence[Scalar], **facts: Any) -> list[FinishedRun]:
    """One run a value, each with another seed."""
    return [run(row(metric, value, **facts), seed=seed) for seed, value in enumerate(values)]


def entry(kind: str, metric: str, expect: Mapping[str, Any], **facts: Any) -> dict[str, Any]:
    """A ledger entry as its file holds it."""
    given = {
        "id": f"{metric}.{kind}",
        "metric": metric,
        "unit": METRICS[metric].unit,
        "class": "device",
        "source": "article 0",
        "reason": "a test",
        "kind": kind,
        "expect": expect,
    }
    return {**given, **facts}


def verdicts(
    entries: Sequence[Mapping[str, Any]],
    runs: Sequence[FinishedRun],
    profile: Profile = Profile.SPARK,
) -> tuple[Verdict, ...]:
    """Check a ledger of `entries`."""
    ledger = Expectations.model_validate({"scenario": "a00-test", "expectations": list(entries)})
    return check(ledger, runs, profile, METRICS)


def verdict(
    entry: Mapping[str, Any], runs: Sequence[FinishedRun], profile: Profile = Profile.SPARK
) -> Verdict:
    """Check a ledger of one entry."""
    (only,) = verdicts([entry], runs, profile)
    return only
