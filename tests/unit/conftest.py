"""Machines made of files, and a management library made of answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

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
            "nvmlDeviceGetPowerUsage": 60_770,
            "nvmlDeviceGetEnforcedPowerLimit": 700_000,
            "nvmlDeviceGetTotalEnergyConsumption": self.energy_mj,
            "nvmlDeviceGetTemperature": 51,
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=96, memory=0),
            "nvmlDeviceGetClockInfo": 2411,
        }

        def answer(*_: object) -> Any:
            if call in self.refuses:
                message = "Not Supported"
                raise FakeNvmlError(message)
            return answers[call]

        return answer


@pytest.fixture
def fake_nvml() -> type[FakeNvml]:
    return FakeNvml


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """Return a function that writes files (path -> text) and gives back their root."""

    def write(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture
def spark(tree: Callable[[Mapping[str, str]], Path]) -> Path:
    """The root of a DGX Spark: 20 Arm cores of two kinds, no framebuffer, the spbm sensor."""
    cpus = [("0xd87" if index % 10 < 5 else "0xd85", index) for index in range(20)]
    cpuinfo = "\n\n".join(
        f"processor\t: {index}\nCPU implementer\t: 0x41\nCPU part\t: {part}" for part, index in cpus
    )
    return tree(
        {
            "proc/cpuinfo": cpuinfo,
            "proc/meminfo": "MemTotal: 127600748 kB\nMemFree: 9 kB\nMemAvailable: 118566368 kB\n",
            "proc/sys/kernel/osrelease": "6.17.0-1008-nvidia\n",
            "proc/sys/kernel/random/boot_id": "00000000-0000-4000-8000-000000000001\n",
            "proc/pressure/cpu": "some avg10=1.50 avg60=0.00 avg300=0.00 total=7\n",
            "proc/pressure/memory": "some avg10=0.25 avg60=0 avg300=0 total=7\nfull avg10=9\n",
            "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 24.04.3 LTS"\n',
            "sys/class/dmi/id/sys_vendor": "NVIDIA\n",
            "sys/class/dmi/id/product_name": "NVIDIA_DGX_Spark\n",
            "sys/class/hwmon/hwmon0/name": "acpitz\n",
            "sys/class/hwmon/hwmon1/name": "spbm\n",
            "sys/class/hwmon/hwmon1/power1_label": "sys_total\n",
            "sys/class/hwmon/hwmon1/power1_input": "104500000\n",
            "sys/class/hwmon/hwmon1/power2_label": "soc_pkg\n",
            "sys/class/hwmon/hwmon1/power2_input": "70000000\n",
            "sys/class/thermal/thermal_zone0/temp": "61200\n",
            "sys/class/thermal/thermal_zone1/temp": "74500\n",
        }
    )
