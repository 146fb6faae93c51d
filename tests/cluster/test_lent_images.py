"""A run in a container is done by a node whose engine lacked the image."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import docker
import pytest

from harness.records import ImageRef
from tests.cluster.ray_nodes import ROOT, Nodes
from tests.cluster.test_kills import LEDGER, NAME, SCENARIO
from tests.container.own_engine import own_engine

pytestmark = pytest.mark.docker


def test_a_node_gets_the_image_that_it_lacks(
    cpu_image: ImageRef, containers: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "scenarios" / NAME
    folder.mkdir(parents=True)
    scenario = SCENARIO.replace("{summary: a walk}", "{summary: a walk, image: cpu}")
    (folder / "scenario.yaml").write_text(scenario, encoding="utf-8")
    (folder / "expectations.yaml").write_text(LEDGER, encoding="utf-8")
    shutil.copytree(containers, tmp_path / "containers")  # with the lock that names the image
    store = tmp_path / "store"
    with own_engine() as engine, Nodes(cpus_of_head=0) as nodes:
        nodes.join("b", DOCKER_HOST=engine.host)
        where = [f"--project={tmp_path}", f"--store={store}", f"--address={nodes.address}"]
        command = [sys.executable, "-m", "harness", "run", NAME, "--runtime=ray", *where]
        done = subprocess.run(
            [*command, "--only=value=0.0", "--only=value=1.0"],
            cwd=ROOT,
            env=nodes.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
        )
        with closing(docker.DockerClient(engine.host)) as client:
            there = [each.id for each in client.images.list(all=True)]
    outcomes = [
        json.loads(path.read_text("utf-8")) for path in store.glob(f"{NAME}/cpu/*/outcome.json")
    ]
    found = [(each["node"], each["runtime"], each["status"]) for each in outcomes]
    assert found == [("b", "docker", "finished")] * 2, done.stdout + done.stderr
    assert there == [cpu_image.digest]
