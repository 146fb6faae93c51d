"""How figures and conditions are written in verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.records import Scalar
from harness.scenario import expectations as ledger
from harness.statistics import Interval, Proportion, design_effect, wilson
from harness.workloads.api import registry
from harness.workloads.api.declare import defaults_of

_UNWRITTEN = {"1", "text", "flag"}  # units that are not shown beside the figure
_EXACT_LIMIT = 1e15  # whole numbers below it are exact in a float
_DIGITS = 6


def number(value: float) -> str:
    """Return a number: whole ones in full, others to six digits."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < _EXACT_LIMIT:
        return f"{int(value):,}"
    if 1 <= abs(value) < _EXACT_LIMIT:
        decimals = max(0, _DIGITS - len(str(int(abs(value)))))
        text = f"{value:,.{decimals}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.{_DIGITS}g}"


def figure(value: Scalar, unit: str) -> str:
    """Return a figure with its unit."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, str):
        return str(value)
    return number(value) if unit in _UNWRITTEN else f"{number(value)} {unit}"


def percent(share: float) -> str:
    """Return a share as a percentage."""
    return f"{number(100 * share)} %"


def keys(values: Mapping[str, object]) -> str:
    """Return ``batch_size=8 checkpoint=50``."""
    return " ".join(f"{key}={value}" for key, value in values.items())


def several(names: Sequence[str], limit: int = 3) -> str:
    """Return the first few of a list, and how many there are in all."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def cell(chosen: ledger.Cell) -> str:
    """Return a metric and the cell it is taken in."""
    return f"{chosen.metric} at {keys(chosen.where)}" if chosen.where else chosen.metric


def span(values: Sequence[float], unit: str) -> str:
    """Return the range of some figures, or the figure that all are."""
    low, high = min(values), max(values)
    return figure(low, unit) if low == high else f"{number(low)} .. {figure(high, unit)}"


def interval(accepted: Interval, unit: str) -> str:
    """Return an interval, one- or two-sided."""
    if accepted.low == -math.inf:
        return f"<= {figure(accepted.high, unit)}"
    if accepted.high == math.inf:
        return f">= {figure(accepted.low, unit)}"
    return f"{number(accepted.low)} .. {figure(accepted.high, unit)}"


def proportion(seen: Proportion, target: ledger.ProportionTarget) -> str:
    """Return ``11 of 158 (6.96 %, Wilson 95 % 3.93 .. 12.1 %)``; of trials in clusters, theirs."""
    reach = wilson(seen, target.alpha, effect(seen, target))
    level = f"Wilson {100 * (1 - target.alpha):g} %"
    level += f" over {target.clusters} tasks" if target.clusters is not None else ""
    span = f"{100 * reach.low:.3g} .. {100 * reach.high:.3g} %"
    return f"{seen.successes} of {seen.trials} ({100 * seen.rate:.3g} %, {level} {span})"


def effect(seen: Proportion, target: ledger.ProportionTarget) -> float:
    """Return the design effect of a sample whose trials share the clusters of the target."""
    if target.clusters is None or target.icc is None:
        return 1.0
    return design_effect(seen.trials / target.clusters, target.icc)


def expected(entry: ledger.Expectation) -> str:  # noqa: C901 - a case a kind
    """Return what an entry expects, with its tolerance and unit."""
    unit = entry.unit
    match entry:
        case ledger.ExactEntry():
            return figure(entry.expect.value, unit)
        case ledger.BoundEntry():
            return _tolerance(entry.expect, unit)
        case ledger.RatioEntry():
            return f"{_tolerance(entry.expect, unit)} of {cell(entry.expect.to)}"
        case ledger.OrderingEntry():
            better = "at least as good as" if entry.expect.or_equal else "better than"
            margin = f" by {figure(entry.expect.margin, unit)}" if entry.expect.margin else ""
            return f"{better} {cell(entry.expect.than)}{margin}"
        case ledger.ProportionEntry() if entry.expect.constant is not None:
            margin = percent(entry.expect.margin or 0.0)
            return f"not better than {percent(entry.expect.constant)} by {margin}"
        case ledger.ProportionEntry():
            return proportion(reference(entry), entry.expect)
        case ledger.TrajectoryEntry():
            return _trajectory(entry)
        case ledger.LawEntry():
            return _law(entry)
        case ledger.EquivalenceEntry():
            return f"{number(entry.expect.value)} ± {figure(entry.expect.margin, unit)} (TOST)"
        case ledger.NoninferiorityEntry():
            margin = figure(entry.expect.margin, unit)
            return f"not worse than {number(entry.expect.value)} by {margin}"
        case ledger.Reported() | ledger.ArithmeticEntry():
            return ""


def reference(entry: ledger.ProportionEntry) -> Proportion:
    """Return the proportion that an entry expects, which states no constant."""
    target = entry.expect
    assert target.successes is not None, "checked when it was loaded"
    assert target.trials is not None, "checked when it was loaded"
    return Proportion(successes=target.successes, trials=target.trials)


def _trajectory(entry: ledger.TrajectoryEntry) -> str:
    target, unit = entry.expect, entry.unit
    bounds = f"each within {number(target.max_abs)}, mean within {figure(target.mean_abs, unit)}"
    return f"{len(target.points)} points along {target.key}, {bounds}"


def _tolerance(tolerance: ledger.Tolerance, unit: str) -> str:
    if tolerance.value is None:
        low, high = tolerance.interval
        return interval(Interval(low=low, high=high), unit)
    has_noise = isinstance(tolerance, ledger.BoundTarget) and tolerance.noise is not None
    test = " (TOST)" if has_noise else ""
    if tolerance.rel is not None:
        return f"{figure(tolerance.value, unit)} ± {percent(tolerance.rel)}{test}"
    return f"{number(tolerance.value)} ± {figure(tolerance.abs, unit)}{test}"


def _law(entry: ledger.LawEntry) -> str:
    target = entry.expect
    if target.law in LAWS:
        text = LAWS[target.law](target.params, entry.unit)
    else:
        declared = registry.law(target.law)
        assert declared is not None
        text = declared.doc.format_map({**defaults_of(declared.params), **target.params})
    allowed = [percent(target.rel)] if target.rel is not None else []
    allowed += [figure(target.abs, entry.unit)] if target.abs is not None else []
    if target.law in _COMPARISONS:
        return f"{text} (slack {' or '.join(allowed)})" if allowed else text
    return " within ".join([text, *allowed])


def _every_cell(params: Mapping[str, Any], unit: str) -> str:
    low, high = params.get("low"), params.get("high")
    accepted = Interval(
        low=-math.inf if low is None else low, high=math.inf if high is None else high
    )
    return f"every cell {interval(accepted, unit)}"


def _below(params: Mapping[str, Any], unit: str) -> str:
    text = f"below {params['than']}"
    return f"{text} by more than {figure(params['by'], unit)}" if params.get("by") else text


def _paired(params: Mapping[str, Any], unit: str) -> str:
    low, high = params.get("low"), params.get("high")
    accepted = Interval(
        low=-math.inf if low is None else low, high=math.inf if high is None else high
    )
    return f"mean difference to {keys(params['cell'])} {interval(accepted, unit)}"


def _line(params: Mapping[str, Any], _unit: str) -> str:
    over, least = " x ".join(params["over"]), params.get("least")
    text = f"{params['coefficient']} {number(params['value'])} of the line over {over}"
    return text if least is None else f"{text} from {number(least)}"


# each law that no workload declares in words, from the params that the ledger gives it
LAWS: dict[str, Callable[[Mapping[str, Any], str], str]] = {
    "all_cells": _every_cell,
    "best_cell": lambda params, _: f"{params['extreme']} at {keys(params['cell'])}",
    "falls": _below,
    "linear_fit": _line,
    "monotone": lambda params, _: f"{params['direction']} along {params['along']}",
    "paired_mean": _paired,
    "plateau": lambda params, _: f"flat along {params['along']} from {number(params['start'])}",
}
_COMPARISONS = frozenset({"best_cell", "monotone"})  # the tolerance is not a distance to a figure
