"""``python -m tests.bench.growth``: what reading a store of thousands of runs costs.

The first ``check`` reads every file and makes the index of the store; what is measured after it is
what a user pays from then on. Times are of the CPU, because other programs disturb those least; a
store is read by one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from harness import atomic
from harness.records import record
from tests.bench import corpus
from tests.bench.cost import ROOT, Program, usage
from tests.bench.table import machine

_FILE = ROOT / "results" / "bench" / "growth.json"
_KIB_PER_MIB = 2**10
_TARGET_S, _TARGET_MIB = 3.0, 150.0


@record
class Row:
    """One command on the store.

    Attributes:
        cpu_s: user and system time of each call, seconds.
        peak_mib: the largest peak memory of any call, MiB.
    """

    name: str
    cpu_s: tuple[float, ...]
    peak_mib: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a store, measure the commands that read it, print the table and keep it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.growth", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="in each store (default 10000)")
    parser.add_argument("--calls", type=int, default=5, help="of each command (default 5)")
    parser.add_argument("--make", type=Path, metavar="FOLDER", help="only make the project there")
    options = parser.parse_args(arguments)
    if options.make:
        corpus.write_growth(options.make, options.runs)
        return 0
    with tempfile.TemporaryDirectory(prefix="bench-growth-") as name:
        project = Path(name) / "project"
        # in a process of its own: a child's peak memory begins at its parent's
        making = ["-m", "tests.bench.growth", "--make", str(project), "--runs", str(options.runs)]
        subprocess.run([sys.executable, *making], check=True, cwd=ROOT)
        other = str(project / "results" / "other")
        rows = [
            _row("check, no index yet", project, 1, "check", corpus.GROWTH_ID),
            _row("check", project, options.calls, "check", corpus.GROWTH_ID),
            _row("report", project, options.calls, "report", corpus.GROWTH_ID),
            _row("compare, no index of B yet", project, 1, "compare", corpus.GROWTH_ID, other),
            _row("compare", project, options.calls, "compare", corpus.GROWTH_ID, other),
        ]
    table = [(row.name, _median(row), f"{row.peak_mib:.0f}", _verdict(row)) for row in rows]
    print(tabulate(table, headers=("command", "CPU s", "MiB", "verdict"), disable_numparse=True))
    document = {
        "machine": machine(None),
        "runs": options.runs,
        "target": {"cpu_s": _TARGET_S, "peak_mib": _TARGET_MIB},
        "rows": [_document(row) for row in rows],
    }
    atomic.write_text(_FILE, json.dumps(document, indent=1) + "\n")
    return 0


def _row(name: str, project: Path, calls: int, *words: str) -> Row:
    command = (sys.executable, "-m", "harness", *words)
    arguments = (*command, "--profile", "cpu", "--project", str(project))
    program = Program(arguments=arguments, says=corpus.GROWTH_SAYS[words[0]])
    spent = [usage(program, project / "printed") for _ in range(calls)]
    return Row(
        name=name,
        cpu_s=tuple(each.ru_utime + each.ru_stime for each in spent),
        peak_mib=max(each.ru_maxrss for each in spent) / _KIB_PER_MIB,
    )


def _median(row: Row) -> str:
    return f"{statistics.median(row.cpu_s):.2f}"


def _verdict(row: Row) -> str:
    met = statistics.median(row.cpu_s) <= _TARGET_S and row.peak_mib <= _TARGET_MIB
    return "met" if met else "missed"


def _document(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "median_cpu_s": round(statistics.median(row.cpu_s), 3),
        "cpu_s": [round(each, 3) for each in row.cpu_s],
        "peak_mib": round(row.peak_mib, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
