"""How long the store takes: ``python -m tests.unit.lineage.benchmark [ROWS]``, medians and worst.

Not a test: what is asked is an append of 2 ms at 100,000 rows, durable, a briefing in 20 ms and the
largest published run (where HARNESS_EVIDENCE_DIR has it) in 0.3 s; a loaded machine may miss it.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.workloads.lineage.release import read_run
from harness.workloads.lineage.render import Briefing, render
from harness.workloads.lineage.sheet import line_of
from harness.workloads.lineage.store import Store
from harness.workloads.lineage.trial import PRETRAINING, Label, Trial, cells_of

TEXT = "Raise the decay of the matrices from 0.095 to 0.115 to shrink their weights. " * 4  # 300 B
KEPT = 25  # one of so many is a keep, as in the published main run


def main(num_rows: int) -> None:
    with TemporaryDirectory(dir=Path.cwd()) as folder:  # not /tmp, which may be memory
        path = Path(folder) / "results.tsv"
        fill(path, num_rows)
        store = Store(path)
        print(f"{num_rows} rows, {path.stat().st_size / 2**20:.0f} MiB")
        measure("first append of a process", lambda: store.append(row(num_rows)), 1)
        numbers = iter(range(num_rows + 1, num_rows + 500))
        measure("append, durable", lambda: store.append(row(next(numbers))), 300)
        measure("first reading of a process", store.history, 1)
        measure("briefing", lambda: render(store.history(), Briefing(specialist="opt")), 50)
    if evidence := os.environ.get("HARNESS_EVIDENCE_DIR"):
        runs = (path.parent for path in Path(evidence).glob("a35/*/results.tsv"))
        largest = max(runs, key=lambda run: (run / "results.tsv").stat().st_size)
        measure(f"reading and mending {largest.name}", lambda: read_run(largest), 20)


def row(number: int) -> Trial:
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
    with path.open("wb") as file:
        file.write(line_of(PRETRAINING.columns))
        file.writelines(line_of(cells_of(row(n), PRETRAINING)) for n in range(num_rows))


def measure(what: str, act: Callable[[], object], times: int) -> None:
    taken_ms = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        taken_ms.append(1000 * (time.perf_counter() - began))
    median, worst = statistics.median(taken_ms), max(taken_ms)
    print(f"{what:40} {median:9.2f} ms median of {times}, {worst:9.2f} ms at worst")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
