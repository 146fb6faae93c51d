"""All channels of one sample, read together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.probes.memory import pressure_pct, tree_rss_gib
from harness.probes.nvml import NvmlGpu, first_gpu
from harness.probes.power import NodePower, PackageEnergy
from harness.probes.reading import NotSupported, Reading, read_meminfo
from harness.probes.thermal import hottest_zone_c
from harness.records import record


class Channel(StrEnum):
    """The columns of telemetry.csv, after the time."""

    NODE_POWER_W = "node.power_w"
    GPU_POWER_W = "gpu.power_w"
    GPU_ENERGY_J = "gpu.energy_j"  # since the driver was loaded
    CPU_ENERGY_J = "cpu.energy_j"  # since the first sample
    GPU_TEMPERATURE_C = "gpu.temperature_c"
    HOST_TEMPERATURE_C = "host.temperature_c"  # the hottest zone
    GPU_UTILISATION_PCT = "gpu.utilisation_pct"
    GPU_CLOCK_MHZ = "gpu.clock_mhz"
    GPU_MEMORY_GIB = "gpu.memory_gib"
    MEMORY_AVAILABLE_GIB = "memory.available_gib"
    MEMORY_USED_GIB = "memory.used_gib"  # MemTotal - MemAvailable
    PROCESSES_RSS_GIB = "processes.rss_gib"
    CPU_PRESSURE_PCT = "cpu.pressure_pct"
    MEMORY_PRESSURE_PCT = "memory.pressure_pct"
    IO_PRESSURE_PCT = "io.pressure_pct"


Readings = Mapping[Channel, Reading]
Probe = Callable[[], Readings]

_GPU = {
    Channel.GPU_POWER_W: NvmlGpu.power_w,
    Channel.GPU_ENERGY_J: NvmlGpu.energy_j,
    Channel.GPU_TEMPERATURE_C: NvmlGpu.temperature_c,
    Channel.GPU_UTILISATION_PCT: NvmlGpu.utilisation_pct,
    Channel.GPU_CLOCK_MHZ: NvmlGpu.clock_mhz,
    Channel.GPU_MEMORY_GIB: NvmlGpu.memory_used_gib,
}
_PRESSURE = {
    Channel.CPU_PRESSURE_PCT: "cpu",
    Channel.MEMORY_PRESSURE_PCT: "memory",
    Channel.IO_PRESSURE_PCT: "io",
}


@record
class TelemetrySample:
    """What every probe said at one moment.

    Attributes:
        at_s: seconds since sampling began.
        readings: one for every channel.
    """

    at_s: float
    readings: Readings


@contextmanager
def open_probes(
    *, root: Path = Path("/"), pid: int | None = None, nvml_api: Any = None
) -> Iterator[Probe]:
    """Open what must be opened once and give the function that reads every channel.

    Args:
        root: the file system's root.
        pid: the process whose tree is weighed; None where the work runs in a container, whose
            processes are not ours.
        nvml_api: what to ask instead of the ``pynvml`` module.
    """
    node, packages = NodePower(root), PackageEnergy(root)
    with first_gpu(nvml_api) as gpu:

        def read() -> Readings:
            total, available = read_meminfo(root).values()
            if isinstance(total, NotSupported) or isinstance(available, NotSupported):
                used: Reading = total if isinstance(total, NotSupported) else available
            else:
                used = total - available
            return {
                Channel.NODE_POWER_W: node.power_w(),
                Channel.CPU_ENERGY_J: packages.energy_j(),
                Channel.HOST_TEMPERATURE_C: hottest_zone_c(root),
                Channel.MEMORY_AVAILABLE_GIB: available,
                Channel.MEMORY_USED_GIB: used,
                Channel.PROCESSES_RSS_GIB: (
                    NotSupported(reason="the work runs in a container, out of this process tree")
                    if pid is None
                    else tree_rss_gib(root, pid)
                ),
                **{
                    channel: gpu if isinstance(gpu, NotSupported) else ask(gpu)
                    for channel, ask in _GPU.items()
                },
                **{channel: pressure_pct(root, name) for channel, name in _PRESSURE.items()},
            }

        yield read
