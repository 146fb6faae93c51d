"""From the steps that a cell wrote to its figures. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness.records import Event, Measurement, RunSpec, Scalar
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
    yield from optimizer_figures(values)
    reason = why_unfit(losses, params.max_steps)
    for metric, unit, value in (
        ("batches.distinct", "count", len({each["batch"] for each in values})),
        ("batches.tokens", "token", only(each["tokens"] for each in values)),
        ("step_time.unaccounted", "%", unaccounted(values)),
    ):
        found = None if reason else value
        yield Measurement(metric=metric, value=found, unit=unit, absent=reason)
    if reason:
        yield Measurement(metric="step_time.mean", value=None, unit="ms", absent=reason)
        yield Measurement(metric="tokens_per_second", value=None, unit="token/s", absent=reason)
        return
    timed = [float(each["step_s"]) for each in values[params.warmup_steps :]]
    mean_s, count = math.fsum(timed) / len(timed), len(timed)
    throughput = (
        math.fsum(each["tokens"] for each in values[params.warmup_steps :]) / count / mean_s
    )
    yield Measurement(metric="step_time.mean", value=mean_s * _MS_PER_S, unit="ms", count=count)
    yield Measurement(metric="tokens_per_second", value=throughput, unit="token/s", count=count)


Values = Mapping[str, Any]  # of one step's event


def optimizer_figures(
    steps: Sequence[Values], where: Mapping[str, Scalar] | None = None
) -> Iterator[Measurement]:
    """Yield what the optimizer held while the steps were taken."""
    largest = max((each["learning_rate"] for each in steps), default=None)
    figures = {"optimizer.learning_rate": largest}
    for name in ("weight_decay", "beta1", "beta2"):
        figures[f"optimizer.{name}"] = only(each[name] for each in steps)
    for metric, value in figures.items():
        absent = "" if value is not None else "no step, or another value in each"
        yield Measurement(metric=metric, value=value, unit="1", where=where or {}, absent=absent)


def only(values: Iterable[float]) -> float | None:
    """Return the one value that all are; None where they differ, or there is none."""
    found = set(values)
    return found.pop() if len(found) == 1 else None


def unaccounted(steps: Sequence[Values]) -> float:
    """Return the share of the steps' time that neither batch nor timed window covers, %.

    A window that leaves part of the step out, or is counted short, leaves it here.
    """
    whole_s = math.fsum(each["whole_s"] for each in steps)
    covered_s = math.fsum(each["step_s"] + each["batch_s"] for each in steps)
    return 100 * (whole_s - covered_s) / whole_s if whole_s else 0.0


def why_unfit(losses: Sequence[float], num_steps: int) -> str:
    """Return why steps have no throughput: a loss that is not finite, or an early end."""
    for index, loss in enumerate(losses):
        if not math.isfinite(loss):
            return f"loss is {loss} at step {index}"
    if len(losses) < num_steps:
        return f"stopped after {len(losses)} of {num_steps} steps"
    return ""
