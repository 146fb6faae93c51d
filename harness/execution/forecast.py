"""From the passes of a rehearsal to what the whole run will take: pure functions.

What was not made is counted as what was made of its kind: the later passes of a loop, as the first
one also warms up. The interval is 80 % wide and has three parts: how the passes of a loop differ,
how far the rollouts that were played stand for those that were not, and a residual for what no
rehearsal sees, such as policies that learn to say less. How restless the machine is shows in the
starts of several runs, which are alike (`noise`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from harness.appended import whole_lines
from harness.reading import read_json
from harness.records import from_json, record
from harness.workloads.api.passes import PassLine

TIME_RESIDUAL = 0.08  # of a run: tests/bench/forecast.py
_PORTION = 0.1  # of what was not played: rollouts differ, and so do those that come last
_FEWEST_STARTS = 3  # two say little of a spread
_REPLICATE = 0.05  # of a run that is like one that was rehearsed
MEMORY_MARGIN = 0.05  # allocators keep what they had: a run is above its first passes, never below
_QUANTILE = 1.2816  # of a normal distribution: 80 % lie within as many standard deviations
_MAX_BYTES = 2**28


@record
class Expected:
    """A figure that is expected, and its variance."""

    mean: float = 0.0
    variance: float = 0.0

    def __add__(self, other: Expected) -> Expected:
        """Return the sum of two that do not depend on each other."""
        return Expected(mean=self.mean + other.mean, variance=self.variance + other.variance)

    def times(self, count: float) -> Expected:
        """Return so many alike: what is wrong of one is wrong of all."""
        return Expected(mean=self.mean * count, variance=self.variance * count**2)

    def interval(self, residual: float) -> tuple[float, float]:
        """Return the ends of the 80 % interval, with a relative residual."""
        relative = math.sqrt(self.variance) / self.mean if self.mean else 0.0
        spread = math.exp(_QUANTILE * math.hypot(relative, residual))
        return self.mean / spread, self.mean * spread


@record
class LoopForecast:
    """A loop or part of a run, as a table shows it.

    Attributes:
        name: its path, without numbers.
        made: passes, or units of a part.
        of: how many a run makes of them, all loops around counted.
        each_s: what one takes, seconds.
        total_s: what all of them take, seconds.
    """

    name: str
    made: int
    of: int
    each_s: float
    total_s: float


def read_passes(file: Path) -> list[PassLine]:
    """Return the passes that an attempt has written; none where it wrote no file."""
    if not file.is_file():
        return []
    return [
        from_json(PassLine, read_json(line)) for line in whole_lines(file, max_bytes=_MAX_BYTES)
    ]


def expected_s(attempts: Sequence[Sequence[PassLine]], last_wall_s: float) -> Expected:
    """Return how long a run will take, seconds.

    Args:
        attempts: the passes of each; the last one came to its end.
        last_wall_s: wall clock of the last one.
    """
    return Expected(mean=outside_s(attempts[-1], last_wall_s)) + _Tree(attempts).inside("")


def outside_s(lines: Sequence[PassLine], wall_s: float) -> float:
    """Return what an attempt took outside all loops and parts, seconds: mostly its start."""
    top = math.fsum(line.wall_s for line in lines if "/" not in line.path)
    return max(0.0, wall_s - top)


def noise(starts_s: Sequence[float]) -> float:
    """Return the relative spread of what is alike in every run, their start; 0 from two or fewer.

    Where others use the machine, it is the spread of all else too.
    """
    logs = [math.log(each) for each in starts_s if each > 0]
    return stdev(logs) if len(logs) >= _FEWEST_STARTS else 0.0


def loops(attempts: Sequence[Sequence[PassLine]]) -> list[LoopForecast]:
    """Return the loops of a run that a rehearsal has cut, in their order."""
    by_name: dict[str, LoopForecast] = {}
    for each in _Tree(attempts).cut(""):
        by_name.setdefault(each.name, each)
    return [*by_name.values()]


class _Tree:
    """The passes of all attempts at a run: of what was made twice, the longer one counts."""

    def __init__(self, attempts: Sequence[Sequence[PassLine]]) -> None:
        self._own: dict[str, float] = {}  # path -> seconds, without what is within
        self._line: dict[str, PassLine] = {}
        for lines in attempts:
            within: dict[str, float] = defaultdict(float)
            for line in lines:
                within[_parent(line.path)] += line.wall_s
            for line in lines:
                own_s = max(0.0, line.wall_s - within[line.path])
                if own_s >= self._own.get(line.path, 0.0):
                    self._own[line.path], self._line[line.path] = own_s, line
        self._loops: dict[str, dict[str, list[str]]] = defaultdict(dict)  # parent -> loop -> paths
        for path in self._line:
            loop = path.rpartition("#")[0]
            self._loops[_parent(path)].setdefault(loop, []).append(path)

    def inside(self, path: str) -> Expected:
        """Return what all loops and parts within a pass take."""
        found = Expected()
        for loop, once in self._children(path):
            if not once:
                found += self._loop(loop)
        return found + self._once([path])

    def _children(self, path: str) -> Iterable[tuple[list[str], bool]]:
        for members in self._loops.get(path, {}).values():
            yield members, self._line[members[0]].once

    def _loop(self, members: list[str]) -> Expected:
        """Return what all passes of a loop take, those included that were not made."""
        first = self._line[members[0]]
        made = [self._pass(path) for path in members]
        total = sum(made, Expected())
        left = first.of - first.done * len(members)
        if left > 0:
            if first.done > 1 or first.more_s is not None:
                more_s = first.more_s
                if more_s is None:
                    more_s = left * made[0].mean / first.done
                total += Expected(mean=more_s, variance=(_PORTION * more_s) ** 2)
            else:
                later = made[1:] or made
                values = [each.mean for each in later]
                spread = stdev(values) if len(values) > 1 else abs(made[0].mean - values[0]) / 2
                total += Expected(
                    mean=left * fmean(values),
                    variance=left**2 * spread**2 / len(values) + left * spread**2,
                )
        return total + self._once(members)

    def _pass(self, path: str) -> Expected:
        """Return what one pass takes, without what the run does but once."""
        found = Expected(mean=self._own[path])
        for loop, once in self._children(path):
            if not once:
                found += self._loop(loop)
        return found

    def _once(self, paths: Sequence[str]) -> Expected:
        """Return what the parts within some passes take that are counted for the whole run."""
        kinds: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            for members, once in self._children(path):
                if once:
                    name = members[0].rpartition("/")[2].partition("~")[0]
                    kinds[name] += members
        found = Expected()
        for members in kinds.values():
            each = [self._pass(path) + self._once([path]) for path in members]
            mean = fmean(one.mean for one in each)
            variance = fmean(one.variance for one in each)
            of = max(len(members), self._line[members[0]].of)
            found += Expected(mean=mean, variance=variance).times(of)
        return found

    def cut(self, path: str, times: int = 1, outer: int = 1) -> Iterable[LoopForecast]:
        """Yield the loops within a pass that were cut, and those within their passes.

        Args:
            path: the pass.
            times: how often a run makes it.
            outer: how often it makes the pass around it.
        """
        for members, once in self._children(path):
            first, by = self._line[members[0]], outer if once else times
            made = first.done * len(members)
            of = max(first.of, made)
            if made < of:
                mean_s = fmean(self._pass(member).mean for member in members)
                yield LoopForecast(
                    name=_words(members[0]),
                    made=made,
                    of=of * by,
                    each_s=mean_s / first.done,
                    total_s=self._loop(members).mean * by,
                )
            for member in members:
                yield from self.cut(member, of * by if first.done == 1 else by, by)


def of_plan(runs: Mapping[str, Expected], counts: Mapping[str, int]) -> Expected:
    """Return what all runs of a plan take, one after the other.

    Args:
        runs: of each cell, the run that was rehearsed.
        counts: how many runs of each cell are planned; a cell that was not rehearsed is taken as
            the mean of the others.
    """
    mean_s = fmean(each.mean for each in runs.values())
    total = Expected()
    for cell, count in counts.items():
        one = runs.get(cell)
        if one is None:
            spread = stdev(each.mean for each in runs.values()) if len(runs) > 1 else mean_s / 2
            total += Expected(mean=count * mean_s, variance=(count * spread) ** 2)
        else:
            others = (count - 1) * (_REPLICATE * one.mean) ** 2
            total += one.times(count) + Expected(variance=others)
    return total


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _words(path: str) -> str:
    return " / ".join(part.partition("~")[0] for part in path.split("/"))
