"""When a number is accepted: closed intervals, never narrower than the metric can resolve."""

from __future__ import annotations

import math

from harness.scenario.expectations import Tolerance
from harness.statistics import Interval

# what writing numbers in decimal and converting units may lose; far below any stated tolerance
ROUND_OFF = 1e-12


def accepts(interval: Interval, value: float) -> bool:
    """Return whether `value` is in `interval`, ends included; NaN and infinities never do."""
    return math.isfinite(value) and shortfall(interval, value) <= slack(interval, value)


def shortfall(interval: Interval, value: float) -> float:
    """Return how far `value` is outside `interval`; negative inside, by the nearer end."""
    return max(interval.low - value, value - interval.high)


def slack(interval: Interval, value: float) -> float:
    """Return the round-off that is forgiven, in the unit of the figures."""
    ends = [abs(end) for end in (interval.low, interval.high) if math.isfinite(end)]
    return ROUND_OFF * max(abs(value), *ends, 0.0)


def accepted(tolerance: Tolerance, resolution: float = 0.0) -> Interval:
    """Return the accepted interval.

    A metric that moves in steps of `resolution` cannot come closer than one step, so an interval
    reaches at least one step to either side of its middle.
    """
    low, high = tolerance.interval
    widen = max(0.0, resolution - (high - low) / 2)
    return Interval(low=low - widen, high=high + widen)
