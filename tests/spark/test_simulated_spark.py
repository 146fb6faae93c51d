"""A simulated DGX Spark: its facts, admission, watchdog, telemetry, and what `doctor` says."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import harness.commands.doctor
from harness.cli import main
from harness.errors import ExitCode, HostError
from harness.probes.channels import Channel, TelemetrySample, open_probes
from harness.probes.machine_state import GB10, REMEDIES, SickSign
from harness.probes.power import trapezoid_j
from harness.probes.reading import NotSupported
from harness.records import HostProbe, Limits, Measurement, ProbeMoment, Profile, SandboxKind
from harness.runtime.daemon import DockerEngine, EngineState
from harness.runtime.doctor import Tools
from harness.runtime.host import Host, default_profile, probe_host, profile_problem
from harness.runtime.memory import (
    UNIFIED_FLOOR_GIB,
    Breach,
    MemoryWatchdog,
    floor_gib,
    memory_problem,
)
from harness.telemetry.reduce import run_measurements
from tests.spark.gb10 import GpuSample, SimulatedSpark, recorded

HERE = Path(__file__).parent
IDLE = GpuSample(
    at_s=0.0,
    power_w=12.0,
    temperature_c=45,
    clock_mhz=208,
    utilisation_pct=0,
    used_kb=9 * 1024**2,
)
FRESH = Tools(  # DGX OS as it comes: Python of the system, nothing of ours
    python="3.12.3",
    git=True,
    packages={},
    disk_free_gib=3200.0,
    compiled="/home/owner/.cache/spark-article-harness/compiled",
    sandbox_problems={
        SandboxKind.BUBBLEWRAP: HostError(
            "the kernel refuses user namespaces: unshare: write failed /proc/self/uid_map: "
            "Operation not permitted",
            "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        SandboxKind.CONTAINERS: HostError(
            "no Docker engine is reachable", 'sudo usermod -aG docker "$USER" && newgrp docker'
        ),
    },
)


@pytest.fixture
def spark(tmp_path: Path) -> SimulatedSpark:
    return SimulatedSpark(tmp_path / "spark")


@pytest.fixture
def runs(evidence_dir: Path) -> dict[str, list[GpuSample]]:
    if not (evidence_dir / "gb10" / "telemetry.csv").is_file():
        pytest.skip("telemetry of a GB10 is not here: HARNESS_EVIDENCE_DIR has no gb10")
    return dict(recorded(evidence_dir))


def host_of(spark: SimulatedSpark) -> Host:
    return probe_host(
        spark.root, nvml_api=spark, docker_socket=spark.root / "none", architecture="aarch64"
    )


def figure(found: tuple[Measurement, ...], metric: str, **where: str) -> Measurement:
    (one,) = [each for each in found if each.metric == metric and each.where == where]
    return one


# --- admission and watchdog -----------------------------------------------------------------------


def test_it_is_asked_the_spark_profiles_and_holds_back_eight_gib(spark: SimulatedSpark) -> None:
    spark.show(IDLE)
    host = host_of(spark)
    assert default_profile(host) is Profile.SPARK
    assert profile_problem(Profile.SPARK, host) is None
    assert floor_gib(host) == UNIFIED_FLOOR_GIB
    assert memory_problem(Limits(memory_gib=100.0, gpus=1), host) is None
    assert memory_problem(Limits(memory_gib=114.0, gpus=1), host) is not None


def test_a_server_that_grows_is_ended_before_the_machine_freezes(spark: SimulatedSpark) -> None:
    found: list[Breach] = []
    ended = threading.Event()

    def end(breach: Breach) -> None:
        found.append(breach)
        ended.set()

    spark.show(IDLE)
    with MemoryWatchdog(floor_gib(host_of(spark)), end, root=spark.root) as watchdog:
        for used_gib in range(60, 130):
            spark.show(replace(IDLE, used_kb=used_gib * 1024**2))
            if ended.wait(0.05):  # 20 GiB/s: faster than a model is read or memory is cleared
                break
        assert ended.wait(10.0)
        assert watchdog.breach is not None
    (breach,) = found
    left_gib = float(breach.cause.split()[0])
    assert UNIFIED_FLOOR_GIB > left_gib > UNIFIED_FLOOR_GIB - 3, "some looks after it fell below"


# --- telemetry ------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", ["qwen-3.8-27b/bf16/03", "muse-glimmer-30b/bf16-spec/11"])
def test_recorded_hours_become_the_figures_that_they_hold(
    spark: SimulatedSpark, runs: dict[str, list[GpuSample]], run: str
) -> None:
    samples = runs[run]
    spark.refuses += ("nvmlDeviceGetTotalEnergyConsumption",)
    read = []
    with open_probes(root=spark.root, nvml_api=spark) as probe:
        for sample in samples:
            spark.show(sample)
            read.append(TelemetrySample(at_s=sample.at_s, readings=probe()))
    found = run_measurements(read)
    powers = [(each.at_s, each.power_w) for each in samples]
    of_gpu = figure(found, "energy", rail="gpu")
    assert of_gpu.value == pytest.approx(trapezoid_j(powers) / 3600, rel=1e-6)
    of_node = figure(found, "energy", rail="node").value
    assert isinstance(of_node, float)
    assert isinstance(of_gpu.value, float)
    hours = (samples[-1].at_s - samples[0].at_s) / 3600
    assert of_node - of_gpu.value == pytest.approx(30 * hours, rel=1e-6)
    memory = read[0].readings[Channel.GPU_MEMORY_GIB]
    assert isinstance(memory, NotSupported)
    assert memory.reason == "NVML: Not Supported"


# --- doctor ---------------------------------------------------------------------------------------

HEALTHY = HostProbe(
    when=ProbeMoment.ALONE,
    at="2026-08-20T00:00:00+00:00",
    device=GB10,
    took_s=10.0,
    matmul_tflop_s=91.6,
    matvec_gb_s=207.0,
    copy_gb_s=220.0,
    gpu_clock_mhz=2405.0,
    gpu_power_w=92.5,
    gpu_temperature_c=72.0,
    gpu_utilisation_before_pct=0.0,
    other_cores=0.5,
    cores=20,
)
PUBLISHED = {  # states of Sparks that their owners published, and what they measured
    SickSign.CLOCK_CAP: replace(
        HEALTHY, gpu_clock_mhz=702.0, matmul_tflop_s=27.0, gpu_power_w=24.0
    ),
    SickSign.LOW_POWER: replace(HEALTHY, gpu_power_w=30.0, matmul_tflop_s=33.0),
    SickSign.SLOW_MEMORY: replace(HEALTHY, matvec_gb_s=63.0),
}


@pytest.mark.parametrize("sign", [None, *PUBLISHED])
def test_the_doctor_knows_a_spark_that_is_not_itself(
    sign: SickSign | None,
    spark: SimulatedSpark,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    host, found = host_of(spark), HEALTHY if sign is None else PUBLISHED[sign]
    monkeypatch.setattr(harness.commands.doctor, "probe_host", lambda: host)
    monkeypatch.setattr(harness.commands.doctor, "probe", lambda *_: found)
    code = main(["doctor", "--probe"])
    said = capsys.readouterr().out
    if sign is None:
        assert code == ExitCode.OK
        assert "NVIDIA GB10 is itself" in said
    else:
        assert code == ExitCode.INFRASTRUCTURE
        assert f"NVIDIA GB10 is not itself: {sign}" in said
        assert REMEDIES[sign] in said


@pytest.mark.parametrize("engine", [EngineState.NOT_PERMITTED, EngineState.REACHABLE])
def test_the_page_of_the_doctor(
    engine: EngineState,
    spark: SimulatedSpark,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """As a Spark comes out of its box, and once its owner may use Docker."""
    spark.show(IDLE)
    version = "28.3.3" if engine is EngineState.REACHABLE else None
    host = replace(host_of(spark), docker=DockerEngine(state=engine, version=version))
    tools = FRESH
    if engine is EngineState.REACHABLE:
        problems = {SandboxKind.BUBBLEWRAP: FRESH.sandbox_problems[SandboxKind.BUBBLEWRAP]}
        tools = replace(FRESH, sandbox_problems=problems)

    def not_built(*_: object) -> None:
        message = "not built"
        raise HostError(message, "")

    doctor = harness.commands.doctor
    monkeypatch.setattr(doctor, "probe_host", lambda: host)
    monkeypatch.setattr(doctor, "probe_tools", lambda *_: tools)
    monkeypatch.setattr(doctor, "this_platform", lambda: "linux/arm64")
    monkeypatch.setattr(doctor, "built", not_built)
    monkeypatch.setenv("HARNESS_EVIDENCE_DIR", str(tmp_path))
    assert main(["doctor"]) == ExitCode.OK
    page = capsys.readouterr().out
    path = HERE / f"doctor-{engine.name.lower().replace('_', '-')}.txt"
    if os.environ.get("HARNESS_UPDATE_GOLDEN"):
        path.write_text(page, encoding="utf-8", newline="\n")
    assert page == path.read_text(encoding="utf-8")
