"""Nights as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from harness.history.pairs import Outcome
from harness.history.rows import Finding, HistoryFigure, HistoryRows, Night
from harness.records import Profile
from harness.workloads.api.declare import Better, Metric

RATE = Metric(name="throughput", unit="token/s", doc="speed", better=Better.HIGHER, timing=True)
LATENCY = Metric(name="latency", unit="ms", doc="time", better=Better.LOWER, timing=True)
METRICS = {each.name: each for each in (RATE, LATENCY)}
POINT = "0123456789ab"


def night(at: int, value: float | Sequence[HistoryFigure], **changes: Any) -> Night:
    """Return a night of one cell, the `at`-th of a history."""
    time = datetime(2026, 3, 1, 1, tzinfo=UTC) + timedelta(days=at)
    figures = (
        (HistoryFigure(metric="throughput", unit="token/s", value=value),)
        if isinstance(value, int | float)
        else tuple(value)
    )
    facts: Mapping[str, Any] = {
        "id": f"night-{at}",
        "scenario": "a99-example",
        "profile": Profile.SPARK,
        "point": POINT,
        "cell": {"batch_size": 4},
        "seed": 0,
        "runs": (f"run-{at}",),
        "time": time.isoformat(),
        "device": "NVIDIA GB10",
        "commit": f"{at:040x}",
        "dirty": False,
        "source": f"source-{at}",
        "figures": figures,
    }
    return Night(**{**facts, **changes})


def history(values: Sequence[float], findings: Sequence[Finding] = ()) -> HistoryRows:
    """Return the rows of some nights."""
    return HistoryRows(
        nights=tuple(night(at, value) for at, value in enumerate(values)),
        findings=tuple(findings),
    )


def finding(at: int, outcome: Outcome | None, effect: float = -0.05, **changes: Any) -> Finding:
    """Return a finding about the `at`-th night."""
    facts: Mapping[str, Any] = {
        "id": f"finding-{at}",
        "time": (datetime(2026, 3, 1, 2, tzinfo=UTC) + timedelta(days=at)).isoformat(),
        "point": POINT,
        "metric": "throughput",
        "where": {},
        "device": "NVIDIA GB10",
        "night": f"night-{at}",
        "outcome": outcome,
        "unit": "token/s",
        "old": 100.0,
        "new": 100.0 * (1 + effect),
        "nights": 1,
        "effect": effect,
        "low": effect - 0.01,
        "high": effect + 0.01,
        "sees": 0.01,
        "pairs": 14,
        "good": f"{at - 1:040x}",
        "bad": f"{at:040x}",
    }
    return Finding(**{**facts, **changes})
