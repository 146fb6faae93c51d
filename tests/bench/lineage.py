"""``python -m tests.bench.lineage``: what the record of trials costs, and print it.

What is asked: a durable append in 2 ms at 100,000 rows, also the first of a process; a briefing in
20 ms; the largest published run, where HARNESS_EVIDENCE_DIR has it, read in 0.3 s.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from tabulate import tabulate

from harness.experiments.a35.release import read_run
from harness.workloads.trials.render import Briefing, render
from harness.workloads.trials.store import TrialStore
from harness.workloads.trials.trial import PRETRAINING, Label, Trial, cells_of
from harness.workloads.trials.tsv import line_of
from tests.bench.cost import Cost

TEXT = "Raise the decay of the matrices from 0.095 to 0.115 to shrink their weights. " * 4  # 300 B
KEPT = 25  # one of so many is a keep, as in the published main run

Row = tuple[str, float | None, Cost]  # what, the most it should take in milliseconds, what it took


def main() -> None:
    """Measure a store of many rows on this disk."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.lineage", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    given = parser.parse_args()
    with TemporaryDirectory(dir=Path.cwd()) as folder:  # not /tmp, which may be memory
        rows = store_rows(Path(folder) / "results.tsv", given.rows)
    rows += release_rows()
    figures = [
        [what, *(1000 * s for s in (taken.median_s, taken.lowest_s, taken.highest_s)), target_ms]
        for what, target_ms, taken in rows
    ]
    print(tabulate(figures, ("ms", "median", "lowest", "highest", "target"), floatfmt=".2f"))


def store_rows(path: Path, num_rows: int) -> list[Row]:
    """Measure a store of so many rows."""
    fill(path, num_rows)
    numbers = iter(range(num_rows, num_rows + 1000))
    store = TrialStore(path)
    return [
        ("append that makes the index", None, cost(lambda: store.append(row(next(numbers))), 1)),
        ("append", 2.0, cost(lambda: store.append(row(next(numbers))), 300)),
        (
            "first append of an object",
            2.0,
            cost(lambda: TrialStore(path).append(row(next(numbers))), 300),
        ),
        ("first reading", None, cost(store.history, 1)),
        ("briefing", 20.0, cost(lambda: render(store.history(), Briefing(specialist="opt")), 50)),
    ]


def release_rows() -> list[Row]:
    """Measure the largest published run, where it is here."""
    folder = os.environ.get("HARNESS_EVIDENCE_DIR")
    runs = [path.parent for path in Path(folder).glob("a35/*/results.tsv")] if folder else []
    if not runs:
        return []
    largest = max(runs, key=lambda run: (run / "results.tsv").stat().st_size)
    return [(f"reading and mending {largest.name}", 300.0, cost(lambda: read_run(largest), 20))]


def row(number: int) -> Trial:
    """Return a trial as long as the published ones."""
    keeps = number // KEPT
    return Trial(
        exp_id=f"{number:06d}",
        parent_exp=f"{max(keeps - 3, 0) * KEPT:06d}" if number else "",
        timestamp="2026-05-01T03:55:39Z",
        specialist="opt",
        hypothesis=TEXT,
        notes=TEXT,
        status=(Label.DISCARD if number % KEPT else Label.KEEP) if number else Label.BASELINE,
        core_metric=number * 1e-4,
        train_s=600.1,
        total_s=1500.0,
    )


def fill(path: Path, num_rows: int) -> None:
    """Write a file of so many rows, as a writer without an index."""
    with path.open("wb") as file:
        file.write(line_of(PRETRAINING.columns))
        file.writelines(line_of(cells_of(row(n), PRETRAINING)) for n in range(num_rows))


def cost(act: Callable[[], object], times: int) -> Cost:
    """Measure some calls, by the clock."""
    samples = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        samples.append(time.perf_counter() - began)
    return Cost(samples_s=tuple(samples))


if __name__ == "__main__":
    main()
