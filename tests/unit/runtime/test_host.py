from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.probes.reading import NotSupported
from harness.records import Profile, from_json, to_json
from harness.runtime import machine
from harness.runtime.daemon import EngineState, engine_socket
from harness.runtime.host import Host, default_profile, probe_host, profile_problem
from harness.runtime.machine import PowerSource

Tree = Callable[[Mapping[str, str]], Path]

X86 = "processor : 0\nmodel name : A CPU\nflags : fpu {}\n\nprocessor : 1\nmodel name : A CPU\n"


def _probe(root: Path, nvml_api: Any, architecture: str = "aarch64") -> Host:
    return probe_host(
        root, nvml_api=nvml_api, docker_socket=root / "docker.sock", architecture=architecture
    )


def test_a_spark_is_recognised_field_by_field(spark: Path, fake_nvml: Any) -> None:
    host = _probe(spark, fake_nvml())
    assert host.is_gb10
    assert host.unified_memory
    assert default_profile(host) is Profile.SPARK
    assert host.cpu_model == "Cortex-A725 + Cortex-X925"
    assert host.cores == 20
    assert host.memory_total_gib == pytest.approx(121.69, abs=0.01)
    assert host.memory_available_gib == pytest.approx(113.07, abs=0.01)
    assert host.kernel == "6.17.0-1008-nvidia"
    assert host.system == "Ubuntu 24.04.3 LTS"
    assert host.product == "NVIDIA NVIDIA_DGX_Spark"
    assert (host.driver, host.cuda) == ("580.126.09", "13.2")
    assert host.virtualised is False
    assert host.power_source is PowerSource.UNKNOWN
    assert host.docker.state is EngineState.NO_SOCKET


def test_a_gb10_has_no_memory_of_its_own_and_says_so(spark: Path, fake_nvml: Any) -> None:
    (gpu,) = _probe(spark, fake_nvml()).gpus
    assert gpu.memory_gib is None
    assert gpu.power_limit_w is None
    assert gpu.compute_capability == "12.1"
    assert gpu.absent == {
        "memory_gib": "NVML: Not Supported",
        "power_limit_w": "NVML: Not Supported",
    }


def test_a_driver_that_answers_zero_bytes_is_not_believed(spark: Path, fake_nvml: Any) -> None:
    (gpu,) = _probe(spark, fake_nvml(refuses=(), memory_bytes=0)).gpus
    assert gpu.memory_gib is None
    assert "no dedicated memory" in gpu.absent["memory_gib"]


def test_another_nvidia_gpu_means_the_cuda_profile(spark: Path, fake_nvml: Any) -> None:
    host = _probe(spark, fake_nvml(names=("NVIDIA H100 80GB HBM3",), refuses=()))
    assert default_profile(host) is Profile.CUDA
    assert not host.unified_memory
    assert host.gpus[0].memory_gib == 80.0
    assert host.gpus[0].power_limit_w == 700.0


@pytest.mark.parametrize(
    "nvml", [{"unopened": "NVML Shared Library Not Found"}, {"names": ()}], ids=["closed", "empty"]
)
def test_no_gpu_means_the_cpu_profile_with_a_reason(
    spark: Path, fake_nvml: Any, nvml: dict[str, Any]
) -> None:
    host = _probe(spark, fake_nvml(**nvml))
    assert default_profile(host) is Profile.CPU
    assert host.gpus == ()
    assert host.absent["gpus"].startswith("NVML: ")


def test_a_profile_is_asked_only_on_its_machines(spark: Path, fake_nvml: Any) -> None:
    on_spark = _probe(spark, fake_nvml())
    on_h100 = _probe(spark, fake_nvml(names=("NVIDIA H100 80GB HBM3",), refuses=()))
    on_plain = _probe(spark, fake_nvml(unopened="Driver Not Loaded"))
    assert [profile_problem(each, on_spark) for each in Profile] == [None] * len(Profile)
    assert [each for each in Profile if profile_problem(each, on_h100)] == [Profile.SPARK]
    refused = {each: profile_problem(each, on_plain) for each in Profile}
    assert [each for each in Profile if refused[each]] == [Profile.SPARK, Profile.CUDA]
    assert "Driver Not Loaded" in str(refused[Profile.CUDA])
    assert "H100" in str(profile_problem(Profile.SPARK, on_h100))
    assert all(each.remedy.endswith("--profile cpu") for each in refused.values() if each)


def test_the_driver_is_seen_without_the_management_library(spark: Path, fake_nvml: Any) -> None:
    version = spark / "proc/driver/nvidia/version"
    version.parent.mkdir(parents=True)
    version.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  580.95.05  Release Build\n"
        "GCC version:  gcc version 13.3.0\n"
    )
    host = _probe(spark, fake_nvml(unopened="gone"))
    assert host.driver == "580.95.05"
    assert host.cuda is None


def test_the_session_is_closed_again(spark: Path, fake_nvml: Any) -> None:
    api = fake_nvml()
    _probe(spark, api)
    assert api.open_sessions == 0


def test_an_empty_machine_is_all_absent_and_never_guessed(tmp_path: Path, fake_nvml: Any) -> None:
    host = _probe(tmp_path, fake_nvml(unopened="none"))
    assert set(host.absent) == {
        *(
            "cpu_model",
            "cpu_isa",
            "cores",
            "memory_total_gib",
            "memory_available_gib",
            "memory_limit_gib",
        ),
        *("kernel", "system", "product", "gpus", "driver", "cuda", "boot_id", "virtualised"),
        "container",
    }
    assert all(host.absent.values())


def test_the_record_survives_json(spark: Path, fake_nvml: Any) -> None:
    host = _probe(spark, fake_nvml())
    assert from_json(Host, json.loads(json.dumps(to_json(host)))) == host


def test_a_missing_field_needs_a_reason(spark: Path, fake_nvml: Any) -> None:
    document = to_json(_probe(spark, fake_nvml()))
    document["cores"] = None
    with pytest.raises(ValueError, match="cores"):
        from_json(Host, document)


def test_x86_names_its_model_and_its_hypervisor(tree: Tree) -> None:
    root = tree({"proc/cpuinfo": X86.format("hypervisor")})
    assert machine.cpu_model(root) == "A CPU"
    assert machine.cores(root) == 2
    assert machine.virtualised(root) is True
    assert machine.virtualised(tree({"proc/cpuinfo": X86.format("avx2")})) is False


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("vendor_id: GenuineIntel\nflags: fpu avx avx2 avx512f avx512bw\n", "GenuineIntel avx512"),
        ("vendor_id: AuthenticAMD\nflags: fpu avx avx2\n", "AuthenticAMD avx2"),
        (
            "vendor_id: GenuineIntel\nflags: avx2 avx512f avx512_bf16 amx_bf16 amx_tile\n",
            "GenuineIntel avx512 amx_bf16",
        ),
        ("vendor_id: A\nflags: avx512f avx512_bf16\n", "A avx512 avx512_bf16"),
        ("CPU implementer: 0x41\nFeatures: fp asimd sve sve2\n", "0x41 sve2"),
        ("CPU implementer: 0x41\nFeatures: asimd sve2 svebf16 bf16\n", "0x41 sve2 svebf16"),
        ("vendor_id: GenuineIntel\nflags: fpu\n", None),
    ],
)
def test_the_vectors_of_a_processor_are_the_widest(
    tree: Tree, cpuinfo: str, expected: str | None
) -> None:
    found = machine.cpu_isa(tree({"proc/cpuinfo": f"processor: 0\n{cpuinfo}"}))
    assert (found if isinstance(found, str) else None) == expected


def test_an_unknown_arm_core_is_given_by_its_numbers(tree: Tree) -> None:
    root = tree({"proc/cpuinfo": "processor: 0\nCPU implementer: 0x61\nCPU part: 0xd85\n"})
    assert machine.cpu_model(root) == "implementer 0x61 part 0xd85"


@pytest.mark.parametrize(
    ("vendor", "expected"), [("QEMU", True), ("Amazon EC2", True), ("HP", False)]
)
def test_an_arm_board_says_whether_it_is_virtual(tree: Tree, vendor: str, expected: bool) -> None:  # noqa: FBT001 - a table of cases
    assert machine.virtualised(tree({"sys/class/dmi/id/sys_vendor": vendor})) is expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"AC/type": "Mains", "AC/online": "1"}, PowerSource.AC),
        ({"usb/type": "USB", "usb/online": "1"}, PowerSource.AC),
        ({"AC/type": "Mains", "AC/online": "0", "B/status": "Discharging"}, PowerSource.BATTERY),
        ({"mouse/scope": "Device", "mouse/status": "Discharging"}, PowerSource.UNKNOWN),
        ({"B/type": "Battery", "B/status": "Full"}, PowerSource.UNKNOWN),
    ],
)
def test_power_source(tree: Tree, files: Mapping[str, str], expected: PowerSource) -> None:
    root = tree({f"sys/class/power_supply/{name}": text for name, text in files.items()})
    assert machine.power_source(root) is expected


def test_a_control_group_limits_memory(tree: Tree) -> None:
    assert machine.memory_limit_gib(tree({"sys/fs/cgroup/memory.max": "2147483648\n"})) == 2.0


@pytest.mark.parametrize(
    ("name", "text"),
    [("memory.max", "max"), ("memory/memory.limit_in_bytes", "9223372036854771712")],
)
def test_no_limit_is_no_number(tree: Tree, name: str, text: str) -> None:
    limit = machine.memory_limit_gib(tree({f"sys/fs/cgroup/{name}": text}))
    assert isinstance(limit, NotSupported)


def test_a_container_leaves_its_marker(tree: Tree) -> None:
    assert machine.container(tree({"run/.containerenv": ""})) == "/run/.containerenv"


def test_docker_is_looked_for_where_its_clients_look() -> None:
    assert engine_socket({}) == Path("/var/run/docker.sock")
    assert engine_socket({"DOCKER_HOST": "unix:///run/user/1/docker.sock"}) == Path(
        "/run/user/1/docker.sock"
    )
    assert engine_socket({"DOCKER_HOST": "tcp://elsewhere:2375"}) is None
