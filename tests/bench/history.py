"""``python -m tests.bench.history``: what a history of ten thousand nights takes.

Read, tested, and drawn as text with a plot and as a page, as `harness history` does. Times are of
the CPU, because other programs disturb those least; one thread does all of it.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from harness import atomic
from harness.commands.history import history_report
from harness.history.rows import HistoryFigure, append_rows, path_of
from harness.records import Profile
from harness.report.history import history_page, history_text
from harness.scenario.folders import find
from harness.scenario.load import Loaded, load
from tests.bench.cost import ROOT
from tests.bench.table import machine
from tests.unit.history.builders import night

_FILE = ROOT / "results" / "bench" / "history.json"
_TARGET_S = 2.0


def write_history(folder: Path, loaded: Loaded, nights: int) -> None:
    """Write a history of one figure, a night a second."""
    draw, rows = random.Random(0), []  # noqa: S311 - noise
    for at in range(nights):
        figure = HistoryFigure(
            metric="tokens_per_second", unit="token/s", value=draw.gauss(100, 1), n=3, spread=0.4
        )
        clock = f"{at // 3600 % 24:02}:{at // 60 % 60:02}:{at % 60:02}"
        rows.append(night(at, [figure], time=f"2026-01-01T{clock}+00:00"))
    append_rows(path_of(folder, loaded.scenario.scenario, Profile.SPARK), rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.history", description=__doc__)
    parser.add_argument("--nights", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=5)
    options = parser.parse_args(arguments)
    loaded = load(find(ROOT / "scenarios", "a19"))
    cpu_s, wall_s = [], []
    with tempfile.TemporaryDirectory(prefix="bench-history-") as name:
        write_history(Path(name), loaded, options.nights)
        for _ in range(options.calls):
            cpu, wall = time.process_time(), time.monotonic()
            report = history_report(loaded, Profile.SPARK, Path(name))
            history_text(report, 150, plot=True)
            history_page(report)
            cpu_s.append(time.process_time() - cpu)
            wall_s.append(time.monotonic() - wall)
    document = {
        "machine": machine(None),
        "nights": options.nights,
        "target_s": _TARGET_S,
        "cpu_s": [round(each, 3) for each in cpu_s],
        "wall_s": [round(each, 3) for each in wall_s],
    }
    atomic.write_text(_FILE, json.dumps(document, indent=1) + "\n")
    print(f"{options.nights} nights: {statistics.median(cpu_s):.2f} s of the CPU, median")
    return 0


if __name__ == "__main__":
    sys.exit(main())
