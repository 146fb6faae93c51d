"""The image of the cpu profiles: shut for real, and it computes what this machine does."""

from __future__ import annotations

import json
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HostError
from harness.measure import measure
from harness.plan.expand import expand
from harness.plan.overrides import Overrides, read_overrides
from harness.records import (
    ImageRef,
    Limits,
    Measurement,
    Profile,
    RunOutcome,
    RunSpec,
    Status,
    to_json,
)
from harness.runtime.base import Launch, Runtime
from harness.runtime.docker import DockerRuntime
from harness.runtime.images import build, built
from harness.runtime.local import LocalRuntime
from harness.scenario.images import Built, read_lock, this_platform, write_lock
from harness.scenario.load import load
from harness.workloads.api.emit import read_events
from harness.workloads.api.registry import workload

pytestmark = pytest.mark.docker

# asks the kernel, not the container's configuration, what it may do
PROBE = """
import json, os, pathlib, socket
def refused(action):
    try: action()
    except OSError as error: return error.errno
    return None
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(),
    "capabilities": [status[name].strip() for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")],
    "no_new_privileges": status["NoNewPrivs"].strip(), "seccomp": status["Seccomp"].strip(),
    "interfaces": [name for _, name in socket.if_nameindex()],
    "connect": refused(lambda: socket.create_connection(("192.0.2.1", 80), timeout=5)),
    "write_root": refused(lambda: open("/file", "w")),
    "write_source": refused(lambda: open("/harness/source/harness/file", "w")),
    "write_spec": refused(lambda: open("spec.json", "w")),
    "remove_spec": refused(lambda: os.unlink("spec.json")),
    "write_tmp": refused(lambda: open("/tmp/file", "w")),
    "write_run": refused(lambda: open("file", "w")),
    "set_uid": refused(lambda: os.setuid(0)),
    "init": open("/proc/1/comm").read().strip(),
    "processes": len([name for name in os.listdir("/proc") if name.isdigit()]),
    "core": __import__("resource").getrlimit(4),
    "docker_socket": os.path.exists("/var/run/docker.sock"),
}))
"""
EROFS, EBUSY, EPERM, ENETUNREACH = 30, 16, 1, 101


def launch(spec: RunSpec, run_dir: Path, program: str | None = None) -> Launch:
    run_dir.mkdir()
    (run_dir / "spec.json").write_text(json.dumps(to_json(spec)), encoding="utf-8")
    return Launch(spec=spec, run_dir=run_dir, program=("-c", program) if program else None)


def noop(image: ImageRef, name: str, **limits: Any) -> RunSpec:
    params = {"value": 1.5, "sleep_s": 0.0, "exit_code": 0, "index": 0}
    return RunSpec(
        scenario=f"a99-{name}",
        profile=Profile.CPU,
        workload="noop",
        params=params,
        image=image,
        limits=Limits(**limits),
    )


def probed(image: ImageRef, folder: Path, **limits: Any) -> dict[str, Any]:
    task = launch(noop(image, folder.name, **limits), folder / "run", PROBE)
    with DockerRuntime() as runtime:
        outcome = runtime.run(task)
    assert outcome.status is Status.FINISHED, outcome.log_tail
    found: dict[str, Any] = json.loads((task.run_dir / "stdout.log").read_text(encoding="utf-8"))
    return found


def test_the_container_is_shut(cpu_image: ImageRef, tmp_path: Path) -> None:
    found = probed(cpu_image, tmp_path)
    assert 0 not in (found["uid"], found["gid"], *found["groups"])
    assert {int(each, 16) for each in found["capabilities"]} == {0}
    assert (found["no_new_privileges"], found["seccomp"]) == ("1", "2")
    assert found["set_uid"] == EPERM
    assert (found["interfaces"], found["connect"]) == (["lo"], ENETUNREACH)
    assert (found["write_root"], found["write_source"]) == (EROFS, EROFS)
    assert (found["write_spec"], found["remove_spec"]) == (EROFS, EBUSY)
    assert (found["write_tmp"], found["write_run"]) == (None, None)
    assert (found["core"], found["docker_socket"]) == ([0, 0], False)
    assert (found["init"], found["processes"]) == ("docker-init", 2)


def test_the_network_is_there_where_a_run_asks_for_it(cpu_image: ImageRef, tmp_path: Path) -> None:
    found = probed(cpu_image, tmp_path, network=True)
    assert len(found["interfaces"]) > 1  # the machine's own
    assert {int(each, 16) for each in found["capabilities"]} == {0}


def test_memory_of_a_child_counts_even_if_the_program_ends_well(
    cpu_image: ImageRef, tmp_path: Path
) -> None:
    program = (
        "import subprocess, sys\n"
        "print(subprocess.run([sys.executable, '-c', \"x = b'x' * (512 << 20)\"]).returncode)"
    )
    task = launch(noop(cpu_image, tmp_path.name, memory_gib=0.25), tmp_path / "run", program)
    with DockerRuntime() as runtime:
        outcome = runtime.run(task)
    assert (outcome.status, outcome.exit_code) == (Status.OUT_OF_MEMORY, 0)


def test_an_image_that_is_not_there_is_said_with_the_command_that_builds_it() -> None:
    absent = ImageRef(name="cpu", digest="sha256:" + "0" * 64)
    with DockerRuntime() as runtime:
        problems = list(runtime.problems(noop(absent, "absent")))
    assert [str(each) for each in problems] == [
        "image cpu is not in the Docker engine\n  next: harness build cpu"
    ]


def test_two_harnesses_cannot_execute_one_run(cpu_image: ImageRef, tmp_path: Path) -> None:
    spec = noop(cpu_image, tmp_path.name, timeout_s=3.0)
    first = launch(spec, tmp_path / "first", "open('begun', 'w'); import time; time.sleep(60)")
    outcomes: list[RunOutcome] = []
    with DockerRuntime() as one, DockerRuntime() as other:
        thread = threading.Thread(target=lambda: outcomes.append(one.run(first)))
        thread.start()
        while not (first.run_dir / "begun").exists():
            time.sleep(0.02)
        with pytest.raises(HostError, match="another harness executes this run"):
            other.run(launch(spec, tmp_path / "second"))
        thread.join()
    assert [outcome.status for outcome in outcomes] == [Status.TIMED_OUT]


def test_the_build_is_locked_for_this_platform(cpu_image: ImageRef, containers: Path) -> None:
    image = build(containers, "cpu", accept=False, listen=print)
    assert image == cpu_image
    assert read_lock(containers)["cpu"].built[this_platform()].digest == image.digest
    assert built(containers, "cpu") == image


def test_another_image_never_takes_the_locked_one_s_place_silently(
    cpu_image: ImageRef, containers: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "containers"
    shutil.copytree(containers, copy)
    other = "sha256:" + "1" * 64
    lock = read_lock(copy)
    built_before = {this_platform(): Built(digest=other, date="2026-01-01")}
    write_lock(copy, {**lock, "cpu": replace(lock["cpu"], built=built_before)})
    before = (copy / "images.lock.yaml").read_text(encoding="utf-8")
    with pytest.raises(HostError) as refused:
        build(copy, "cpu", accept=False, listen=print)
    assert other in str(refused.value)
    assert cpu_image.digest in str(refused.value)
    assert refused.value.remedy == "harness build cpu --accept"
    assert (copy / "images.lock.yaml").read_text(encoding="utf-8") == before
    assert build(copy, "cpu", accept=True, listen=print) == cpu_image
    assert built(copy, "cpu") == cpu_image


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_in_the_container_measures_what_this_machine_does(
    cpu_image: ImageRef, project_root: Path, tmp_path: Path, precision: str
) -> None:
    pytest.importorskip("torch")
    only = {"precision": (precision,), "seq_len": (64,), "batch_size": (2,)}
    loaded = load(project_root / "scenarios" / "a19-gb10-pretrain-envelope")
    (spec,) = expand(loaded, Profile.CPU, Overrides(only=only), cpu_image).runs
    here = measured(LocalRuntime(), replace(spec, image=None), tmp_path / "here")
    there = measured(DockerRuntime(), spec, tmp_path / "there")
    assert here == there
    assert {each.metric for each in here} >= {"loss.first", "loss.last", "parameters"}


@pytest.mark.parametrize(
    ("scenario", "asked"),
    [
        ("a18-nemo-framework", read_overrides(only=["variant=vanilla"])),
        ("a20-training-data-path", read_overrides(["datasets=[planted]", "max_steps=10"])),
        ("cpt-continued-pretraining", read_overrides(["max_steps=60"], replicates=1)),
    ],
)
def test_the_twin_of_a_profile_for_nvidia_s_containers_runs_in_one_too(
    cpu_image: ImageRef, project_root: Path, tmp_path: Path, scenario: str, asked: Overrides
) -> None:
    loaded = load(project_root / "scenarios" / scenario)
    (spec,) = expand(loaded, Profile.CPU, asked).runs
    # the workload of the largest profile that this image can run: NeMo's manager is not in it
    spec = replace(spec, image=cpu_image, workload=loaded.scenario.workload_of(Profile.CUDA))
    found = measured(DockerRuntime(), spec, tmp_path / "there")
    assert found


def measured(runtime: Runtime, spec: RunSpec, run_dir: Path) -> list[Measurement]:
    """Run a spec; return all it measured but what depends on the clock."""
    task = launch(spec, run_dir)
    with runtime:
        assert list(runtime.problems(spec)) == []
        outcome = runtime.run(task)
    assert outcome.status is Status.FINISHED, (outcome.cause, outcome.log_tail)
    timing = {metric.name for metric in workload(spec.workload).metrics if metric.timing}
    found = measure(spec, read_events(run_dir / "events.jsonl"))
    return [each for each in found if each.metric not in timing]
