"""``python -m tests.bench.forecast``: how good is what ``harness rehearse`` forecasts?

Each scenario is rehearsed and then run, one after the other on the same machine, both into a
folder that is deleted. Compared are, run by run, the wall clock and the peak of the memory; and of
a whole profile, what the rehearsal cost of what the runs took. Other programs on the machine
change its speed between the two: the file says how busy it was.

Goals: the median error of time is 15 % or less and 70 to 90 % of the runs are within their 80 %
interval; memory is at most 10 % above what came, and never below; a rehearsal costs 3 % or less of
runs that take more than 10 minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tabulate import tabulate

from harness import atomic
from harness.errors import HostError
from harness.records import FinishedRun, Profile, record, to_json
from harness.results.store import RunStore
from harness.scenario.folders import find
from tests.bench.cost import ROOT
from tests.bench.table import machine

_FILE = ROOT / "results" / "bench" / "forecast.json"
_CHEAP = ("a19", "a20", "a23", "a24")  # minutes on one core, with torch and nothing else
_LONG_S = 600.0
_GOALS = {
    "median_time_error": 0.15,
    "interval_coverage": (0.7, 0.9),
    "memory_above": 0.1,
    "cost_share_of_long_runs": 0.03,
}


@record
class Compared:
    """One run, forecast and made.

    Attributes:
        time_error: of the forecast, relative to what came.
        is_covered: whether what came is within the 80 % interval.
        memory_error: likewise; None where either is not known.
    """

    run: str
    forecast_s: float
    low_s: float
    high_s: float
    took_s: float
    time_error: float
    is_covered: bool
    forecast_gib: float | None
    peak_gib: float | None
    memory_error: float | None


@record
class OfScenario:
    """One scenario.

    Attributes:
        rehearsal_s: wall clock of the rehearsal.
        forecast_s: what it said of the whole profile.
        took_s: wall clock of all runs.
        loads: mean numbers of processes that wanted a core, before, between and after.
    """

    scenario: str
    rehearsal_s: float
    forecast_s: float
    took_s: float
    loads: tuple[float, ...]
    runs: tuple[Compared, ...]

    @property
    def cost_share(self) -> float:
        """What the rehearsal took of what the runs took."""
        return self.rehearsal_s / self.took_s


def main() -> int:
    """Measure, print the table, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scenarios", nargs="*", default=list(_CHEAP), help="by default the cheap")
    parser.add_argument("--out", type=Path, default=_FILE)
    options = parser.parse_args()
    found = []
    for name in options.scenarios:
        with tempfile.TemporaryDirectory(prefix="forecast-") as folder:
            found.append(_compared(name, Path(folder)))
        print(_text(found), flush=True)
        _keep(options.out, found)  # what was measured stays, whatever ends the rest
    return 0


def _compared(name: str, store: Path) -> OfScenario:
    """Rehearse a scenario, run it, and compare.

    Raises:
        HostError: either cannot be done here.
    """
    scenario = find(ROOT / "scenarios", name).name
    loads = [os.getloadavg()[0]]
    answer = _harness("rehearse", scenario, store)["scenarios"][scenario]["answer"]
    if answer is None or not answer["goes"]:
        message = f"{scenario} cannot be rehearsed here"
        raise HostError(message, f"harness rehearse {scenario} --profile cpu")
    loads.append(os.getloadavg()[0])
    _harness("run", scenario, store)
    loads.append(os.getloadavg()[0])
    runs = RunStore(store).runs(scenario, Profile.CPU)
    forecasts = {each["point_id"]: each for each in answer["found"]["each"]}
    times = next(each for each in answer["found"]["figures"] if each["quantity"] == "time")
    return OfScenario(
        scenario=scenario,
        rehearsal_s=answer["found"]["wall_s"],
        forecast_s=times["value"] * 3600,
        took_s=sum(run.outcome.usage.wall_s for run in runs),
        loads=tuple(round(load, 1) for load in loads),
        runs=tuple(
            _of_run(forecasts[run.spec.point_id], run)
            for run in runs
            if run.spec.point_id in forecasts
        ),
    )


def _of_run(forecast: dict[str, Any], run: FinishedRun) -> Compared:
    took_s = run.outcome.usage.wall_s
    peaks = [run.outcome.usage.max_rss_gib]
    peaks += [
        each.value
        for each in run.measurements
        if each.metric == "memory.processes_peak" and isinstance(each.value, float)
    ]
    peak_gib = max((each for each in peaks if each is not None), default=None)
    said_gib = forecast["memory_gib"]
    return Compared(
        run=run.spec.label,
        forecast_s=forecast["wall_s"],
        low_s=forecast["low_s"],
        high_s=forecast["high_s"],
        took_s=took_s,
        time_error=forecast["wall_s"] / took_s - 1,
        is_covered=forecast["low_s"] <= took_s <= forecast["high_s"],
        forecast_gib=said_gib,
        peak_gib=peak_gib,
        memory_error=None if None in {said_gib, peak_gib} else said_gib / peak_gib - 1,
    )


def _harness(command: str, scenario: str, store: Path) -> dict[str, Any]:
    words = [command, scenario, "--profile", "cpu", "--runtime", "local", "--json"]
    line = [sys.executable, "-m", "harness", *words, "--store", str(store)]
    done = subprocess.run(line, check=False, stdout=subprocess.PIPE, cwd=ROOT)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def summary(found: Sequence[OfScenario]) -> dict[str, float | int | None]:
    """Return what the goals are about."""
    runs = [run for each in found for run in each.runs]
    memory = [run.memory_error for run in runs if run.memory_error is not None]
    long = [each.cost_share for each in found if each.took_s > _LONG_S]
    return {
        "runs": len(runs),
        "median_time_error": median(abs(run.time_error) for run in runs),
        "median_time_error_of_profiles": median(
            abs(each.forecast_s / each.took_s - 1) for each in found
        ),
        "interval_coverage": sum(run.is_covered for run in runs) / len(runs),
        "median_memory_error": median(memory) if memory else None,
        "most_memory_above": max(memory) if memory else None,
        "most_memory_below": min(memory) if memory else None,
        "cost_share_of_long_runs": max(long) if long else None,
    }


def _text(found: Sequence[OfScenario]) -> str:
    rows = [
        (
            each.scenario,
            len(each.runs),
            f"{each.forecast_s:.0f}",
            f"{each.took_s:.0f}",
            f"{100 * (each.forecast_s / each.took_s - 1):+.0f} %",
            f"{sum(run.is_covered for run in each.runs)} of {len(each.runs)}",
            f"{each.rehearsal_s:.0f}",
            " ".join(map(str, each.loads)),
        )
        for each in found
    ]
    headers = ("scenario", "runs", "forecast s", "took s", "error", "covered", "cost s", "load")
    table = tabulate(rows, headers, "simple", disable_numparse=True)
    lines = [f"{name}: {value}" for name, value in summary(found).items()]
    return "\n".join([table, *lines, ""])


def _keep(path: Path, found: Sequence[OfScenario]) -> None:
    document = {
        "machine": machine(None),
        "goals": _GOALS,
        "summary": summary(found),
        "scenarios": to_json(tuple(found)),
    }
    atomic.write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
