"""What the engine is told of a container, exactly; no engine is needed for that."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest

from harness.records import ImageRef, Limits, Profile, RunSpec
from harness.runtime.base import Launch
from harness.runtime.container import container_options
from harness.runtime.owner import Owner

IMAGE = ImageRef(name="cpu", digest="sha256:" + "a" * 64)
OWNER = Owner(boot="0123abcd", namespace=4026531836, pid=77, started=123456)


def options(
    folder: Path,
    limits: Limits | None = None,
    evidence_dir: Path | None = None,
    sandboxes: Path | None = None,
) -> dict[str, Any]:
    spec = RunSpec(
        scenario="a99",
        profile=Profile.CPU,
        workload="noop",
        params={},
        image=IMAGE,
        limits=limits or Limits(),
    )
    launch = Launch(spec=spec, run_dir=folder, evidence_dir=evidence_dir, env={"SEED": "1"})
    return container_options(launch, OWNER, "1000:1000", sandboxes)


def test_it_is_the_locked_image_shut(tmp_path: Path) -> None:
    told = options(tmp_path)
    assert told["image"] == IMAGE.digest
    assert told["command"] == ["python3", "-m", "harness.workloads", "noop", "spec.json", "."]
    assert told["user"] == "1000:1000"
    assert (told["read_only"], told["cap_drop"]) == (True, ["ALL"])
    assert told["security_opt"] == ["no-new-privileges:true"]
    assert (told["network_mode"], told["ipc_mode"]) == ("none", "private")
    assert (told["stdin_open"], told["init"]) == (True, True)
    assert (told["device_requests"], told["mem_limit"]) == (None, None)
    assert not {"auto_remove", "privileged", "volumes", "restart_policy"} & set(told)


def test_only_the_run_folder_is_writable(tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    told = options(tmp_path, evidence_dir=evidence)
    shown = {each["Target"]: (each["Source"], each["ReadOnly"]) for each in told["mounts"]}
    assert shown["/harness/run"] == (str(tmp_path), False)
    assert shown["/harness/run/spec.json"] == (str(tmp_path / "spec.json"), True)
    assert shown["/harness/evidence"] == (str(evidence), True)
    assert shown["/harness/source/harness"][1] is True
    assert len(shown) == 4
    assert told["environment"]["HARNESS_EVIDENCE_DIR"] == "/harness/evidence"


def test_the_store_of_steps_is_the_only_other_place_that_is_writable(tmp_path: Path) -> None:
    spec = RunSpec(scenario="a99", profile=Profile.CPU, workload="noop", params={}, image=IMAGE)
    launch = Launch(spec=spec, run_dir=tmp_path / "run", artefacts_dir=tmp_path / "steps")
    told = container_options(launch, OWNER, "1000:1000", None)
    writable = {each["Target"]: each["Source"] for each in told["mounts"] if not each["ReadOnly"]}
    assert writable == {
        "/harness/run": str(tmp_path / "run"),
        "/harness/artefacts": str(tmp_path / "steps"),
    }
    assert told["environment"]["HARNESS_ARTEFACTS_DIR"] == "/harness/artefacts"


def test_what_an_image_compiles_outlives_its_runs(tmp_path: Path) -> None:
    spec = RunSpec(scenario="a99", profile=Profile.CPU, workload="noop", params={}, image=IMAGE)
    launch = Launch(spec=spec, run_dir=tmp_path / "run", compiled_dir=tmp_path / "compiled")
    told = container_options(launch, OWNER, "1000:1000", None)
    writable = {each["Target"]: each["Source"] for each in told["mounts"] if not each["ReadOnly"]}
    kept = writable["/harness/compiled"]
    assert kept == str(tmp_path / "compiled" / ("a" * 12))
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "VLLM_CACHE_ROOT"):
        assert told["environment"][name].startswith("/harness/compiled/")


def test_sandboxes_are_a_socket_and_weaken_nothing(tmp_path: Path) -> None:
    told, plain = options(tmp_path, sandboxes=tmp_path / "open"), options(tmp_path)
    (mount,) = told["mounts"][len(plain["mounts"]) :]
    shown = (mount["Source"], mount["Target"], mount["ReadOnly"])
    assert shown == (str(tmp_path / "open"), "/harness/sandbox", True)
    assert told["environment"]["HARNESS_SANDBOX"] == "/harness/sandbox/socket"
    assert "HARNESS_SANDBOX" not in plain["environment"]
    differ = {key for key in plain if told[key] != plain[key]}
    assert differ - {"labels"} == {"mounts", "environment"}


def test_limits_are_passed_on(tmp_path: Path) -> None:
    told = options(tmp_path, Limits(memory_gib=0.5, shm_gib=2.0, gpus=1, network=True))
    assert (told["mem_limit"], told["memswap_limit"]) == ("536870912b", "536870912b")
    assert told["shm_size"] == 2 * 2**30
    assert told["network_mode"] == "host"
    (request,) = told["device_requests"]
    assert (request["Count"], request["Capabilities"]) == (1, [["gpu"]])


def test_limits_of_files_stay_below_the_machine_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (256, 512))
    files, core = options(tmp_path)["ulimits"]
    assert (files["Name"], files["Soft"], files["Hard"]) == ("nofile", 512, 512)
    assert (core["Name"], core["Hard"]) == ("core", 0)


def test_labels_say_whose_it_is_and_until_when(tmp_path: Path) -> None:
    told = options(tmp_path, Limits(timeout_s=100.0))
    run_id = told["labels"]["harness.run"]
    assert told["name"] == f"harness-{run_id}"
    assert told["labels"]["harness.owner"] == "0123abcd.4026531836.77.123456"
    assert float(told["labels"]["harness.deadline"]) > 1e9


def test_the_environment_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/usr/lib/mine")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    seen = options(tmp_path)["environment"]
    assert "HF_TOKEN" not in seen
    assert "LD_LIBRARY_PATH" not in seen  # it names files of this machine
    assert (seen["OMP_NUM_THREADS"], seen["SEED"]) == ("2", "1")
    assert seen["HARNESS_LIFELINE"] == "1"
