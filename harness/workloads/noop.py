"""A workload that does nothing: what the harness itself costs, and what its tests run."""

from __future__ import annotations

import json
import os
import random
import time

from harness.reading import read_json
from harness.records import record
from harness.workloads.api.context import Context
from harness.workloads.api.declare import Metric, Workload, param
from harness.workloads.api.passes import passes


@record
class NoopParams:
    """Parameters of the workload that does nothing."""

    value: float = param(0.0, doc="the figure to report")
    sleep_s: float = param(0.0, doc="how long to wait before reporting it", unit="s", low=0.0)
    exit_code: int = param(0, doc="exit with this code after reporting", low=0, high=255)
    index: int = param(0, doc="an axis to sweep over")
    steps: int = param(0, doc="steps that are kept, each reading the one before", low=0)
    step_s: float = param(0.0, doc="how long each of them takes", unit="s", low=0.0)


WORKLOADS = (
    Workload(
        name="noop",
        doc="report the value it is given",
        params=NoopParams,
        metrics=(
            Metric(name="noop.value", unit="1", doc="the value given"),
            Metric(name="noop.walk", unit="count", doc="where a step of a random walk has come"),
        ),
        entry="harness.workloads.noop:run",
    ),
)


def run(context: Context) -> None:
    """Report ``params.value``; exit with ``params.exit_code``."""
    context.emit.started("no device")
    time.sleep(context.params.sleep_s)
    _walk(context)
    context.emit.measured("noop.value", context.params.value)
    if context.params.exit_code:
        os._exit(context.params.exit_code)


def _walk(context: Context) -> None:
    """Go one step after the other, each from where the one before has come to."""
    params, here, reads = context.params, 0, dict[str, str]()
    for number in passes(range(1, params.steps + 1), "walk"):
        with context.steps.step(
            f"walk-{number}",
            decides={"number": number, "value": params.value, "seed": context.spec.seed},
            reads=reads,
            code=(__name__,),
            portable=True,
        ) as step:
            if step.is_new:
                chance = random.Random(f"{context.spec.seed} {number} {here}")  # noqa: S311 - no secret
                time.sleep(params.step_s)
                here += chance.randint(1, 1_000_000)
                (step.folder / "here.json").write_text(json.dumps(here), encoding="utf-8")
                context.emit.measured("noop.walk", here, where={"step": number})
        here = read_json((step.folder / "here.json").read_bytes())
        reads = {"before": step.digest()}
