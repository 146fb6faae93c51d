"""Arithmetic on a run's trials: what each label cost, who built on whom, how near the misses were.

Everything here is a count, a sum, a median or an exact test; none depends on the machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from harness.workloads.trials.history import History
from harness.workloads.trials.trial import Label, Trial

VALID = (Label.KEEP, Label.DISCARD)  # ended with a score that counts
LOST = (Label.EVAL_BUDGET_OVERRUN, Label.TRAIN_BUDGET_OVERRUN, Label.SIZE_BLOCKED, Label.CRASH)


def proposed(history: History) -> list[Trial]:
    """Return the trials that a proposer made: all but the baselines."""
    return [trial for trial in history.trials if trial.status is not Label.BASELINE]


def of(trials: Iterable[Trial], *labels: Label) -> list[Trial]:
    """Return the trials with one of these labels."""
    return [trial for trial in trials if trial.status in labels]


def figures(trials: Iterable[Trial], column: str) -> list[float]:
    """Return the figures of a column, where they were measured."""
    return [value for trial in trials if (value := getattr(trial, column)) is not None]


def wall_s(trials: Iterable[Trial]) -> float:
    """Return the trials' wall clock, seconds."""
    return math.fsum(figures(trials, "total_s"))


def windows(trials: Sequence[Trial], width: int) -> Iterator[tuple[int, Sequence[Trial]]]:
    """Yield (1-based place of its first, trials) of each `width` trials in turn."""
    for start in range(0, len(trials), width):
        yield start + 1, trials[start : start + width]


def longest_drought(trials: Iterable[Trial]) -> int:
    """Return the most trials in a row that brought no keep."""
    longest = current = 0
    for trial in trials:
        current = 0 if trial.status is Label.KEEP else current + 1
        longest = max(longest, current)
    return longest


def hourly(trials: Iterable[Trial]) -> float | None:
    """Return the dated trials of a mean hour from the first to the last; None without a span."""
    stamps_s = [stamp for trial in trials if (stamp := _seconds(trial.timestamp)) is not None]
    span_s = max(stamps_s, default=0.0) - min(stamps_s, default=0.0)
    return len(stamps_s) * 3600 / span_s if span_s else None


def without_guard(history: History) -> Trial | None:
    """Return what ranks first when rows over a budget are let in, as the studied library does."""
    scored = (
        (cost, trial)
        for trial in history.trials
        if trial.status is not Label.HARNESS_ABORT
        and (cost := history.layout.cost_of(trial)) is not None
    )
    return min(scored, key=lambda pair: pair[0], default=(0.0, None))[1]


def would_have_been_keeps(history: History) -> list[Trial]:
    """Return the evaluations over budget whose score beats every earlier baseline and keep."""
    found, best = [], math.inf
    for trial in history.trials:
        cost = history.layout.cost_of(trial)
        if cost is None:
            continue
        if trial.status in (Label.BASELINE, Label.KEEP):
            best = min(best, cost)
        elif trial.status is Label.EVAL_BUDGET_OVERRUN and cost < best:
            found.append(trial)
    return found


def forecasts(trials: Iterable[Trial]) -> tuple[int, int]:
    """Return (forecasts of the right sign, forecasts compared) among the valid trials."""
    signs = []
    for trial in of(trials, *VALID):
        try:
            expected = float(trial.expected_delta)
        except ValueError:  # the column is free text
            continue
        if trial.delta_vs_best is not None:
            signs.append(expected * trial.delta_vs_best > 0)
    return sum(signs), len(signs)


def _seconds(timestamp: str) -> float | None:
    try:
        stamp = datetime.fromisoformat(timestamp)
    except ValueError:  # the column is free text
        return None
    return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp()
