"""From the steps that a cell wrote to its figures. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from harness.records import Event, Measurement, RunSpec
from harness.workloads.api.declare import build
from harness.workloads.api.registry import workload
from harness.workloads.training.pretrain_params import CellParams

_MS_PER_S = 1e3


def cell(spec: RunSpec, events: Sequence[Event]) -> Iterator[Measurement]:
    """Yield step time, throughput and losses of one cell.

    A cell with missing steps, or with a loss that is not finite, has no throughput: it did not
    train.
    """
    params: CellParams = build(workload(spec.workload).params, spec.params)
    values = [event.payload["values"] for event in events if event.kind == "step"]
    # the event writer keeps a value that is not finite as text, which float() reads again
    losses = [float(each["loss"]) for each in values]
    first = losses[0] if losses else None
    last = losses[-1] if len(losses) == params.max_steps else None
    fall = first - last if first is not None and last is not None else None
    for metric, value in (("loss.first", first), ("loss.last", last), ("loss.fall", fall)):
        if value is None:
            stopped = f"stopped after {len(losses)} of {params.max_steps} steps"
            yield Measurement(metric=metric, value=None, unit="nat", absent=stopped)
        elif math.isfinite(value):
            yield Measurement(metric=metric, value=value, unit="nat")
        else:
            yield Measurement(metric=metric, value=None, unit="nat", absent=str(value))
    if reason := why_unfit(losses, params.max_steps):
        yield Measurement(metric="step_time.mean", value=None, unit="ms", absent=reason)
        yield Measurement(metric="tokens_per_second", value=None, unit="token/s", absent=reason)
        return
    timed = [float(each["step_s"]) for each in values[params.warmup_steps :]]
    mean_s, count = math.fsum(timed) / len(timed), len(timed)
    throughput = params.tokens_per_step / mean_s
    yield Measurement(metric="step_time.mean", value=mean_s * _MS_PER_S, unit="ms", count=count)
    yield Measurement(metric="tokens_per_second", value=throughput, unit="token/s", count=count)


def why_unfit(losses: Sequence[float], num_steps: int) -> str:
    """Return why steps have no throughput: a loss that is not finite, or an early end."""
    for index, loss in enumerate(losses):
        if not math.isfinite(loss):
            return f"loss is {loss} at step {index}"
    if len(losses) < num_steps:
        return f"stopped after {len(losses)} of {num_steps} steps"
    return ""
