"""``python -m tests.bench.cells PROJECT``: cells beside the bare program that they run.

Prints, as JSON, the CPU seconds of each cell and of the program alone. The program runs after each
cell, so that both meet the same state of the machine.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from harness.plan.expand import Plan, expand
from harness.plan.overrides import Overrides
from harness.records import Profile, Status, to_json
from harness.results.environment import capture
from harness.results.store import SPEC_FILE, Store
from harness.run import Progress, Step, Surroundings, run_plan
from harness.runtime.host import probe_host
from harness.runtime.local import LocalRuntime
from harness.scenario.load import load
from tests.bench.corpus import CELLS_ID
from tests.bench.cost import Program, cpu_s

NUM_CELLS = 20


class Stopwatch:
    """Listens to a plan: measures each cell, and after it the program alone.

    Attributes:
        pairs_s: (cell, program alone), CPU seconds.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._began_s = 0.0
        self.pairs_s: list[tuple[float, float]] = []

    def __call__(self, progress: Progress) -> None:
        """Take the time at the start or the end of a cell."""
        if progress.step is Step.STARTED:
            self._began_s = _used_s()
            return
        cell_s = _used_s() - self._began_s
        assert progress.finished is not None
        assert progress.finished.outcome.status is Status.FINISHED
        spec = self._store.folder(progress.spec) / SPEC_FILE
        self.pairs_s.append((cell_s, program_alone(spec, self._store.root)))


def program_alone(spec: Path, folder: Path) -> float:
    """Return what a workload that does nothing costs when it is started by hand, CPU seconds.

    Args:
        spec: the spec.json of its run.
        folder: where it may write.
    """
    with tempfile.TemporaryDirectory(dir=folder) as out:
        command = (sys.executable, "-m", "harness.workloads", "noop", str(spec), out)
        return cpu_s(Program(arguments=command), folder / "printed")


def measure(project: Path) -> list[tuple[float, float]]:
    """Execute cells of a generated project as ``harness run`` does, and measure them.

    The first cell is left out: it pays for what is looked up once a process.
    """
    host = probe_host()
    with tempfile.TemporaryDirectory() as name:
        store = Store(Path(name))
        around = Surroundings(
            runtime=LocalRuntime(),
            store=store,
            evidence_dir=None,
            environment=lambda spec: to_json(capture(spec, host, project=project)),
        )
        stopwatch = Stopwatch(store)
        run_plan(_plan(project), around, stopwatch)
    return stopwatch.pairs_s[1:]


def _plan(project: Path) -> Plan:
    plan = expand(load(project / "scenarios" / CELLS_ID), Profile.CPU, Overrides())
    return replace(plan, runs=plan.runs[: NUM_CELLS + 1])


def _used_s() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
