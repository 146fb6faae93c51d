"""NVIDIA's management library, asked field by field.

Which fields a device answers differs by device and by driver: a GB10 has no memory figures of its
own (its memory is the host's), some drivers have no energy counter. So each field is a `Reading`
of its own, and one refusal spoils no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TypeVar

from harness.probes.reading import NotSupported, Reading

_BYTES_PER_GIB = 1024.0**3
_MILLI = 1e-3

# nvml.h, nvmlClocksEventReasons: idle and the clocks that a user set are no sign of trouble
_REASONS = {
    0x04: "SW power cap",
    0x08: "HW slowdown",
    0x20: "SW thermal slowdown",
    0x40: "HW thermal slowdown",
    0x80: "HW power brake slowdown",
}

T = TypeVar("T")


class NvmlGpu:
    """One GPU of an open session; every method asks the driver afresh.

    Args:
        api: the ``pynvml`` module, or an object with the calls used here.
        index: NVML's index, which is the order on the bus.
    """

    def __init__(self, api: Any, index: int) -> None:
        self._api = api
        self._handle = api.nvmlDeviceGetHandleByIndex(index)

    def name(self) -> str | NotSupported:
        """Return the exact device name, e.g. ``NVIDIA GB10``."""
        return self._ask(lambda: str(self._api.nvmlDeviceGetName(self._handle)))

    def compute_capability(self) -> str | NotSupported:
        """Return ``major.minor``."""
        api, handle = self._api, self._handle
        return self._ask(lambda: "{}.{}".format(*api.nvmlDeviceGetCudaComputeCapability(handle)))

    def memory_total_gib(self) -> Reading:
        """Return the size of the device's own memory, GiB."""
        return self._memory_gib("total")

    def memory_used_gib(self) -> Reading:
        """Return how much of the device's own memory is in use, GiB."""
        return self._memory_gib("used")

    def power_w(self) -> Reading:
        """Return the present power, W; a mean over up to one second on most devices."""
        return self._number(lambda: self._api.nvmlDeviceGetPowerUsage(self._handle) * _MILLI)

    def power_limit_w(self) -> Reading:
        """Return the power limit that is enforced, W."""
        return self._number(
            lambda: self._api.nvmlDeviceGetEnforcedPowerLimit(self._handle) * _MILLI
        )

    def energy_j(self) -> Reading:
        """Return the energy used since the driver was loaded, J."""
        api, handle = self._api, self._handle
        return self._number(lambda: api.nvmlDeviceGetTotalEnergyConsumption(handle) * _MILLI)

    def temperature_c(self) -> Reading:
        """Return the GPU's temperature, degrees Celsius."""
        api, handle = self._api, self._handle
        return self._number(lambda: api.nvmlDeviceGetTemperature(handle, api.NVML_TEMPERATURE_GPU))

    def utilisation_pct(self) -> Reading:
        """Return the share of the last interval in which a kernel ran, percent."""
        return self._number(lambda: self._api.nvmlDeviceGetUtilizationRates(self._handle).gpu)

    def clock_mhz(self) -> Reading:
        """Return the clock of the multiprocessors now, MHz."""
        api, handle = self._api, self._handle
        return self._number(lambda: api.nvmlDeviceGetClockInfo(handle, api.NVML_CLOCK_SM))

    def throttle_reasons(self) -> tuple[str, ...] | NotSupported:
        """Return why the driver holds the clock below what it could be; empty where it does not."""
        api, handle = self._api, self._handle
        bits = self._ask(lambda: int(api.nvmlDeviceGetCurrentClocksThrottleReasons(handle)))
        if isinstance(bits, NotSupported):
            return bits
        return tuple(name for bit, name in _REASONS.items() if bits & bit)

    def num_compute_processes(self) -> Reading:
        """Return how many processes have a compute context on the device."""
        api, handle = self._api, self._handle
        return self._number(lambda: len(api.nvmlDeviceGetComputeRunningProcesses(handle)))

    def _memory_gib(self, part: str) -> Reading:
        memory = self._ask(lambda: self._api.nvmlDeviceGetMemoryInfo(self._handle))
        if isinstance(memory, NotSupported):
            return memory
        if not memory.total:  # some drivers answer success and zeros on unified memory
            return NotSupported(reason="NVML: the device has no dedicated memory")
        return float(getattr(memory, part)) / _BYTES_PER_GIB

    def _number(self, call: Callable[[], float]) -> Reading:
        return self._ask(lambda: float(call()))

    def _ask(self, call: Callable[[], T]) -> T | NotSupported:
        return _ask(self._api, call)


class Nvml:
    """An open session with the driver; get one from `nvml_session`."""

    def __init__(self, api: Any) -> None:
        self._api = api

    def driver_version(self) -> str | NotSupported:
        """Return the driver's version, e.g. ``580.126.09``."""
        return _ask(self._api, lambda: str(self._api.nvmlSystemGetDriverVersion()))

    def cuda_version(self) -> str | NotSupported:
        """Return the newest CUDA version that the driver takes, e.g. ``13.0``."""
        encoded = _ask(self._api, lambda: int(self._api.nvmlSystemGetCudaDriverVersion()))
        if isinstance(encoded, NotSupported):
            return encoded
        return f"{encoded // 1000}.{encoded % 1000 // 10}"  # 13020 is 13.2 (NVML's own macros)

    def gpus(self) -> tuple[NvmlGpu, ...] | NotSupported:
        """Return every GPU that the driver lets us see, in bus order."""
        count = _ask(self._api, lambda: int(self._api.nvmlDeviceGetCount()))
        if isinstance(count, NotSupported):
            return count
        return _ask(self._api, lambda: tuple(NvmlGpu(self._api, i) for i in range(count)))


@contextmanager
def nvml_session(api: Any = None) -> Iterator[Nvml | NotSupported]:
    """Open NVML for a while, or say why it cannot be opened.

    Args:
        api: what to ask instead of the ``pynvml`` module.
    """
    try:
        # optional: a machine without an NVIDIA GPU has no use for it
        api = api or import_module("pynvml")
    except ModuleNotFoundError:
        yield NotSupported(reason="nvidia-ml-py is not installed")
        return
    opened = _ask(api, api.nvmlInit)
    if isinstance(opened, NotSupported):
        yield opened
        return
    try:
        yield Nvml(api)
    finally:
        _ask(api, api.nvmlShutdown)


@contextmanager
def first_gpu(api: Any = None) -> Iterator[NvmlGpu | NotSupported]:
    """Open the GPU that runs use, the first on the bus; see `nvml_session`."""
    with nvml_session(api) as nvml:
        gpus = nvml.gpus() if isinstance(nvml, Nvml) else nvml
        if isinstance(gpus, NotSupported):
            yield gpus
        else:
            yield gpus[0] if gpus else NotSupported(reason="NVML: no GPU")


def _ask(api: Any, call: Callable[[], T]) -> T | NotSupported:
    try:
        return call()
    except api.NVMLError as error:
        return NotSupported(reason=f"NVML: {error}")
