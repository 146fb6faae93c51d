"""The machine, as a record of facts: each field is probed, and absent with a reason otherwise.

Its name and its devices' serial numbers are not in it: results are published.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import HostError
from harness.probes.nvml import NvmlGpu, nvml_session
from harness.probes.reading import NotSupported, Reasons, check_absent, read_meminfo, read_text
from harness.records import Profile, record
from harness.runtime import machine
from harness.runtime.daemon import DockerEngine, ask_engine, engine_socket
from harness.runtime.machine import PowerSource

GB10 = "NVIDIA GB10"  # the exact device name, whatever the vendor
ON_CPU = "harness run SCENARIO --profile cpu"


@record
class Gpu:
    """One NVIDIA GPU.

    Attributes:
        name: the exact device name.
        memory_gib: the device's own memory; None on unified memory (see `Host.memory_total_gib`).
        compute_capability: ``major.minor``.
        power_limit_w: the power limit that is enforced.
        absent: field -> why it is None.
    """

    name: str | None
    memory_gib: float | None
    compute_capability: str | None
    power_limit_w: float | None
    absent: Mapping[str, str]

    def __post_init__(self) -> None:
        check_absent(self)


@record
class Host:
    """What a machine is; every None has its reason in `absent`.

    Attributes:
        cpu_model: marketing name on x86, core names on Arm.
        cpu_isa: its maker, widest vectors and native bf16, e.g. ``GenuineIntel avx512 amx_bf16``.
        cores: logical CPUs.
        memory_total_gib: MemTotal, GiB; on a GB10 the GPU's memory too.
        memory_available_gib: MemAvailable when probed, GiB.
        memory_limit_gib: the limit of the control group we are in; None without one.
        kernel: release, e.g. ``6.17.0-1008-nvidia``.
        system: the distribution's name.
        architecture: ``aarch64`` or ``x86_64``.
        product: vendor and product name of the board.
        gpus: NVIDIA GPUs in bus order; empty where none is seen, with the reason in `absent`.
        driver: version of the NVIDIA driver.
        cuda: newest CUDA version that the driver takes.
        boot_id: the kernel's id of this boot; another one later means the machine was reset.
        power_source: what feeds it.
        virtualised: whether it is a virtual machine.
        container: the marker that says we are in a container, e.g. ``/.dockerenv``.
        docker: how the Docker engine answers.
    """

    cpu_model: str | None
    cpu_isa: str | None
    cores: int | None
    memory_total_gib: float | None
    memory_available_gib: float | None
    memory_limit_gib: float | None
    kernel: str | None
    system: str | None
    architecture: str
    product: str | None
    gpus: tuple[Gpu, ...]
    driver: str | None
    cuda: str | None
    boot_id: str | None
    power_source: PowerSource
    virtualised: bool | None
    container: str | None
    docker: DockerEngine
    absent: Mapping[str, str]

    def __post_init__(self) -> None:
        check_absent(self)

    @property
    def is_gb10(self) -> bool:
        """Whether this is a DGX Spark or a twin of it."""
        return any(gpu.name == GB10 for gpu in self.gpus)

    @property
    def unified_memory(self) -> bool:
        """Whether GPU allocations come out of the machine's own memory, as known of the GB10."""
        return self.is_gb10


def default_profile(host: Host) -> Profile:
    """Return the profile that a machine asks scenarios at when none is named."""
    if host.is_gb10:
        return Profile.SPARK
    return Profile.CUDA if host.gpus else Profile.CPU


def profile_problem(profile: Profile, host: Host) -> HostError | None:
    """Return why a machine cannot run a profile; None if it can.

    The profiles cpu and evidence are asked on any machine.
    """
    seen = ", ".join(gpu.name or "an unnamed GPU" for gpu in host.gpus)
    seen = seen or f"no GPU is seen: {host.absent.get('gpus', 'the driver shows none')}"
    if profile is Profile.SPARK and not host.is_gb10:
        return HostError(f"profile spark is for a DGX Spark, whose GPU is {GB10} ({seen})", ON_CPU)
    if profile is Profile.CUDA and not host.gpus:
        return HostError(f"profile cuda needs an NVIDIA GPU ({seen})", ON_CPU)
    return None


def probe_host(
    root: Path = Path("/"),
    *,
    nvml_api: Any = None,
    docker_socket: Path | None = None,
    architecture: str | None = None,
) -> Host:
    """Return the facts of this machine.

    Args:
        root: the file system's root; ``/proc`` and ``/sys`` are read under it.
        nvml_api: what to ask instead of the ``pynvml`` module.
        docker_socket: where the engine listens; None for where Docker's clients look.
        architecture: None for the running machine's.
    """
    meminfo, why = read_meminfo(root), Reasons()
    nvidia = _nvidia(root, nvml_api)
    return Host(
        cpu_model=why.known("cpu_model", machine.cpu_model(root)),
        cpu_isa=why.known("cpu_isa", machine.cpu_isa(root)),
        cores=why.known("cores", machine.cores(root)),
        memory_total_gib=why.known("memory_total_gib", meminfo["MemTotal"]),
        memory_available_gib=why.known("memory_available_gib", meminfo["MemAvailable"]),
        memory_limit_gib=why.known("memory_limit_gib", machine.memory_limit_gib(root)),
        kernel=why.known("kernel", read_text(root / "proc/sys/kernel/osrelease")),
        system=why.known("system", machine.system(root)),
        architecture=architecture or platform.machine(),
        product=why.known("product", machine.product(root)),
        gpus=why.known("gpus", nvidia.gpus) or (),
        driver=why.known("driver", nvidia.driver),
        cuda=why.known("cuda", nvidia.cuda),
        boot_id=why.known("boot_id", read_text(root / "proc/sys/kernel/random/boot_id")),
        power_source=machine.power_source(root),
        virtualised=why.known("virtualised", machine.virtualised(root)),
        container=why.known("container", machine.container(root)),
        docker=ask_engine(docker_socket or engine_socket()),
        absent=why,
    )


@record
class _Nvidia:
    gpus: tuple[Gpu, ...] | NotSupported
    driver: str | NotSupported
    cuda: str | NotSupported


def _nvidia(root: Path, api: Any) -> _Nvidia:
    with nvml_session(api) as nvml:
        if isinstance(nvml, NotSupported):
            # the kernel module says its version also where nvidia-ml-py is not installed
            return _Nvidia(gpus=nvml, driver=machine.nvidia_module(root), cuda=nvml)
        gpus = _gpus(nvml.gpus())
        return _Nvidia(gpus=gpus, driver=nvml.driver_version(), cuda=nvml.cuda_version())


def _gpus(gpus: tuple[NvmlGpu, ...] | NotSupported) -> tuple[Gpu, ...] | NotSupported:
    if isinstance(gpus, NotSupported):
        return gpus
    return tuple(_gpu(gpu) for gpu in gpus) or NotSupported(reason="NVML: no GPU")


def _gpu(gpu: NvmlGpu) -> Gpu:
    why = Reasons()
    return Gpu(
        name=why.known("name", gpu.name()),
        memory_gib=why.known("memory_gib", gpu.memory_total_gib()),
        compute_capability=why.known("compute_capability", gpu.compute_capability()),
        power_limit_w=why.known("power_limit_w", gpu.power_limit_w()),
        absent=why,
    )
