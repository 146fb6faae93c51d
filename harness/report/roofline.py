"""How far a throughput is from what the machine could do that night.

The limit is the rate of matrix products that the probes around the run have measured, so it falls
with the machine: a run of a warm evening and one of a cold morning come to the same share.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib import import_module
from statistics import median

from harness.records import FinishedRun, Measurement, Profile, RunSpec
from harness.report.readings import RunValues
from harness.workloads.api.declare import Metric, build
from harness.workloads.api.registry import workload

_TERA = 1e12
_PERCENT = 100.0


@cache
def share_of(metric: Metric) -> Metric:
    """Return the figure that says how much of the machine's limit a throughput is."""
    return replace(
        metric,
        name=f"{metric.name}.of_limit",
        unit="%",
        doc=f"{metric.name} of what it would be at the probed rate of matrix products",
        flop="",
        resolution=None,
    )


def shares(run: FinishedRun, found: RunValues) -> RunValues:
    """Return the shares of a run's throughputs; none where the machine was not probed.

    Nor are there any of an article's published throughputs: another machine came to them. The
    formula is that of the run's own workload, as another one of the same scenario may measure a
    throughput of the same name with other params.

    Args:
        run: the run.
        found: those of its measurements that are shown.
    """
    host = run.outcome.host
    rates = [each.matmul_tflop_s for each in host.probes] if host is not None else []
    known = [rate for rate in rates if rate]
    if not known or run.spec.profile is Profile.EVIDENCE:
        return {}
    metrics = workload(run.spec.workload).metrics
    declared = {each.name: each for each in metrics if each.flop}
    result = {}
    for (name, where), each in found.items():
        if name in declared and isinstance(each.value, int | float):
            metric = share_of(declared[name])
            flop_s = each.value * _flop_of(declared[name].flop, run.spec)
            share = _PERCENT * flop_s / (median(known) * _TERA)
            result[metric.name, where] = Measurement(
                metric=metric.name, value=share, unit=metric.unit, where=each.where
            )
    return result


def _flop_of(formula: str, spec: RunSpec) -> float:
    module, _, function = formula.partition(":")
    params = build(workload(spec.workload).params, spec.params)
    return float(getattr(import_module(module), function)(params))
