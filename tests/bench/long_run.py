"""``python -m tests.bench.long_run``: what it costs that a run survives, and can be watched.

Two shares. Steps: each finished step of a store is stored once more, with the files that it really
has, and once more read and checked, as the next attempt would; the time is compared with what
making the step took. Watching: the CPU time that the harness needs for telemetry, progress and the
watchdog once a workload is at work, which sleeps, as a share of one core.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from tabulate import tabulate

from harness import atomic
from harness.artefacts import FILES, ArtefactStore, verified
from harness.workloads.api.emit import EVENTS_FILE
from tests.bench.cost import ROOT
from tests.bench.table import machine

_FILE = ROOT / "results" / "bench" / "long-run.json"
_MOST_OF_WALL, _MOST_OF_CORE = 0.01, 0.002
_SETTLED_S = 3.0  # after the first sample: the workload has been started
SCENARIO = """\
scenario: a99-sleep
title: A sleep
question: What does it cost to watch over a run that does nothing?
article: {{number: 99, title: Nothing}}
workload: noop
params: {{steps: 1, step_s: {length}}}
profiles: {{cpu: {{summary: a sleep}}}}
"""
LEDGER = """\
scenario: a99-sleep
sections:
- title: Figures
  entries:
  - id: value
    metric: noop.value
    unit: "1"
    class: arithmetic
    kind: law
    expect: {law: all_cells, params: {low: 0, high: 0}}
    reason: the cell reports what it was given
    source: this benchmark
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table and keep it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.long_run", description=__doc__)
    parser.add_argument("--store", type=Path, required=True, help="of finished runs, for its steps")
    parser.add_argument("--sleep", type=float, default=60.0, help="of the workload, s (default 60)")
    parser.add_argument("--times", type=int, default=5, help="of each (default 5)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-long-run-") as name:
        steps = [_steps(options.store, Path(name) / "again") for _ in range(options.times)]
        watching = [_watching(Path(name), options.sleep) for _ in range(options.times)]
    made_s = steps[0]["made_s"]
    shares = {
        "storing a step, of making it": (
            [each["stored_s"] / made_s for each in steps],
            _MOST_OF_WALL,
        ),
        "checking a step that is taken, of making it": (
            [each["taken_s"] / made_s for each in steps],
            _MOST_OF_WALL,
        ),
        "telemetry, progress and watchdog, of one core": (watching, _MOST_OF_CORE),
    }
    rows = [
        {"what": what, "bar": bar, "median": statistics.median(got), "shares": got}
        for what, (got, bar) in shares.items()
    ]
    table = [
        (
            row["what"],
            f"{row['bar']:.1%}",
            f"{row['median']:.2%}",
            f"{min(row['shares']):.2%} .. {max(row['shares']):.2%}",
        )
        for row in rows
    ]
    print(
        tabulate(
            table, headers=("share", "bar", "median", "lowest .. highest"), disable_numparse=True
        )
    )
    document = {
        "machine": machine(None),
        "steps": {"count": steps[0]["count"], "mib": steps[0]["mib"], "made_s": made_s},
        "sleep_s": options.sleep,
        "rows": rows,
    }
    atomic.write_text(_FILE, json.dumps(document, indent=1) + "\n")
    return 0


def _steps(store: Path, root: Path) -> dict[str, Any]:
    """Store and check every step of a store again; return how long both took, and making them."""
    again = ArtefactStore(root)
    stored_s = taken_s = made_s = 0.0
    size = count = 0
    for folder in sorted((store / ".artefacts").glob("[!.]*/")):
        made = verified(folder)
        with again.locked(made.key, lambda: None):
            new = again.begin(made.key)
            shutil.copytree(folder / FILES, new / FILES, dirs_exist_ok=True)
            shutil.copyfile(folder / EVENTS_FILE, new / EVENTS_FILE)
            began = time.perf_counter()
            again.finish(new, made)
            stored_s += time.perf_counter() - began
            began = time.perf_counter()
            again.find(made.key)
            taken_s += time.perf_counter() - began
        made_s += made.cost.wall_s
        size += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        count += 1
    shutil.rmtree(root)
    return {
        "count": count,
        "mib": size / 2**20,
        "made_s": made_s,
        "stored_s": stored_s,
        "taken_s": taken_s,
    }


def _watching(folder: Path, sleep_s: float) -> float:
    """Return the CPU time of the harness while a run sleeps, as a share of the time."""
    scenario, store = folder / "project" / "scenarios" / "a99-sleep", folder / "store"
    scenario.mkdir(parents=True, exist_ok=True)
    (scenario / "expectations.yaml").write_text(LEDGER, encoding="utf-8")
    text = SCENARIO.format(length=sleep_s + 2 * _SETTLED_S)
    (scenario / "scenario.yaml").write_text(text, encoding="utf-8")
    words = ["run", "a99", "--quiet", "--project", str(folder / "project"), "--store", str(store)]
    with subprocess.Popen(
        [sys.executable, "-m", "harness", *words], stdout=subprocess.DEVNULL, cwd=ROOT
    ) as run:
        while not [*store.glob(".staging/*/telemetry.csv")]:
            time.sleep(0.1)
        time.sleep(_SETTLED_S)
        harness = psutil.Process(run.pid)
        before = sum(harness.cpu_times()[:2])
        time.sleep(sleep_s)
        spent_s = sum(harness.cpu_times()[:2]) - before
    shutil.rmtree(store)
    return spent_s / sleep_s


if __name__ == "__main__":
    sys.exit(main())
