"""What Otava, asv and ruptures say of histories, each by its defaults; run by their own Python.

A false alarm is any loss reported in a history without one. A find is a loss reported to begin
within two nights before and four after it did. Otava and ruptures report changes both ways: of
theirs only those to a lower level count.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from itertools import pairwise
from statistics import fmean

import numpy as np
import ruptures
from asv.step_detect import detect_regressions, detect_steps
from otava.series import AnalysisOptions, Metric, Series


def otava(values: list[float]) -> list[int]:
    """Return where Otava sees a loss, by its defaults."""
    series = Series(
        "night", None, [*range(len(values))], {"rate": Metric(1, 1.0)}, {"rate": values}, {}
    )
    points = series.analyze(AnalysisOptions()).change_points["rate"]
    return [each.index for each in points if each.stats.mean_2 < each.stats.mean_1]


def asv(values: list[float]) -> list[int]:
    """Return where asv sees a regression, by the threshold of 5 % that it has by default."""
    return _asv(values, 0.05)


def asv_any(values: list[float]) -> list[int]:
    """Return where asv sees a regression of any size."""
    return _asv(values, 0.0)


def _asv(values: list[float], threshold: float) -> list[int]:
    steps = detect_steps([1 / each for each in values])
    _, _, positions = detect_regressions(steps, threshold=threshold)
    return [each[0] + 1 for each in positions or ()]


def pelt(values: list[float]) -> list[int]:
    """Return where PELT sees a loss; penalty of BIC, noise from differences."""
    x = np.log(np.array(values))
    sd = 1.4826 * float(np.median(np.abs(np.diff(x)))) / math.sqrt(2)
    penalty = 2 * max(sd, 1e-6) ** 2 * math.log(len(x))
    ends = ruptures.Pelt(model="l2", min_size=3, jump=1).fit(x.reshape(-1, 1)).predict(pen=penalty)
    found, begin = [], 0
    for end, after in pairwise(ends):
        if fmean(x[end:after]) < fmean(x[begin:end]):
            found.append(end)
        begin = end
    return found


TOOLS: dict[str, Callable[[list[float]], list[int]]] = {
    "Otava": otava,
    "asv (5 %)": asv,
    "asv (0 %)": asv_any,
    "ruptures PELT": pelt,
}


def main() -> None:
    """Read histories, print counts."""
    given = json.load(sys.stdin)
    near = range(given["shift_at"] - 2, given["shift_at"] + given["within"])
    counts = {}
    for name, tool in TOOLS.items():
        counts[name] = {
            "of": len(given["still"]),
            "false_alarms": sum(bool(tool(each)) for each in given["still"]),
            "found": sum(any(at in near for at in tool(each)) for each in given["lost"]),
        }
    json.dump(counts, sys.stdout)


if __name__ == "__main__":
    main()
