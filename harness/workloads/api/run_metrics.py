"""Metrics recorded for every run: usage, power, temperature."""

from __future__ import annotations

from harness.workloads.api.declare import Better, Metric

USAGE_METRICS = (
    Metric(
        name="run.wall_time",
        unit="s",
        doc="wall clock of the run's process",
        better=Better.LOWER,
        timing=True,
    ),
    Metric(
        name="run.cpu_time",
        unit="s",
        doc="user and system time of the process and its reaped children",
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

TELEMETRY_METRICS = (
    Metric(
        name="power.mean",
        unit="W",
        doc="mean power of one rail over the run, from the samples; cpu: from its counter",
        better=Better.LOWER,
        timing=True,
    ),
    Metric(
        name="power.peak",
        unit="W",
        doc="highest sample of one rail's power; for the cpu the highest mean over >= 0.1 s",
        better=Better.LOWER,
        timing=True,
    ),
    Metric(
        name="energy",
        unit="Wh",
        doc="energy of one rail: the device's counter, else the trapezoid rule over the samples",
        better=Better.LOWER,
        timing=True,
    ),
    Metric(
        name="temperature.peak",
        unit="degC",
        doc="highest temperature of the GPU, and of the hottest thermal zone of the host",
        better=Better.LOWER,
        timing=True,
    ),
    Metric(
        name="memory.host_peak",
        unit="GiB",
        doc="peak memory in use on the whole machine: MemTotal - MemAvailable",
        better=Better.LOWER,
        timing=True,
    ),
    Metric(
        name="memory.processes_peak",
        unit="GiB",
        doc="peak resident memory of the process tree; shared pages count once per process",
        better=Better.LOWER,
        timing=True,
    ),
    Metric(
        name="gpu.utilisation_mean",
        unit="%",
        doc="mean share of time with a kernel running, over the samples",
        timing=True,
    ),
)

RUN_METRICS = (*USAGE_METRICS, *TELEMETRY_METRICS)
