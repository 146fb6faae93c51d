"""``--runtime ray`` on two nodes of a machine: the verdicts and figures of the local runtime."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cluster.node import folder
from harness.workloads.api.registry import workload
from harness.workloads.api.run_metrics import RUN_METRICS
from tests.cluster.ray_nodes import ROOT, Nodes

A19 = ("a19", "--only", "batch_size=2", "--only", "precision=fp32")
A22 = ("a22", "--only", "proposer=random")


def harness(*words: str, nodes: Nodes | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *words]
    environment = dict(nodes.environment) if nodes else {**os.environ, "PYTHONPATH": str(ROOT)}
    environment["OMP_NUM_THREADS"] = "1"
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=900
    )


def run(store: Path, *words: str, nodes: Nodes | None = None) -> subprocess.CompletedProcess[str]:
    how = ["--runtime=ray", f"--address={nodes.address}"] if nodes else ["--runtime=local"]
    return harness("run", *words, "--profile=cpu", *how, f"--store={store}", nodes=nodes)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
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


def verdicts(store: Path, *words: str) -> dict[str, str]:
    """Entry -> verdict, of stored results."""
    said = harness("check", *words, "--profile=cpu", "--json", f"--store={store}")
    found: list[dict[str, Any]] = []
    _collect(json.loads(said.stdout), found)
    return {each["expectation"]: each["kind"] for each in found}


def _collect(document: Any, found: list[dict[str, Any]]) -> None:
    if isinstance(document, dict):
        if {"expectation", "kind"} <= document.keys():
            found.append(document)
        for each in document.values():
            _collect(each, found)
    elif isinstance(document, list):
        for each in document:
            _collect(each, found)


@pytest.mark.parametrize(
    ("words", "program"),
    [
        pytest.param(A19, "pretrain.envelope", id="a19"),
        pytest.param(A22, "autoresearch.loop", id="a22"),
    ],
)
def test_an_article_on_nodes_of_which_one_dies(
    nodes: Nodes, tmp_path: Path, words: tuple[str, ...], program: str
) -> None:
    """It ends with the verdicts and figures of one machine, but for times taken on two nodes."""
    alone, there = tmp_path / "alone", tmp_path / "there"
    run(alone, *words)

    def kill() -> None:
        until(lambda: any('"node": "b"' in path.read_text("utf-8") for path in begun(there)))
        nodes.kill("b")

    killer = threading.Thread(target=kill)
    killer.start()
    said = run(there, *words, nodes=nodes)
    killer.join()
    nodes.join("b")  # for the tests behind this one
    timed = timed_metrics(program)
    assert untimed(there, timed) == untimed(alone, timed), said.stderr
    assert "is lost" in said.stderr
    assert {each["node"] for each in outcomes(there).values()} == {"a"}
    here, other = verdicts(alone, *words), verdicts(there, *words)
    assert here
    differ = {entry for entry in here if here[entry] != other[entry]}
    assert all(other[entry] in {"MISSING", "INCONCLUSIVE"} for entry in differ), differ
    assert not nodes_runs()


def begun(store: Path) -> list[Path]:
    return [*store.glob(".staging/*/segment.json")]


def nodes_runs() -> list[Path]:
    return [*(folder() / "runs").glob("*")]


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
    assert "127.0.0.3" in one
