"""A workload that does nothing: what the harness itself costs, and what its tests run."""

from __future__ import annotations

import os
import time

from harness.records import record
from harness.workloads.api.context import Context
from harness.workloads.api.declare import Metric, Workload, param


@record
class NoopParams:
    """Parameters of the workload that does nothing."""

    value: float = param(0.0, doc="the figure to report")
    sleep_s: float = param(0.0, doc="how long to wait before reporting it", unit="s", low=0.0)
    exit_code: int = param(0, doc="exit with this code after reporting", low=0, high=255)
    index: int = param(0, doc="an axis to sweep over")


WORKLOADS = (
    Workload(
        name="noop",
        doc="report the value it is given",
        params=NoopParams,
        metrics=(Metric(name="noop.value", unit="1", doc="the value given"),),
        entry="harness.workloads.noop:run",
    ),
)


def run(context: Context) -> None:
    """Report ``params.value``; exit with ``params.exit_code``."""
    context.emit.started("no device")
    time.sleep(context.params.sleep_s)
    context.emit.measured("noop.value", context.params.value)
    if context.params.exit_code:
        os._exit(context.params.exit_code)
