"""A simulated DGX Spark: what its files and its driver say, and recorded hours of a real one.

The recording is of djangodevreng/dgx-spark-benchmarks (CC BY 4.0): a sample each ten seconds of one
Spark under vLLM. It is no part of the repository; `recorded` reads it from the published raw data.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

GIB = 1024**3


class FakeNvmlError(Exception):
    pass


class FakeNvml:
    """The handful of NVML calls that are used, of a GB10 unless told otherwise.

    Args:
        names: the devices.
        refuses: calls that answer "Not Supported".
        memory_bytes: the device's own memory.
        unopened: what `nvmlInit` raises.
    """

    NVMLError = FakeNvmlError
    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_SM = 1

    def __init__(
        self,
        names: tuple[str, ...] = ("NVIDIA GB10",),
        refuses: tuple[str, ...] = ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetEnforcedPowerLimit"),
        memory_bytes: int = 80 * GIB,
        unopened: str = "",
    ) -> None:
        self.names = names
        self.refuses = refuses
        self.memory_bytes = memory_bytes
        self.unopened = unopened
        self.open_sessions = 0
        self.energy_mj = 5_000_000
        self.power_mw = 60_770
        self.temperature_c = 51
        self.clock_mhz = 2411
        self.utilisation_pct = 96

    def nvmlInit(self) -> None:  # noqa: N802 - the library's names
        if self.unopened:
            raise FakeNvmlError(self.unopened)
        self.open_sessions += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open_sessions -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.names)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        return self.names[handle]

    def __getattr__(self, call: str) -> Callable[..., Any]:
        answers: Mapping[str, Any] = {
            "nvmlSystemGetDriverVersion": "580.126.09",
            "nvmlSystemGetCudaDriverVersion": 13020,
            "nvmlDeviceGetCudaComputeCapability": (12, 1),
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=self.memory_bytes, used=GIB),
            "nvmlDeviceGetPowerUsage": self.power_mw,
            "nvmlDeviceGetEnforcedPowerLimit": 700_000,
            "nvmlDeviceGetTotalEnergyConsumption": self.energy_mj,
            "nvmlDeviceGetTemperature": self.temperature_c,
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=self.utilisation_pct, memory=0),
            "nvmlDeviceGetClockInfo": self.clock_mhz,
        }

        def answer(*_: object) -> Any:
            if call in self.refuses:
                message = "Not Supported"
                raise FakeNvmlError(message)
            return answers[call]

        return answer


_CPUS = [("0xd87" if index % 10 < 5 else "0xd85", index) for index in range(20)]
_TOTAL_KB, _AVAILABLE_KB = 127_600_748, 118_566_368
_HWMON = "sys/class/hwmon/hwmon1"
SPARK_FILES: Mapping[str, str] = {
    "proc/cpuinfo": "\n\n".join(
        f"processor\t: {index}\nCPU implementer\t: 0x41\nCPU part\t: {part}"
        for part, index in _CPUS
    ),
    "proc/meminfo": f"MemTotal: {_TOTAL_KB} kB\nMemFree: 9 kB\nMemAvailable: {_AVAILABLE_KB} kB\n",
    "proc/sys/kernel/osrelease": "6.17.0-1008-nvidia\n",
    "proc/sys/kernel/random/boot_id": "00000000-0000-4000-8000-000000000001\n",
    "proc/pressure/cpu": "some avg10=1.50 avg60=0.00 avg300=0.00 total=7\n",
    "proc/pressure/memory": "some avg10=0.25 avg60=0 avg300=0 total=7\nfull avg10=9\n",
    "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 24.04.3 LTS"\n',
    "sys/class/dmi/id/sys_vendor": "NVIDIA\n",
    "sys/class/dmi/id/product_name": "NVIDIA_DGX_Spark\n",
    "sys/class/hwmon/hwmon0/name": "acpitz\n",
    f"{_HWMON}/name": "spbm\n",
    f"{_HWMON}/power1_label": "sys_total\n",
    f"{_HWMON}/power1_input": "104500000\n",
    f"{_HWMON}/power2_label": "soc_pkg\n",
    f"{_HWMON}/power2_input": "70000000\n",
    "sys/class/thermal/thermal_zone0/temp": "61200\n",
    "sys/class/thermal/thermal_zone1/temp": "74500\n",
}


@dataclass(frozen=True, kw_only=True)
class GpuSample:
    """One line of the recording.

    Attributes:
        used_kb: memory that is not available; it is one memory, and this is the GPU's view of it.
    """

    at_s: float
    power_w: float
    temperature_c: int
    clock_mhz: int
    utilisation_pct: int
    used_kb: int


def recorded(evidence: Path) -> Mapping[str, list[GpuSample]]:
    """Return the samples of every recorded run, in their order."""
    runs: dict[str, list[GpuSample]] = {}
    with (evidence / "gb10" / "telemetry.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            sample = GpuSample(
                at_s=float(row["elapsed_s"]),
                power_w=float(row["power_w"]),
                temperature_c=int(float(row["temp_c"])),
                clock_mhz=int(float(row["sm_mhz"])),
                utilisation_pct=int(float(row["gpu_util"])),
                used_kb=int(float(row["mem_used_mb"]) * 1024),
            )
            runs.setdefault(row["run"], []).append(sample)
    return runs


class SimulatedSpark(FakeNvml):
    """A DGX Spark that shows one sample of the recording after the other.

    Args:
        root: a folder that becomes its file system's root.
    """

    def __init__(self, root: Path, **driver: Any) -> None:
        super().__init__(**driver)
        self.root = root
        for name, text in SPARK_FILES.items():
            self._write(name, text)

    def show(self, sample: GpuSample) -> None:
        """Be as the sample was; the sensor of the whole machine reads the GPU's share and 30 W."""
        self.power_mw = round(sample.power_w * 1000)
        self.temperature_c = sample.temperature_c
        self.clock_mhz = sample.clock_mhz
        self.utilisation_pct = sample.utilisation_pct
        available_kb = max(0, _TOTAL_KB - sample.used_kb)
        self._write("proc/meminfo", f"MemTotal: {_TOTAL_KB} kB\nMemAvailable: {available_kb} kB\n")
        self._write(f"{_HWMON}/power1_input", f"{round((sample.power_w + 30) * 1e6)}\n")

    def _write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.new")  # a reader sees the old text or the new one
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
