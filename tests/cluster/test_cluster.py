"""``--runtime ray`` on two nodes of a machine: the verdicts and figures of the local runtime."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from harness.workloads.api.registry import workload
from harness.workloads.api.run_metrics import RUN_METRICS
from tests.cluster.ray_nodes import ROOT, Nodes

_FENCE_S = 7200  # far, as the machine may be at work
A19 = ("a19",)
A22 = ("a22", "--only", "proposer=random")


def harness(*words: str, nodes: Nodes | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *words]
    environment = dict(nodes.environment) if nodes else {**os.environ, "PYTHONPATH": str(ROOT)}
    environment["OMP_NUM_THREADS"] = "1"
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=_FENCE_S,
    )


def run(store: Path, *words: str, nodes: Nodes | None = None) -> subprocess.CompletedProcess[str]:
    how = ["--runtime=ray", f"--address={nodes.address}"] if nodes else ["--runtime=local"]
    return harness("run", *words, "--profile=cpu", *how, f"--store={store}", nodes=nodes)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _FENCE_S
    while not holds():
        assert time.monotonic() < deadline, "did not come to hold"
        time.sleep(0.05)


def outcomes(store: Path) -> dict[str, dict[str, Any]]:
    """Run id -> outcome, of the runs that finished."""
    paths = [path for path in store.glob("*/cpu/*/outcome.json") if "." not in path.parent.name]
    return {path.parent.name: json.loads(path.read_text("utf-8")) for path in paths}


def untimed(store: Path, timed: frozenset[str]) -> dict[str, Any]:
    """Run id -> every figure that no clock has a part in."""
    return {
        path.parent.name: [
            each for each in json.loads(path.read_text("utf-8")) if each["metric"] not in timed
        ]
        for path in store.glob("*/cpu/*/measurements.json")
        if "." not in path.parent.name
    }


def timed_metrics(*names: str) -> frozenset[str]:
    declared = [metric for name in names for metric in workload(name).metrics]
    return frozenset(each.name for each in (*declared, *RUN_METRICS) if each.timing)


def verdicts(store: Path, timed: frozenset[str], article: str) -> dict[str, str]:
    """Entry -> verdict, of stored results, where no clock has a part in it."""
    said = harness("check", article, "--profile=cpu", "--json", f"--store={store}")
    found: list[dict[str, Any]] = []
    _collect(json.loads(said.stdout), found)
    return {each["expectation"]: each["kind"] for each in found if each["metric"] not in timed}


def _collect(document: Any, found: list[dict[str, Any]]) -> None:
    if isinstance(document, dict):
        if {"expectation", "kind"} <= document.keys():
            found.append(document)
        for each in document.values():
            _collect(each, found)
    elif isinstance(document, list):
        for each in document:
            _collect(each, found)


def test_a_sweep_of_which_a_node_dies(nodes: Nodes, tmp_path: Path) -> None:
    """Article 19: a node that has done cells is lost with one at work, and comes again."""
    there = tmp_path / "there"

    def kill(over: threading.Event) -> None:
        until(lambda: over.is_set() or ("b" in finished_on(there) and "b" in at_work_on(there)))
        nodes.kill("b")
        nodes.join("b")

    _same_as_alone(nodes, tmp_path, kill, A19, "pretrain.envelope")
    assert finished_on(there) == {"a", "b"}


def test_replicates_of_which_a_node_dies(nodes: Nodes, tmp_path: Path) -> None:
    """Article 22: one of two replicates loses its node half-way."""
    there, watched = tmp_path / "there", list[str]()

    def kill(over: threading.Event) -> None:
        until(lambda: over.is_set() or at_work_on(there) == {"a", "b"})
        watched.append(harness("watch", "--once", f"--store={there}").stdout)
        nodes.kill("b")
        nodes.join("b")

    _same_as_alone(nodes, tmp_path, kill, A22, "autoresearch.loop")
    for node in ("a", "b"):
        assert re.search(rf"a22 cpu, .* on {node}\b", watched[0]), watched[0]


def _same_as_alone(
    nodes: Nodes,
    tmp_path: Path,
    kill: Callable[[threading.Event], None],
    words: tuple[str, ...],
    program: str,
) -> None:
    """Run an article on nodes and alone: figures and verdicts are the same, clocks apart."""
    alone, there, over = tmp_path / "alone", tmp_path / "there", threading.Event()
    with ThreadPoolExecutor() as pool:  # side by side: what a clock says is not compared
        killing, local = pool.submit(kill, over), pool.submit(run, alone, *words)
        said = run(there, *words, nodes=nodes)
        over.set()
        killing.result()
        local.result()
    assert "is lost" in said.stderr, said.stderr
    timed = timed_metrics(program)
    figures = untimed(there, timed)
    assert figures == untimed(alone, timed), said.stderr
    assert len(figures) == len(outcomes(there)) > 1
    here, other = verdicts(alone, timed, words[0]), verdicts(there, timed, words[0])
    assert here == other
    assert "REPRODUCED" in here.values()
    assert not [*(nodes.folder / "cache").glob("*/node/runs/*")]


def at_work_on(store: Path) -> set[str]:
    """The nodes on which runs have begun and not ended."""
    found = set()
    for path in store.glob(".staging/*/segment.json"):
        with suppress(OSError, ValueError):  # it ends, or is written, just now
            found.add(json.loads(path.read_text("utf-8"))["node"])
    return found - {""}


def finished_on(store: Path) -> set[str]:
    """The nodes on which runs have finished."""
    return {each["node"] for each in outcomes(store).values()}


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1: [Errno 111] Connection refused"),
        ("nowhere", "no Ray cluster answers at nowhere: "),
    ],
)
def test_an_address_without_a_cluster_is_refused_at_once(address: str, said: str) -> None:
    done = harness("plan", "a19", "--profile=cpu", "--runtime=ray", f"--address={address}")
    assert done.returncode == 3
    assert said in done.stderr
    assert "next: ray start --head" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cell_that_fits_on_no_node_is_refused_before_anything_starts(nodes: Nodes) -> None:
    words = ("a19", "--profile=cuda", "--runtime=ray", f"--address={nodes.address}")
    done = harness("plan", *words, nodes=nodes)
    assert done.returncode == 3
    assert "a run needs 1 CPU, 1 GPU, 16 GiB memory, which no node has: a has" in done.stdout


def test_a_cluster_that_wants_another_token_says_so(nodes: Nodes, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0" * 64)
    environment = {**nodes.environment, "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    command = [sys.executable, "-m", "harness", "doctor", f"--address={nodes.address}"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "wants a token that is not ours" in done.stderr, done.stderr


def test_the_nodes_as_a_table_with_their_link(nodes: Nodes) -> None:
    done = harness("doctor", f"--address={nodes.address}", nodes=nodes)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ["node", "address", "CPU"]
    (one,) = (line for line in lines if line.startswith("b "))
    assert " Gb/s" in one
    assert re.search(r"\b127\.0\.0\.[3-9]\b", one)  # the one that it joined with last


LENDING = """
import sys
from pathlib import Path
from harness.cluster.connection import RayCluster
from harness.cluster.depot import Depot
from harness.errors import HostError
with RayCluster(sys.argv[1]) as cluster:
    lend = cluster.lend(Depot(None, None, Path(sys.argv[2])))
    try:
        print(len(next(lend("image", "sha256:" + 64 * "0"))))
    except HostError as error:
        print(error)
"""


def test_what_the_driver_cannot_lend_is_said_with_cause_and_next_command(
    nodes: Nodes, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", LENDING, nodes.address, str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=nodes.environment, capture_output=True, text=True, check=True
    )
    said, then = done.stdout.splitlines()
    # there may be an engine here
    assert re.fullmatch(r"the driver cannot lend image sha256:0+: .* Docker engine.*", said)
    assert then.startswith("  next: ")


def test_another_version_of_ray_is_refused_with_both(nodes: Nodes) -> None:
    pretend = "import ray, runpy; ray.__version__ = '2.59.0'; runpy.run_module('harness')"
    command = [sys.executable, "-c", pretend, "doctor", f"--address={nodes.address}"]
    done = subprocess.run(
        command, cwd=ROOT, env=nodes.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr
    assert f"the cluster at {nodes.address}: " in done.stderr
    assert "2.59.0" in done.stderr
    assert version("ray") in done.stderr
    assert "next: install the same Python and requirements/ray.txt on every node" in done.stderr


def test_a_node_of_another_source_is_named_with_the_way_back(nodes: Nodes, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "harness", tmp_path / "harness", ignore=shutil.ignore_patterns("__py*"))
    with (tmp_path / "harness" / "units.py").open("a") as file:
        file.write("# changed\n")
    nodes.join("c", source=tmp_path)
    command = [sys.executable, "-m", "harness", "doctor", f"--address={nodes.address}"]
    done = subprocess.run(  # elsewhere: Ray shows its workers the folder that a driver is in
        command,
        cwd=tmp_path.parent,
        env=nodes.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    nodes.kill("c")
    (said,) = [line for line in done.stdout.splitlines() if line.startswith("c: ")]
    assert said.startswith("c: its harness is of another source than this one"), done.stdout
    assert re.search(r"next: git (checkout|status) ", done.stdout), done.stdout + done.stderr
