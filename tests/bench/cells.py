"""``python -m tests.bench.cells PROJECT local|docker``: cells beside the program that they run.

Prints, as JSON, what each cell costs and what its program costs when it is started by hand. The
program runs after each cell, so that both meet the same state of the machine.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.execution.run import RunProgress, RunStage, Surroundings, run_plan
from harness.plan.expand import Plan, expand
from harness.plan.overrides import Overrides
from harness.records import ImageRef, Profile, Status, record, to_json
from harness.results.environment import capture
from harness.results.store import SPEC_FILE, RunStore
from harness.runtime.base import Runtime
from harness.runtime.docker import DockerRuntime
from harness.runtime.host import probe_host
from harness.runtime.local import LocalRuntime
from harness.scenario.load import load
from tests.bench.byhand import container_wall_s, locked_image, program_cpu_s
from tests.bench.corpus import CELLS_ID


@record
class Way:
    """How cells are run, and what they are compared with.

    Attributes:
        runtime: what runs a cell.
        image: what it runs in; None on the machine itself.
        num_cells: how many are measured.
        now_s: the clock.
        by_hand: runs the program that a spec.json is for, and measures it likewise.
    """

    runtime: Runtime
    image: ImageRef | None
    num_cells: int
    now_s: Callable[[], float]
    by_hand: Callable[[Path], float]


class Stopwatch:
    """Listens to a plan: measures each cell, and after it the program alone.

    Attributes:
        pairs_s: (cell, program alone), seconds.
    """

    def __init__(self, way: Way, store: RunStore) -> None:
        self._way = way
        self._store = store
        self._began_s = 0.0
        self.pairs_s: list[tuple[float, float]] = []

    def __call__(self, progress: RunProgress) -> None:
        """Take the time at the start or the end of a cell."""
        if progress.step is RunStage.STARTED:
            self._began_s = self._way.now_s()
            return
        cell_s = self._way.now_s() - self._began_s
        assert progress.finished is not None
        assert progress.finished.outcome.status is Status.FINISHED, progress.finished.outcome
        alone_s = self._way.by_hand(self._store.folder(progress.spec) / SPEC_FILE)
        self.pairs_s.append((cell_s, alone_s))


def measure(project: Path, way: Way) -> list[tuple[float, float]]:
    """Execute cells of a generated project as ``harness run`` does, and measure them.

    The first cell is left out: it pays for what is looked up once a process.
    """
    host = probe_host()
    with tempfile.TemporaryDirectory() as name:
        store = RunStore(Path(name))
        around = Surroundings(
            runtime=way.runtime,
            store=store,
            evidence_dir=None,
            environment=lambda spec, _: to_json(capture(spec, host, project=project)),
        )
        stopwatch = Stopwatch(way, store)
        plan = _plan(project, way)
        with around.store.locked(plan.scenario, plan.profile):
            run_plan(plan, around, stopwatch)
    return stopwatch.pairs_s[1:]


def _plan(project: Path, way: Way) -> Plan:
    plan = expand(load(project / "scenarios" / CELLS_ID), Profile.CPU, Overrides(), way.image)
    return replace(plan, runs=plan.runs[: way.num_cells + 1])


def _way(name: str) -> Way:
    if name == "local":
        return Way(
            runtime=LocalRuntime(), image=None, num_cells=20, now_s=_cpu_s, by_hand=program_cpu_s
        )
    image = locked_image()
    return Way(
        runtime=DockerRuntime(),
        image=image,
        num_cells=5,
        now_s=time.monotonic,  # most of the work is the engine's, which is not our child
        by_hand=lambda spec: container_wall_s(image, spec),
    )


def _cpu_s() -> float:
    """Return the CPU time of this process and of the children it waited for, seconds."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), _way(sys.argv[2]))))
