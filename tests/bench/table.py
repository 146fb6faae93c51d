"""The figures as a table for people and as a file that can be kept."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from harness import __version__, atomic
from harness.records import record
from harness.results.code import code_state
from harness.results.interpreter import this_interpreter
from harness.runtime.host import probe_host
from tests.bench.cost import ROOT, Cost

_DIGITS = 6  # a microsecond: as fine as the kernel accounts
_HEADERS = (
    *("ms", "target", "median", "lowest .. highest", "verdict"),
    *("ReFrame", "lowest .. highest", "ReFrame / harness"),
)


@record
class Result:
    """A row, measured.

    Attributes:
        name: what ``--only`` calls the row.
        what: what was done.
        target_s: what it may cost, seconds; CPU time unless `what` says otherwise.
        harness: what it cost.
        reframe: what ReFrame needed for the same; None where that was not measured.
    """

    name: str
    what: str
    target_s: float
    harness: Cost
    reframe: Cost | None

    @property
    def meets_target(self) -> bool:
        """Whether the median is within the target."""
        return self.harness.median_s <= self.target_s

    @property
    def ratio(self) -> float | None:
        """How many times as much ReFrame needed."""
        return self.reframe.median_s / self.harness.median_s if self.reframe else None


def text_table(results: Sequence[Result]) -> str:
    """Return the table for a terminal."""
    rows = [_cells(each) for each in results]
    return tabulate(rows, headers=_HEADERS, tablefmt="simple", disable_numparse=True)


def write_file(path: Path, results: Sequence[Result], reframe: Path | None) -> None:
    """Write the results with the facts of the machine and the versions that gave them."""
    document = {"machine": machine(reframe), "rows": [_row(each) for each in results]}
    atomic.write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def _cells(result: Result) -> tuple[str, ...]:
    verdict = "met" if result.meets_target else "missed"
    ours = (_ms(result.target_s), _ms(result.harness.median_s), _spread(result.harness), verdict)
    if result.reframe is None:
        return (result.what, *ours, "-", "-", "-")
    peer = (_ms(result.reframe.median_s), _spread(result.reframe))
    return (result.what, *ours, *peer, f"{result.ratio:.1f}")


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"


def _spread(cost: Cost) -> str:
    return f"{_ms(cost.lowest_s)} .. {_ms(cost.highest_s)}"


def _row(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "what": result.what,
        "target_s": result.target_s,
        "harness": _document(result.harness),
        "reframe": _document(result.reframe) if result.reframe else None,
        "ratio": None if result.ratio is None else round(result.ratio, 1),
    }


def _document(cost: Cost) -> dict[str, Any]:
    return {
        "median_s": round(cost.median_s, _DIGITS),
        "samples_s": [round(sample_s, _DIGITS) for sample_s in cost.samples_s],
    }


def machine(reframe: Path | None) -> dict[str, Any]:
    """Return the facts of the machine and the versions that a figure depends on."""
    host = probe_host()
    return {
        "cpu_model": host.cpu_model,
        "cores": host.cores,
        "kernel": host.kernel,
        "system": host.system,
        "architecture": host.architecture,
        "virtualised": host.virtualised,
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "python": this_interpreter().python,
        "harness": __version__,
        "commit": code_state(ROOT).commit,
        "reframe": _version_of(reframe) if reframe else None,
    }


def _version_of(reframe: Path) -> str:
    done = subprocess.run([reframe, "--version"], check=True, capture_output=True, text=True)
    return done.stdout.strip()
