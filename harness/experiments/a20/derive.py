"""From the steps of a data-path run to its figures. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from harness.experiments.a20.params import PathParams, where_of
from harness.records import Event, Measurement, RunSpec, Scalar
from harness.statistics import ALPHA, sample, t_quantile
from harness.workloads.api.declare import build
from harness.workloads.api.registry import workload
from harness.workloads.training.pretrain_metrics import (
    only,
    optimizer_figures,
    unaccounted,
    why_unfit,
)
from harness.workloads.training.pretrain_params import EnvelopeParams

_MS_PER_S = 1e3
Values = Mapping[str, float]


def path(spec: RunSpec, events: Sequence[Event]) -> Iterator[Measurement]:
    """Yield the figures of every configuration, and what the rows of the token table change."""
    params: PathParams = build(workload(spec.workload).params, spec.params)
    # the event writer keeps a value that is not finite as text, which float() reads again
    steps = [
        {name: float(value) for name, value in event.payload["values"].items()}
        for event in events
        if event.kind == "step"
    ]
    # why configurations were not trained to their end, by their row keys
    reasons = {"cell.fits": (False, "not tried: too large by the memory law")}
    reasons["cell.out_of_memory"] = (True, "out of memory")
    refused = {}
    for event in events:
        payload = event.payload
        if event.kind == "measured" and payload["metric"] in reasons:
            bad, reason = reasons[payload["metric"]]
            if payload["value"] is bad:
                refused[_key(payload["where"])] = reason
    for number, cell in enumerate(params.cells):
        where = where_of(cell)
        mine = [step for step in steps if step.get("cell") == number]
        why = refused.get(_key(where), "")
        for metric, unit, value, count, absent in _cell(cell, mine, why):
            yield Measurement(
                metric=metric, value=value, unit=unit, where=where, count=count, absent=absent
            )
        yield from optimizer_figures(mine, where)
    yield from _tables(params, [step for step in steps if "vocab_size" in step])


Figure = tuple[str, str, float | None, int, str]  # metric, unit, value, count, why it is absent


def _cell(cell: EnvelopeParams, steps: Sequence[Values], why: str) -> Iterator[Figure]:
    """Yield the figures of one configuration; `why` it was not trained to its end, if so.

    First it takes steps that wait for their batch, as article 20 measures them, then steps whose
    batches are made while others run.
    """
    waiting = [step for step in steps if not step["overlapped"]]
    ahead = [step for step in steps if step["overlapped"]]
    why = why or why_unfit([step["loss"] for step in waiting], cell.max_steps)
    first = waiting[0]["loss"] if waiting and math.isfinite(waiting[0]["loss"]) else None
    last = None if why else waiting[-1]["loss"]
    fall = None if first is None or last is None else first - last
    yield "loss.first", "nat", first, 1, "" if first is not None else why
    yield "loss.last", "nat", last, 1, why
    yield "loss.fall", "nat", fall, 1, why

    timed = waiting[cell.warmup_steps :]
    step_s, data_s = (0.0, 0.0) if why else _means(timed, "step_s", "data_s")
    tokens = only(step["tokens"] for step in steps) or math.nan
    for metric, unit, value in (
        ("step_time.mean", "ms", step_s * _MS_PER_S),
        ("tokens_per_second", "token/s", _per(tokens, step_s)),
        ("data.time", "ms", data_s * _MS_PER_S),
        ("data.overhead", "%", 100 * _per(data_s, step_s)),
        ("tokens_per_second.with_data", "token/s", _per(tokens, step_s + data_s)),
    ):
        yield metric, unit, None if why else value, max(1, len(timed)), why

    why = why or why_unfit([step["loss"] for step in ahead], cell.max_steps)
    timed = ahead[cell.warmup_steps :]
    step_s, wait_s = (0.0, 0.0) if why else _means(timed, "step_s", "data_s")
    elapsed_s = 0.0 if why else ahead[-1]["at_s"] - ahead[cell.warmup_steps - 1]["at_s"]
    for metric, unit, value in (
        ("data.wait", "ms", wait_s * _MS_PER_S),
        ("data.wait_share", "%", 100 * _per(wait_s, step_s)),
        ("tokens_per_second.overlapped", "token/s", _per(tokens * len(timed), elapsed_s)),
    ):
        yield metric, unit, None if why else value, max(1, len(timed)), why
    repeated = sum(len(some) - len({step["batch"] for step in some}) for some in (waiting, ahead))
    yield "batches.repeated", "count", None if why else repeated, len(steps), why
    yield "batches.tokens", "token", None if why else tokens, len(steps), why
    yield "step_time.unaccounted", "%", None if why else unaccounted(waiting), len(steps), why


def _tables(params: PathParams, steps: Sequence[Values]) -> Iterator[Measurement]:
    """Yield throughput and its ratio to the base's, round by round, of each number of rows.

    The two of a ratio were run within the same seconds, so a drift of the machine is in both.
    """
    by_rows = {rows: _rounds(params, steps, rows) for rows in params.vocab_sizes}
    whole = all(len(taken) == params.ab_rounds for taken in by_rows.values())
    absent = "" if whole else "not all rounds were run"
    base = by_rows[params.vocab_sizes[0]]
    for rows, taken in by_rows.items():
        where: dict[str, Scalar] = {"vocab_size": rows}
        figures = [("table.tokens_per_second", "token/s", fmean(taken) if whole else None)]
        if rows != params.vocab_sizes[0]:
            ratios = [one / other for one, other in zip(taken, base, strict=False)]
            names = ("table.ratio", "table.ratio_low", "table.ratio_high")
            mean: float | None = None
            low: float | None = None
            high: float | None = None
            if whole:
                seen = sample(ratios)
                half = t_quantile(1 - ALPHA / 2, seen.count - 1) * seen.standard_error
                mean, low, high = seen.mean, seen.mean - half, seen.mean + half
            figures += [
                (name, "x", value) for name, value in zip(names, (mean, low, high), strict=True)
            ]
        for metric, unit, value in figures:
            yield Measurement(
                metric=metric, value=value, unit=unit, where=where, count=len(taken), absent=absent
            )


def _rounds(params: PathParams, steps: Sequence[Values], rows: int) -> list[float]:
    """Return the throughput of each whole round, tokens a second."""
    tokens = params.round_batch_size * params.round_seq_len
    found = []
    for number in range(params.ab_rounds):
        turn = [s["step_s"] for s in steps if s["vocab_size"] == rows and s["round"] == number]
        if len(turn) == params.steps_per_round:
            found.append(tokens / fmean(turn[1:]))
    return found


def _key(where: Mapping[str, Scalar]) -> frozenset[tuple[str, Scalar]]:
    return frozenset(where.items())


def _means(steps: Sequence[Values], *names: str) -> list[float]:
    return [fmean(step[name] for step in steps) for name in names]


def _per(one: float, other: float) -> float:
    return one / other if other else 0.0
