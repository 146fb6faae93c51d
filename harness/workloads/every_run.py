"""Metrics that every run has, whatever its workload: what the operating system says it used."""

from __future__ import annotations

from harness.workloads.declare import Better, Metric

USAGE_METRICS = (
    Metric(
        name="run.wall_time",
        unit="s",
        doc="from the start of the process to its end",
        better=Better.LOWER,
        timing=True,
    ),
    Metric(
        name="run.cpu_time",
        unit="s",
        doc="user and system time of the process and the children it waited for",
        better=Better.LOWER,
        timing=True,
    ),
    Metric(
        name="run.peak_rss",
        unit="GiB",
        doc="largest resident set of any one process of the run",
        better=Better.LOWER,
        timing=True,
    ),
)
