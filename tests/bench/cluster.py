"""``python -m tests.bench.cluster [WHAT ...]``: what a cluster gives, costs and survives.

Measured on nodes of this machine with one CPU each (`speedup`, `overhead`, `kills`), and on many
that are threads (`simulation`); kept in ``results/bench/cluster.json``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import quantiles
from typing import Any, Self

from harness import atomic
from harness.cluster.connection import RayCluster
from harness.cluster.fake import FakeCluster
from harness.cluster.parts import NodeTask, PartKind, RunPart
from harness.cluster.runtime import ClusterRuntime
from harness.execution.jobs import Crew, Room, crew_for
from harness.execution.run import RunProgress, RunStage, Surroundings, run_plan
from harness.plan.expand import Plan
from harness.reading import read_json
from harness.records import Event, Profile, RunSpec, Status, to_json
from harness.results.store import RunStore
from harness.runtime.base import Runtime
from harness.runtime.fake import FakeRuntime, ended
from harness.runtime.local import LocalRuntime
from harness.workloads.api.emit import EVENTS_FILE
from tests.bench.table import machine
from tests.cluster.ray_nodes import ROOT, Nodes
from tests.cluster.test_kills import kill_at_random

_FILE = ROOT / "results" / "bench" / "cluster.json"
_SPEC = RunSpec(
    scenario="a99-cells",
    profile=Profile.CPU,
    workload="noop",
    params={"value": 0.0, "sleep_s": 0.0, "exit_code": 0, "index": 0, "steps": 0, "step_s": 0.0},
    axes=("index",),
)


def main() -> None:
    """Measure what is asked for, print it and keep it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", default=[*MEASURED], choices=[*MEASURED, "sweep"])
    parser.add_argument("--cells", type=int, default=10_000, help="of the simulation")
    parser.add_argument("--cell-s", type=float, default=4.0, help="of the simulation")
    parser.add_argument("--address", default="", help="of a cluster to sweep on, for a child")
    parser.add_argument("--sweeps", type=json.loads, default=[], help="of a child")
    given = parser.parse_args()
    if given.what == ["sweep"]:
        print(json.dumps(_sweeps(given.address, given.sweeps)))
        return
    kept = read_json(_FILE.read_bytes()) if _FILE.exists() else {}
    for name in given.what:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            found = MEASURED[name](Path(folder), given)
        kept[name] = {"machine": machine(None), **found}
        print(json.dumps({name: found}, indent=1))
        atomic.write_text(_FILE, json.dumps(kept, indent=1) + "\n")


# --- on two nodes of this machine -----------------------------------------------------------------


def speedup(_: Path, __: argparse.Namespace) -> dict[str, Any]:
    """Do cells of one second on one node, and on two.

    A cell sleeps, so that its second needs no processor: two nodes of this machine share those with
    each other and with whatever else is at work. Its process starts and ends as any run's.
    """
    with Nodes() as nodes:
        (one,) = _child(nodes, [["cluster", 100, 1.0]])
        nodes.join("b")
        (two,) = _child(nodes, [["cluster", 100, 1.0]])
    return {
        "cell": "a run of 1 s that sleeps",
        "one_node_wall_s": one,
        "two_nodes_wall_s": two,
        "cells": 100,
        "speedup": one / two,
        "asked": 1.8,
    }


def overhead(_: Path, __: argparse.Namespace) -> dict[str, Any]:
    """Do cells of no length by the local runtime and on one node, in turns."""
    cells, turns = 10, 12
    with Nodes() as nodes:
        walls = _child(nodes, [["local", cells, 0.0], ["cluster", cells, 0.0]] * turns)
    pairs = [(there - here) / cells for here, there in zip(walls[::2], walls[1::2], strict=True)]
    low, middle, high = quantiles(pairs, n=4)
    return {
        "cells_each": cells,
        "local_cell_s": [wall / cells for wall in walls[::2]],
        "cluster_cell_s": [wall / cells for wall in walls[1::2]],
        "overhead_s": middle,
        "overhead_quartiles_s": [low, high],
        "asked_s": 0.05,
    }


def _child(nodes: Nodes, sweeps: Sequence[Sequence[Any]]) -> list[float]:
    """Return how long each sweep takes in a driver of its own: Ray is connected once a process."""
    command = [sys.executable, "-m", "tests.bench.cluster", "sweep", "--address", nodes.address]
    done = subprocess.run(
        [*command, "--sweeps", json.dumps(sweeps)],
        cwd=ROOT,
        env={**nodes.environment, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    walls: list[float] = json.loads(done.stdout.splitlines()[-1])
    return walls


def _sweeps(address: str, sweeps: Sequence[tuple[str, int, float]]) -> list[float]:
    """Do sweeps of (where, cells, seconds a cell), behind one that starts each node's worker."""
    with ClusterRuntime(LocalRuntime(), RayCluster(address)) as cluster:
        nodes = len(cluster.cluster.nodes())
        _swept(cluster, _cells(2 * nodes, 0.0), nodes)
        walls = []
        for where, cells, cell_s in sweeps:
            runtime = LocalRuntime() if where == "local" else cluster
            walls.append(_swept(runtime, _cells(cells, cell_s), nodes))
        return walls


def _cells(number: int, sleep_s: float) -> tuple[RunSpec, ...]:
    params = {**_SPEC.params, "sleep_s": sleep_s}
    return tuple(replace(_SPEC, params={**params, "index": index}) for index in range(number))


def _swept(runtime: Runtime, runs: tuple[RunSpec, ...], nodes: int) -> float:
    """Return how long a new store takes to have all runs."""
    is_cluster = isinstance(runtime, ClusterRuntime)
    crew = crew_for(Room(jobs=1, reason=""), nodes if is_cluster else None, runs)
    with tempfile.TemporaryDirectory() as folder:
        return _done(RunStore(Path(folder)), _Kept(runtime) if is_cluster else runtime, runs, crew)


class _Kept:
    """A runtime that stays entered."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)


def _done(store: RunStore, runtime: Any, runs: tuple[RunSpec, ...], crew: Crew) -> float:
    """Execute runs, all of which must finish; return seconds from the first one's start."""
    moments: list[float] = []

    def listen(progress: RunProgress) -> None:
        moments.append(time.monotonic())
        if progress.step is RunStage.ENDED:
            assert progress.finished is not None
            assert progress.finished.outcome.status is Status.FINISHED, progress.finished.outcome

    around = Surroundings(
        runtime=runtime,
        store=store,
        evidence_dir=None,
        environment=lambda _, node: {"on": node},
        crew=crew,
    )
    plan = Plan(
        scenario=_SPEC.scenario,
        profile=_SPEC.profile,
        runs=runs,
        skipped=(),
        estimate=None,
        changed=False,
    )
    with store.locked(_SPEC.scenario, _SPEC.profile):
        run_plan(plan, around, listen)
    assert sum(store.has(spec) for spec in runs) == len(runs)
    return moments[-1] - moments[0]


def kills(folder: Path, _: argparse.Namespace) -> dict[str, Any]:
    """Kill node, worker and driver thirty times while runs are at work."""
    return {"kills": 30, **asdict(kill_at_random(folder, 30))}


# --- on many nodes, which are threads -------------------------------------------------------------


def simulation(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Do cells on 64 nodes that wait and say what a run says; the driver is the real one.

    It plans, stages, takes parts, measures and commits every cell.
    """
    num_nodes, waiting = 64, threading.Event()
    story = (
        Event(kind="started", at_s=0.0, payload={"device": "no device", "facts": {}}),
        Event(
            kind="measured",
            at_s=0.0,
            payload={"metric": "noop.value", "value": 1.0, "unit": "1", "where": {}, "count": 1},
        ),
        Event(kind="finished", at_s=0.0, payload={}),
    )
    events = "".join(json.dumps(to_json(event)) + "\n" for event in story).encode()

    def execute(_: NodeTask, node_id: str) -> Iterator[RunPart]:
        yield RunPart(kind=PartKind.BEGAN, value=(node_id, "boot"))
        waiting.wait(given.cell_s)
        yield RunPart(kind=PartKind.ADDED, name=EVENTS_FILE, content=events)
        yield RunPart(kind=PartKind.ENDED, value=replace(ended(), runtime="local"))

    cluster = FakeCluster([f"node-{at}" for at in range(num_nodes)], execute=execute)
    runtime = ClusterRuntime(FakeRuntime(lambda _: ended()), cluster)
    runs = _cells(given.cells, 0.0)
    crew = crew_for(Room(jobs=1, reason=""), num_nodes, runs)
    wall_s = _done(RunStore(folder), runtime, runs, crew)
    return {
        "nodes": num_nodes,
        "cells": given.cells,
        "cell_s": given.cell_s,
        "wall_s": wall_s,
        "busy_share": given.cells * given.cell_s / (num_nodes * wall_s),
        "asked_share": 0.95,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "asked_gib": 1.0,
        "driver_cpu_s": time.process_time(),
    }


MEASURED: dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]] = {
    each.__name__: each for each in (speedup, overhead, kills, simulation)
}

if __name__ == "__main__":
    main()
