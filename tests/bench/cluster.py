"""``python -m tests.bench.cluster``: one driver for 64 nodes and 10,000 cells.

The nodes are threads that wait and say what a run says; the driver is the real one: it plans,
stages, takes parts, measures and commits every cell. Printed are its memory and how busy it keeps
the nodes, of which 1 GiB and 95 % are asked.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from harness.cluster.fake import FakeCluster
from harness.cluster.parts import NodeTask, PartKind, RunPart
from harness.cluster.runtime import ClusterRuntime
from harness.execution.jobs import Room, crew_for
from harness.execution.run import RunProgress, Surroundings, run_plan
from harness.plan.expand import Plan
from harness.records import Event, Profile, RunSpec, Status, to_json
from harness.results.store import RunStore
from harness.runtime.fake import FakeRuntime, ended
from harness.workloads.api.emit import EVENTS_FILE

_SPEC = RunSpec(
    scenario="a99-cells", profile=Profile.CPU, workload="noop", params={"index": 0}, axes=("index",)
)
_STORY = (
    Event(kind="started", at_s=0.0, payload={"device": "no device", "facts": {}}),
    Event(
        kind="measured",
        at_s=0.0,
        payload={"metric": "noop.value", "value": 1.0, "unit": "1", "where": {}, "count": 1},
    ),
    Event(kind="finished", at_s=0.0, payload={}),
)
_EVENTS = "".join(json.dumps(to_json(event)) + "\n" for event in _STORY).encode()


def main() -> None:
    """Do the cells, and print what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--cell-s", type=float, default=2.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = simulated(Path(folder), given.nodes, given.cells, given.cell_s)
    print(json.dumps(found, indent=1))


def simulated(folder: Path, num_nodes: int, num_cells: int, cell_s: float) -> dict[str, float]:
    """Return how busy the nodes were, a share, and the driver's peak memory, GiB."""
    waiting = threading.Event()

    def execute(_: NodeTask, node_id: str) -> Iterator[RunPart]:
        yield RunPart(kind=PartKind.BEGAN, value=(node_id, "boot"))
        waiting.wait(cell_s)
        yield RunPart(kind=PartKind.ADDED, name=EVENTS_FILE, content=_EVENTS)
        yield RunPart(kind=PartKind.ENDED, value=replace(ended(), runtime="local"))

    cluster = FakeCluster([f"node-{at}" for at in range(num_nodes)], execute=execute)
    runs = tuple(replace(_SPEC, params={"index": index}) for index in range(num_cells))
    store, ends = RunStore(folder), list[float]()

    def listen(progress: RunProgress) -> None:
        if progress.finished is not None:
            assert progress.finished.outcome.status is Status.FINISHED
            ends.append(time.monotonic())

    around = Surroundings(
        runtime=ClusterRuntime(FakeRuntime(lambda _: ended()), cluster),
        store=store,
        evidence_dir=None,
        environment=lambda _, node: {"on": node},
        crew=crew_for(Room(jobs=1, reason=""), num_nodes, runs),
    )
    plan = Plan(
        scenario=_SPEC.scenario,
        profile=_SPEC.profile,
        runs=runs,
        skipped=(),
        estimate=None,
        changed=False,
    )
    began = time.monotonic()
    with store.locked(_SPEC.scenario, _SPEC.profile):
        run_plan(plan, around, listen)
    wall_s = max(ends) - began
    assert sum(store.has(spec) for spec in runs) == num_cells
    return {
        "busy_share": num_cells * cell_s / (num_nodes * wall_s),
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "cells_per_s": num_cells / wall_s,
        "wall_s": wall_s,
    }


if __name__ == "__main__":
    main()
