"""Small dossiers of one's own making."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from harness.plan.expand import Plan
from harness.records import (
    FinishedRun,
    ImageRef,
    Measurement,
    Profile,
    RunOutcome,
    RunSpec,
    Scalar,
    Status,
    Usage,
    Verdict,
    VerdictKind,
    record,
)
from harness.report.dossier import ScenarioReport
from harness.scenario.expectations import Expectations
from harness.scenario.schema import Scenario
from harness.workloads.api.declare import Better, Metric, Workload, param

METRICS = (
    Metric(name="loss", unit="nat", doc="of the last step", better=Better.LOWER),
    Metric(name="step_time", unit="s", doc="of one step", better=Better.LOWER, timing=True),
    Metric(name="grade", unit="text", doc="a word"),
)


@record
class Params:
    size: int = param(1, doc="how much", unit="token")
    rate: float = param(1e-3, doc="how fast", unit="1")
    name: str = param("a", doc="which one")


WORKLOAD = Workload(
    name="test.small", doc="nothing", params=Params, metrics=METRICS, entry="nowhere:run"
)

MakeRun = Callable[..., FinishedRun]
MakeDossier = Callable[..., ScenarioReport]
Figures = Mapping[str, Scalar] | Sequence[Measurement]


def spec(
    cell: Mapping[str, Any], replicate: int, profile: Profile, image: str, params: Mapping[str, Any]
) -> RunSpec:
    return RunSpec(
        scenario="t1-small",
        profile=profile,
        workload=WORKLOAD.name,
        params={"size": 1, "rate": 1e-3, "name": "a", **params, **cell},
        axes=tuple(cell),
        seed=replicate,
        replicate=replicate,
        image=ImageRef(name="base", digest=image) if image else None,
    )


@pytest.fixture
def make_run() -> MakeRun:
    def make(  # noqa: PLR0913 - each test says only what it is about
        cell: Mapping[str, Any] | None = None,
        figures: Figures = (),
        *,
        replicate: int = 0,
        status: Status = Status.FINISHED,
        profile: Profile = Profile.CPU,
        device: str = "box",
        image: str = "",
        cause: str = "",
        log: tuple[str, ...] = (),
        params: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
    ) -> FinishedRun:
        units = {metric.name: metric.unit for metric in METRICS}
        if isinstance(figures, Mapping):
            figures = [
                Measurement(metric=name, value=value, unit=units[name])
                for name, value in figures.items()
            ]
        return FinishedRun(
            spec=spec(cell or {}, replicate, profile, image, params or {}),
            outcome=RunOutcome(
                status=status,
                runtime="local",
                device=device,
                usage=Usage(wall_s=1.0),
                cause=cause,
                log_tail=log,
                started_at="2026-05-01T00:00:00+00:00",
            ),
            measurements=tuple(figures),
            environment=environment or {},
        )

    return make


@pytest.fixture
def make_dossier() -> MakeDossier:
    def make(  # noqa: PLR0913 - each test says only what it is about
        runs: Sequence[FinishedRun],
        *,
        sweep: Mapping[str, Any] | None = None,
        metrics: Sequence[str] = (),
        plots: Sequence[Mapping[str, Any]] = (),
        entries: Sequence[Mapping[str, Any]] = (),
        verdicts: Sequence[Verdict] = (),
        planned: Sequence[RunSpec] = (),
        title: str = "A small question",
        profile: Profile = Profile.CPU,
    ) -> ScenarioReport:
        scenario = Scenario.model_validate(
            {
                "scenario": "t1-small",
                "title": title,
                "question": "Is it small?",
                "article": {"number": 1, "title": title},
                "workload": WORKLOAD.name,
                "sweep": sweep or {},
                "profiles": {each: {"summary": "small"} for each in ("cpu", "cuda")},
                "report": {"metrics": [*metrics], "plots": [*plots]},
            }
        )
        ledger = Expectations.model_validate(
            {"scenario": "t1-small", "expectations": [*entries] or [entry("first")]}
        )
        plan = Plan(
            scenario="t1-small",
            profile=profile,
            runs=tuple(planned),
            skipped=(),
            estimate=None,
            changed=False,
        )
        return ScenarioReport(
            scenario=scenario,
            profile=profile,
            workload=WORKLOAD,
            metrics={metric.name: metric for metric in METRICS},
            runs=tuple(runs),
            ledger=ledger,
            verdicts=tuple(verdicts) or (verdict("first"),),
            plan=plan,
        )

    return make


def entry(name: str, **facts: Any) -> dict[str, Any]:
    return {
        "id": name,
        "metric": "loss",
        "unit": "nat",
        "class": "arithmetic",
        "kind": "exact",
        "expect": {"value": 1.0},
        "source": "article 1",
        **facts,
    }


def verdict(name: str, kind: VerdictKind = VerdictKind.REPRODUCED, **facts: Any) -> Verdict:
    return Verdict(expectation=name, kind=kind, metric="loss", **facts)


@pytest.fixture
def make_entry() -> Callable[..., dict[str, Any]]:
    return entry


@pytest.fixture
def make_verdict() -> Callable[..., Verdict]:
    return verdict
