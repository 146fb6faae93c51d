"""A small scenario with everything that a report has to show, written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.plan.expand import Plan, Skipped
from harness.records import (
    FinishedRun,
    ImageRef,
    Measurement,
    Profile,
    RunOutcome,
    RunSpec,
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

CAUSE = "the kernel ended it: 23.1 GiB of 16.0 GiB"
IMAGE = ImageRef(name="torch-cpu", digest="sha256:" + "0123456789abcdef" * 4)
METRICS = (
    Metric(name="step_time.mean", unit="ms", doc="wall time of a step", timing=True),
    Metric(
        name="throughput",
        unit="token/s",
        doc="tokens of a step over its time",
        better=Better.HIGHER,
        timing=True,
    ),
    Metric(name="memory.peak", unit="GiB", doc="largest allocation", better=Better.LOWER),
    Metric(name="parameters", unit="parameter", doc="size of the model"),
    Metric(name="loss", unit="nat", doc="mean cross-entropy of a step", better=Better.LOWER),
    Metric(name="fits", unit="flag", doc="whether a step completes"),
)


@record
class EnvelopeParams:
    precision: str = param("bf16", doc="arithmetic of the matmuls", choices=("bf16", "fp8"))
    batch_size: int = param(2, doc="sequences in a step", unit="count", low=1)
    seq_len: int = param(1024, doc="tokens in a sequence", unit="token", low=1)


WORKLOAD = Workload(
    name="sample.envelope",
    doc="trains a small model and times it",
    params=EnvelopeParams,
    metrics=METRICS,
    entry="nowhere:run",
)
SCENARIO = Scenario.model_validate(
    {
        "scenario": "a19-envelope",
        "title": "The pretraining envelope of one box",
        "question": "How do throughput and memory grow with the batch, in bf16 and in fp8?",
        "article": {"number": 19, "title": "Baseline training loop", "date": "2026-04-25"},
        "workload": "sample.envelope",
        "sweep": {"product": {"precision": ["bf16", "fp8"], "batch_size": [2, 4, 8, 16]}},
        "replicates": 3,
        "profiles": {"cpu": {"summary": "a small model"}},
        "report": {
            "metrics": [
                "step_time.mean",
                "throughput",
                "memory.peak",
                "parameters",
                "fits",
                "loss",
            ],
            "plots": [
                {
                    "file": "throughput",
                    "title": "Throughput rises with the batch and levels off",
                    "x": "batch_size",
                    "y": "throughput",
                    "series": ["precision"],
                },
                {
                    "file": "memory",
                    "title": "Peak memory",
                    "kind": "bar",
                    "x": "batch_size",
                    "y": "memory.peak",
                    "series": ["precision"],
                },
                {
                    "file": "loss",
                    "title": "Loss along training",
                    "kind": "scatter",
                    "x": "step",
                    "y": "loss",
                    "series": ["precision"],
                },
                {"file": "nothing", "title": "Never drawn", "x": "batch_size", "y": "fits"},
            ],
        },
    }
)

# (precision, batch) -> step times of the replicates, ms
STEP_MS = {
    ("bf16", 2): (185.4, 187.1, 184.9),
    ("bf16", 4): (324.0, 330.2, 321.7),
    ("bf16", 8): (639.1, 640.4, 644.9),
    ("fp8", 2): (171.5, 169.8, 170.2),
    ("fp8", 4): (304.3, 299.0, 306.1),
    ("fp8", 8): (594.6, 601.3, 590.0),
}
ENVIRONMENT: dict[str, Any] = {
    "harness": "0.1.0",
    "code": {
        "commit": "89d18fe0123456789abcdef0123456789abcdef0",
        "dirty": False,
        "difference": None,
        "absent": {"difference": "the tree is as committed"},
    },
    "interpreter": {"python": "CPython 3.12.3", "packages": {"numpy": "2.3.0", "torch": "2.13.0"}},
    "host": {
        "cpu_model": "Cortex-A725 + Cortex-X925",
        "cores": 20,
        "memory_total_gib": 119.7,
        "gpus": [{"name": "NVIDIA GB10", "memory_gib": None, "absent": {"memory_gib": "unified"}}],
        "absent": {},
    },
}


@pytest.fixture(scope="session")
def dossier() -> ScenarioReport:
    """Finished cells with replicates, a failed one, one without a run and absent figures."""
    specs = [
        *(spec(*cell, replicate) for cell in STEP_MS for replicate in range(3)),
        spec("bf16", 16, 0),
        spec("fp8", 16, 0),
    ]
    runs = [
        *(finished(cell, replicate) for cell in STEP_MS for replicate in range(3)),
        broken(spec("bf16", 16, 0)),
    ]
    skipped = Skipped(
        cell={"precision": "fp8", "batch_size": 32}, reason="excluded by the scenario"
    )
    plan = Plan(
        scenario=SCENARIO.scenario,
        profile=Profile.CPU,
        runs=tuple(specs),
        skipped=(skipped,),
        estimate=None,
        changed=False,
    )
    return ScenarioReport(
        scenario=SCENARIO,
        profile=Profile.CPU,
        workload=WORKLOAD,
        metrics={metric.name: metric for metric in METRICS},
        runs=tuple(reversed(runs)),  # the sweep decides the order of rows, not the store
        ledger=LEDGER,
        verdicts=VERDICTS,
        plan=plan,
    )


def spec(precision: str, batch_size: int, replicate: int) -> RunSpec:
    return RunSpec(
        scenario=SCENARIO.scenario,
        profile=Profile.CPU,
        workload=WORKLOAD.name,
        params={"precision": precision, "batch_size": batch_size, "seq_len": 1024},
        axes=("precision", "batch_size"),
        seed=replicate,
        replicate=replicate,
        image=IMAGE,
        source="5eed" * 16,
    )


def finished(cell: tuple[str, int], replicate: int) -> FinishedRun:
    return FinishedRun(
        spec=spec(*cell, replicate),
        outcome=RunOutcome(
            status=Status.FINISHED,
            runtime="docker",
            device="Cortex-A725 + Cortex-X925",
            usage=Usage(wall_s=12.5),
            exit_code=0,
            started_at=f"2026-05-0{replicate + 1}T09:18:13+00:00",
        ),
        measurements=tuple(measurements(*cell, replicate)),
        environment=ENVIRONMENT,
    )


def measurements(precision: str, batch_size: int, replicate: int) -> Iterator[Measurement]:
    step_ms = STEP_MS[precision, batch_size][replicate]
    tokens = batch_size * 1024
    yield Measurement(metric="step_time.mean", value=step_ms, unit="ms", count=25)
    yield Measurement(metric="throughput", value=tokens / step_ms * 1000, unit="token/s")
    yield Measurement(metric="memory.peak", value=2.043 + 0.00144 * tokens, unit="GiB")
    yield Measurement(metric="parameters", value=354_601_984, unit="parameter")
    if (precision, batch_size, replicate) == ("fp8", 4, 2):
        yield Measurement(metric="fits", value=None, unit="flag", absent="not supported")
    else:
        yield Measurement(metric="fits", value=True, unit="flag")
    for step in (0, 10, 20):
        loss = 11.03 - 0.1 * step / batch_size + 0.01 * replicate
        diverged = (precision, batch_size, step) == ("fp8", 2, 20)
        yield Measurement(
            metric="loss",
            value=None if diverged else loss,
            unit="nat",
            where={"step": step},
            absent="nan" if diverged else "",
        )


def broken(of: RunSpec) -> FinishedRun:
    return FinishedRun(
        spec=of,
        outcome=RunOutcome(
            status=Status.OUT_OF_MEMORY,
            runtime="docker",
            device="unknown",
            usage=Usage(wall_s=3.0),
            exit_code=137,
            cause=CAUSE,
            log_tail=("Traceback (most recent call last):", '  File "loop.py", line 12', "Killed"),
            started_at="2026-05-01T09:30:00+00:00",
        ),
        measurements=(),
        environment=ENVIRONMENT,
    )


LEDGER = Expectations.model_validate(
    {
        "scenario": "a19-envelope",
        "expectations": [
            {
                "id": "parameters",
                "metric": "parameters",
                "unit": "parameter",
                "class": "arithmetic",
                "kind": "exact",
                "claimed": {"value": 354_600_000, "quantum": 100_000},
                "derived": 354_601_984,
                "expect": {"value": 354_601_984},
                "source": "article 19, section 'The model'",
            },
            {
                "id": "memory.b8",
                "metric": "memory.peak",
                "where": {"precision": "bf16", "batch_size": 8},
                "unit": "GiB",
                "class": "invariant",
                "kind": "bound",
                "claimed": 13.8,
                "recorded": 13.83,
                "expect": {"value": 13.83, "rel": 0.02},
                "reason": "allocator rounding",
                "source": "article 19, section 'The sweep'",
            },
            {
                "id": "memory.slope",
                "metric": "memory.peak",
                "unit": "GiB",
                "class": "invariant",
                "kind": "bound",
                "claimed": 1.5,
                "derived": 1536.0,
                "diverges": "the article writes KiB for MiB",
                "expect": {"low": 1.0},
                "reason": "direction only",
                "source": "article 19, section 'Memory'",
                "note": "the slope is per token",
            },
            {
                "id": "throughput.peak",
                "metric": "throughput",
                "where": {"precision": "fp8", "batch_size": 16},
                "unit": "token/s",
                "class": "device",
                "kind": "bound",
                "claimed": 14_266.0,
                "recorded": 14_265.7,
                "expect": {"value": 14_265.7, "rel": 0.05},
                "binds": {"profile": ["spark"], "device": "NVIDIA GB10"},
                "reason": "spread of repeated runs on one box",
                "source": "article 19, section 'The sweep'",
            },
            {
                "id": "fp8.faster",
                "metric": "throughput",
                "where": {"precision": "fp8"},
                "unit": "token/s",
                "class": "qualitative",
                "kind": "ordering",
                "expect": {"than": {"metric": "throughput", "where": {"precision": "bf16"}}},
                "source": "article 19, section 'The sweep'",
            },
            {
                "id": "loss.first",
                "metric": "loss",
                "where": {"step": 0},
                "unit": "nat",
                "class": "invariant",
                "kind": "bound",
                "claimed": 11.5,
                "recorded": 11.03,
                "expect": {"value": 11.5, "abs": 0.05},
                "reason": "spread over seeds",
                "source": "article 19, section 'Loss'",
            },
        ],
    }
)
VERDICTS = (
    Verdict(
        expectation="parameters",
        kind=VerdictKind.REPRODUCED,
        metric="parameters",
        expected="354,601,984 parameter",
        measured="354,601,984 parameter",
        claim=VerdictKind.REPRODUCED,
    ),
    Verdict(
        expectation="memory.b8",
        kind=VerdictKind.RUN_FAILED,
        metric="memory.peak",
        where={"precision": "bf16", "batch_size": 8},
        expected="13.83 GiB ± 2 %",
        detail="1 of 4 runs broke: out-of-memory",
        claim=VerdictKind.REPRODUCED,
    ),
    Verdict(
        expectation="memory.slope",
        kind=VerdictKind.MISSING,
        metric="memory.peak",
        expected="1 GiB or more",
        claim=VerdictKind.ARTICLE_DIFFERS,
        claim_detail="claimed 1.5, derived 1536.0: the article writes KiB for MiB",
    ),
    Verdict(
        expectation="throughput.peak",
        kind=VerdictKind.OTHER_PROFILE,
        metric="throughput",
        where={"precision": "fp8", "batch_size": 16},
        expected="14,265.7 token/s ± 5 %",
        detail="binds on the spark profile and NVIDIA GB10",
        claim=VerdictKind.REPRODUCED,
    ),
    Verdict(
        expectation="fp8.faster",
        kind=VerdictKind.INCONCLUSIVE,
        metric="throughput",
        where={"precision": "fp8"},
        expected="above bf16",
        measured="2 of 3 pairs",
        detail="3 pairs tell 12 % apart",
        sees="a change of 12 %",
    ),
    Verdict(
        expectation="loss.first",
        kind=VerdictKind.OUTSIDE,
        metric="loss",
        where={"step": 0},
        expected="11.5 nat ± 0.05",
        measured="11.04 nat",
        detail="0.46 nat below",
        claim=VerdictKind.OUTSIDE,
        claim_detail="claimed 11.5, recorded 11.03: the entry does not declare this",
    ),
)
