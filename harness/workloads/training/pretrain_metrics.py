"""From the steps that a cell wrote to its figures. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from harness.records import Event, Measurement, RunSpec, record
from harness.workloads.api.declare import build
from harness.workloads.api.registry import workload
from harness.workloads.training.pretrain_params import CellParams

_MS_PER_S = 1e3


@record
class _Step:
    loss: float
    step_s: float


def cell(spec: RunSpec, events: Sequence[Event]) -> Iterator[Measurement]:
    """Yield step time, throughput and losses of one cell.

    A cell whose steps are not all there, or one of whose losses is no number, has no throughput:
    what it did fast was not training.
    """
    params: CellParams = build(workload(spec.workload).params, spec.params)
    steps = [_step(event.payload["values"]) for event in events if event.kind == "step"]
    yield from _losses(steps, params.steps)
    reason = _why_unfit(steps, params.steps)
    if reason:
        yield Measurement(metric="step_time.mean", value=None, unit="ms", absent=reason)
        yield Measurement(metric="throughput", value=None, unit="token/s", absent=reason)
        return
    timed = [step.step_s for step in steps[params.warmup_steps :]]
    mean_s, count = math.fsum(timed) / len(timed), len(timed)
    throughput = params.tokens_per_step / mean_s
    yield Measurement(metric="step_time.mean", value=mean_s * _MS_PER_S, unit="ms", count=count)
    yield Measurement(metric="throughput", value=throughput, unit="token/s", count=count)


def _losses(steps: Sequence[_Step], num_steps: int) -> Iterator[Measurement]:
    first = steps[0].loss if steps else None
    last = steps[-1].loss if len(steps) == num_steps else None
    fall = first - last if first is not None and last is not None else None
    stopped = _why_stopped(steps, num_steps)
    for metric, value in (("loss.first", first), ("loss.last", last), ("loss.fall", fall)):
        if value is None:
            yield Measurement(metric=metric, value=None, unit="nat", absent=stopped)
        elif math.isfinite(value):
            yield Measurement(metric=metric, value=value, unit="nat")
        else:
            yield Measurement(metric=metric, value=None, unit="nat", absent=str(value))


def _why_unfit(steps: Sequence[_Step], num_steps: int) -> str:
    broken = [index for index, step in enumerate(steps) if not math.isfinite(step.loss)]
    if broken:
        return f"loss is {steps[broken[0]].loss} at step {broken[0]}"
    return _why_stopped(steps, num_steps)


def _why_stopped(steps: Sequence[_Step], num_steps: int) -> str:
    return "" if len(steps) == num_steps else f"stopped after {len(steps)} of {num_steps} steps"


def _step(values: dict[str, Any]) -> _Step:
    # the event writer keeps a value that is not finite as text, which float() reads again
    return _Step(loss=float(values["loss"]), step_s=float(values["step_s"]))
