"""Step three, done: two versions of a cell run in turn until the pairs decide.

One execution of each comes first and is not counted: it compiles, fills caches and shows whether
the version runs at all. Then a coin decides for each pair which version comes first. A suspicion
gets a few pairs as a glance, and only what those show is confirmed by others.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import median_high

from harness.execution.versions import AskedCell, Version, VersionFailed, run_once
from harness.history.baseline import LEAST
from harness.history.pairs import (
    GLANCE,
    MOST_PAIRS,
    Outcome,
    PairTest,
    answer,
    decide,
    glance,
)
from harness.history.series import oriented
from harness.records import record
from harness.workloads.api.declare import Metric

Figures = Mapping[tuple[str, str], float]
Execute = Callable[[Version], Figures]
_MOST_MARGIN = 2 * LEAST


@record
class Wanted:
    """A figure to confirm.

    Attributes:
        key: metric and row keys, as `run_once` gives them.
        shift: the suspected one, in the unit of `oriented`; negative is worse.
        may_confirm: whether it may have more than a glance.
    """

    key: tuple[str, str]
    metric: Metric
    shift: float
    may_confirm: bool = True

    @property
    def margin(self) -> float:
        """A loss below this need not be ruled out for clearing: half of what is suspected."""
        return min(_MOST_MARGIN, max(LEAST, -self.shift / 2))


@record
class Confirmation:
    """What the pairs say of one figure.

    Attributes:
        old: median of the old version's values; None without a pair.
        new: likewise.
        why: where no pair could be run.
    """

    wanted: Wanted
    test: PairTest | None
    old: float | None = None
    new: float | None = None
    why: str = ""


@record
class Budget:
    """How much a confirmation may cost.

    Attributes:
        pairs: at most.
        seconds: no pair is begun after them.
    """

    pairs: int = MOST_PAIRS
    seconds: float = 7200.0


@record
class PairBench:
    """How versions are run.

    Attributes:
        execute: runs the cell once in a version.
        say: is told how it gets on.
    """

    execute: Execute
    budget: Budget
    say: Callable[[str], None]


def confirm(
    wanted: Sequence[Wanted],
    old: Version,
    new: Version,
    bench: PairBench,
    seed: str,
    *,
    glances: bool = False,
) -> list[Confirmation]:
    """Run pairs until each figure is decided, or the budget ends.

    Args:
        wanted: figures of one cell.
        old: the last good version.
        new: the suspected one.
        bench: how they are run.
        seed: of the coin.
        glances: confirm only what a glance shows.

    Raises:
        VersionFailed: a version does not run.
    """
    coin, began = random.Random(seed), time.monotonic()  # noqa: S311 - no secret
    _require(wanted, bench.execute(old), old)
    _require(wanted, bench.execute(new), new)

    def run_pairs(
        some: Sequence[Wanted], most: int, is_open: Callable[[Wanted, Sequence[float]], bool]
    ) -> _Pairs:
        pairs = _Pairs(some)
        for number in range(1, most + 1):
            still = [each for each in some if is_open(each, pairs.differences[each.key])]
            if not still or (number > 1 and time.monotonic() - began > bench.budget.seconds):
                break
            first_new = coin.random() < 0.5  # noqa: PLR2004 - a fair coin
            order = (new, old) if first_new else (old, new)
            one, other = bench.execute(order[0]), bench.execute(order[1])
            pairs.add(*((other, one) if first_new else (one, other)))
            bench.say(f"pair {number}: {_told(some, pairs.differences)}")
        return pairs

    answers: dict[tuple[str, str], Confirmation] = {}
    if glances:
        bench.say("a glance:")
        pairs = run_pairs(
            wanted,
            min(2 * GLANCE - 1, bench.budget.pairs),
            lambda each, differences: glance(differences, each.margin) is None,
        )
        for each in wanted:
            if glance(pairs.differences[each.key], each.margin) is False:
                answers[each.key] = pairs.answer(each, 1, Outcome.NOT_SEEN)
            elif not each.may_confirm:
                why = "it was confirmed twice in 60 nights already"
                answers[each.key] = Confirmation(wanted=each, test=None, why=why)
    rest = [each for each in wanted if each.key not in answers]
    pairs = run_pairs(
        rest,
        bench.budget.pairs,
        lambda each, differences: (
            decide(differences, each.margin, len(rest)) is Outcome.INCONCLUSIVE
        ),
    )
    answers.update({each.key: pairs.answer(each, len(rest)) for each in rest})
    return [answers[each.key] for each in wanted]


class _Pairs:
    """The pairs of some figures."""

    def __init__(self, some: Sequence[Wanted]) -> None:
        self._some = some
        self.differences: dict[tuple[str, str], list[float]] = {each.key: [] for each in some}
        self._values: dict[tuple[str, str], list[tuple[float, float]]] = {
            each.key: [] for each in some
        }

    def add(self, before: Figures, after: Figures) -> None:
        for each in self._some:
            earlier, later = before.get(each.key), after.get(each.key)
            if earlier is None or later is None:
                message = f"{each.metric.name} is missing from a run of the pair"
                raise VersionFailed(message)
            self._values[each.key].append((earlier, later))
            way = oriented((earlier, later), each.metric.better)
            self.differences[each.key].append(way[1] - way[0] if way else 0.0)

    def answer(self, each: Wanted, tests: int, outcome: Outcome | None = None) -> Confirmation:
        values = self._values[each.key]
        test = answer(self.differences[each.key], each.margin, tests)
        return Confirmation(
            wanted=each,
            test=test if outcome is None else replace(test, outcome=outcome),
            old=median_high(before for before, _ in values),
            new=median_high(after for _, after in values),
        )


def _require(wanted: Sequence[Wanted], figures: Figures, version: Version) -> None:
    for each in wanted:
        if each.key not in figures:
            message = f"{version.name} does not measure {each.metric.name}"
            raise VersionFailed(message)


def _told(wanted: Sequence[Wanted], differences: Mapping[tuple[str, str], list[float]]) -> str:
    return ", ".join(
        f"{each.metric.name} {100 * differences[each.key][-1]:+.2f} %" for each in wanted
    )


def executor(cell: AskedCell, metrics: Mapping[str, Metric], timeout_s: float) -> Execute:
    """Return what runs a cell in a version."""
    return lambda version: run_once(version, cell, metrics, timeout_s)
