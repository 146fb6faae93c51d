"""Whatever is killed, and whenever: no run is lost, none is done twice, nothing stays at work."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.runtime.processes import marked
from tests.cluster.ray_nodes import ROOT, Nodes

NAME, CELLS, STEPS = "a99-cluster", 8, 4
SCENARIO = f"""\
scenario: {NAME}
title: A walk on several nodes
question: Does every run survive whatever ends it?
article: {{number: 99, title: Nothing}}
workload: noop
params: {{steps: {STEPS}, step_s: 0.3}}
sweep: {{product: {{value: [{", ".join(f"{each}.0" for each in range(CELLS))}]}}}}
profiles: {{cpu: {{summary: a walk}}}}
"""
LEDGER = f"""\
scenario: {NAME}
sections:
- title: Figures
  entries:
  - id: value
    metric: noop.value
    unit: "1"
    class: arithmetic
    kind: law
    expect: {{law: all_cells, params: {{low: 0, high: {CELLS - 1}}}}}
    reason: every cell reports what it was given
    source: this test
"""


class Walks:
    """A project of walks, and a store."""

    def __init__(self, root: Path, nodes: Nodes) -> None:
        self.root, self.nodes, self.store = root, nodes, root / "store"
        folder = root / "scenarios" / NAME
        folder.mkdir(parents=True)
        # the value is among what decides a step: cells share none
        (folder / "scenario.yaml").write_text(SCENARIO, encoding="utf-8")
        (folder / "expectations.yaml").write_text(LEDGER, encoding="utf-8")

    def start(self, store: Path, *how: str) -> subprocess.Popen[str]:
        words = ["run", NAME, "--project", str(self.root), "--store", str(store), *how]
        with (self.root / "said").open("a") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "harness", *words],
                cwd=ROOT,
                env={**self.nodes.environment, "XDG_CACHE_HOME": str(self.root / "cache")},
                stdout=subprocess.DEVNULL,
                stderr=said,
                text=True,
            )

    def on_nodes(self) -> subprocess.Popen[str]:
        return self.start(self.store, "--runtime=ray", f"--address={self.nodes.address}")

    def begun(self) -> bool:
        """Whether a run is at work on a node."""
        for path in self.store.glob(".staging/*/segment.json"):
            with suppress(OSError, ValueError):
                if json.loads(path.read_text("utf-8"))["node"]:
                    return True
        return False

    def runs(self, store: Path) -> dict[str, Path]:
        found = store.glob(f"{NAME}/cpu/*/outcome.json")
        return {path.parent.name: path.parent for path in found if "." not in path.parent.name}

    def figures(self, store: Path) -> dict[str, Any]:
        return {
            run_id: [
                each
                for each in json.loads((folder / "measurements.json").read_text("utf-8"))
                if each["metric"].startswith("noop.")
            ]
            for run_id, folder in self.runs(store).items()
        }


def until(holds: Callable[[], bool], within_s: float = 1800.0) -> bool:
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def workers(nodes: Nodes) -> list[int]:
    """The processes in which runs are at work on the nodes."""
    return nodes.processes("ray::_execute")


@dataclass(kw_only=True)
class Toll:
    """What kills have cost: all but the first two must stay 0."""

    runs: int = 0
    kills_at_work: int = 0  # of which a run was at work on a node; the others met none
    lost: int = 0
    double: int = 0
    orphans: int = 0
    other_figures: int = 0


def kill_at_random(root: Path, kills: int) -> Toll:
    """Kill node, worker and driver in turn, at moments drawn by chance, while runs are at work."""
    chance = random.Random(17)  # noqa: S311 - no secret
    targets = ["node", "worker", "driver"] * (kills // 3)
    chance.shuffle(targets)
    toll = Toll()
    with Nodes() as nodes:
        nodes.join("b")
        walks = Walks(root, nodes)
        driver = walks.on_nodes()
        for target in targets:
            at = driver
            assert until(lambda: walks.begun() or at.poll() is not None)  # noqa: B023 - waits here
            if driver.poll() is not None:
                if len(walks.runs(walks.store)) == CELLS:  # the next kill meets other runs
                    _count(toll, walks, nodes)
                    walks.store = root / f"store-{toll.runs}"
                # else Ray still named a node that has just been killed: the same command goes on
                driver = walks.on_nodes()
                assert until(walks.begun), (root / "said").read_text()
            time.sleep(chance.uniform(0.0, 1.5))
            toll.kills_at_work += walks.begun()
            if target == "driver":
                driver.kill()
                driver.wait()
                driver = walks.on_nodes()
            elif target == "worker":
                for pid in workers(nodes)[:1]:
                    os.kill(pid, signal.SIGKILL)
            else:
                nodes.kill("b")
                nodes.join("b")
        assert driver.wait(timeout=600) == 0, (root / "said").read_text()
        _count(toll, walks, nodes)
    return toll


def _count(toll: Toll, walks: Walks, nodes: Nodes) -> None:
    """Add what came of one sweep: of lost and double runs, leftovers, and figures that differ."""
    alone = walks.root / "alone"
    if not alone.exists():
        assert walks.start(alone, "--runtime=local").wait(timeout=600) == 0
    found, expected = walks.figures(walks.store), walks.figures(alone)
    order = (walks.store / NAME / "cpu" / ".order").read_text().split()
    toll.runs += len(found)
    toll.lost += len(expected.keys() - found.keys())
    toll.double += len(order) - len(set(order))
    toll.other_figures += sum(found[run_id] != expected[run_id] for run_id in found)
    for folder in walks.runs(walks.store).values():
        outcome = json.loads((folder / "outcome.json").read_text("utf-8"))
        toll.lost += STEPS - len({step["key"] for step in outcome["steps"]})

    def left() -> int:
        ours = [mark for _, mark in marked() if mark.run_id in found]
        return len(ours) + len(workers(nodes)) + len([*walks.store.glob(".staging/*/")])

    until(lambda: not left(), 300)
    toll.orphans += left()


@pytest.mark.parametrize(
    "kills", [pytest.param(3, id="three"), pytest.param(30, id="thirty", marks=pytest.mark.slow)]
)
def test_random_kills_of_node_worker_and_driver(tmp_path: Path, kills: int) -> None:
    toll = kill_at_random(tmp_path, kills)
    assert toll.runs >= CELLS
    assert toll == Toll(runs=toll.runs, kills_at_work=toll.kills_at_work)
