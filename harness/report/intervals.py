"""How far a figure of a table or plot may be off: 95 % intervals that respect their range."""

from __future__ import annotations

from collections.abc import Sequence

from harness.statistics import ALPHA, Interval, Proportion, sample, t_quantile, wilson
from harness.units import UNITS

MIN_RUNS = 3  # below it a spread says too little
_WHOLE = 1e-3  # how far share times trials may lie from a whole number
# of these nothing is below 0; a number, a share or a loss may be a difference
_NEVER_NEGATIVE = frozenset(
    {"count", "token", "document", "character", "step", "turn", "parameter", "time", "memory"}
) | {"memory/token", "energy", "power", "token/time", "document/time", "work/time", "bandwidth"}


def of_runs(numbers: Sequence[float], unit: str, *, is_share: bool = False) -> Interval | None:
    """Return the t interval of the mean of replicates, cut to what is possible.

    Args:
        numbers: one a run, in `unit`; None is returned for fewer than `MIN_RUNS`.
        unit: of `harness.units`.
        is_share: the figure is a share of trials, so that it lies between 0 and all of them.
    """
    if len(numbers) < MIN_RUNS:
        return None
    seen = sample(numbers)
    reach = t_quantile(1 - ALPHA / 2, seen.count - 1) * seen.standard_error
    low, high = seen.mean - reach, seen.mean + reach
    if is_share:
        high = min(high, 1 / UNITS[unit].factor)
    if is_share or (UNITS[unit].dimension in _NEVER_NEGATIVE and min(numbers) >= 0):
        low = max(low, 0.0)
    return Interval(low=low, high=high)


def of_trials(shares: Sequence[float], trials: Sequence[int], unit: str) -> Interval | None:
    """Return Wilson's interval of a share, over the trials of all its runs together.

    Args:
        shares: one a run, in `unit`.
        trials: how many each of them covers.
        unit: of `harness.units`; its base is 1 for all.

    Returns:
        None where a share is none of so many trials.
    """
    factor, successes = UNITS[unit].factor, 0
    for share, count in zip(shares, trials, strict=True):
        exact = share * factor * count
        if count < 1 or abs(exact - round(exact)) > _WHOLE or not 0 <= round(exact) <= count:
            return None
        successes += round(exact)
    reach = wilson(Proportion(successes=successes, trials=sum(trials)))
    return Interval(low=reach.low / factor, high=reach.high / factor)
