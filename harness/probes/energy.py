"""Energy that a workload can tell of its own parts: a counter that only rises, read at both ends.

The harness samples the whole run (`harness.telemetry`); a workload that wants to know what each of
its iterations took reads one of these rails itself. Where the machine offers none, there is none.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.records import record

_SAMPLE_S = 0.5
_RAPL = "sys/class/powercap"


@record
class Meter:
    """One rail.

    Attributes:
        rail: ``gpu`` or ``cpu``; empty where there is none.
        energy_j: J since some moment; None where the rail does not answer now.
        absent: why there is none; empty where there is one.
    """

    rail: str
    energy_j: Callable[[], float | None]
    absent: str = ""


@contextmanager
def open_meter(device: str, *, root: Path = Path("/"), nvml: Any = None) -> Iterator[Meter]:
    """Open the rail of what is computed on: the GPU's for ``cuda``, else the CPU packages'.

    Args:
        device: ``cuda`` or ``cpu``.
        root: the file system's root.
        nvml: what to ask instead of the ``pynvml`` module.
    """
    if device == "cuda":
        with _gpu(nvml) as meter:
            yield meter
    else:
        yield _packages(root)


def _packages(root: Path) -> Meter:
    zones = [
        zone
        for zone in sorted((root / _RAPL).glob("intel-rapl:*"))
        if _text(zone / "name").startswith("package")
    ]
    counters = [_Counter(zone) for zone in zones]
    if not counters or any(counter.energy_j() is None for counter in counters):
        return Meter(rail="", energy_j=lambda: None, absent="no RAPL counter can be read")

    def total_j() -> float | None:
        read = [counter.energy_j() for counter in counters]
        return None if None in read else sum(each for each in read if each is not None)

    return Meter(rail="cpu", energy_j=total_j)


class _Counter:
    """One RAPL counter, unwound where it starts again at zero."""

    def __init__(self, zone: Path) -> None:
        self._zone = zone
        self._last_uj: int | None = None
        self._total_uj = 0

    def energy_j(self) -> float | None:
        now, span = (_text(self._zone / name) for name in ("energy_uj", "max_energy_range_uj"))
        if not (now.isdigit() and span.isdigit()):
            return None
        if self._last_uj is not None:
            gained = int(now) - self._last_uj
            self._total_uj += gained if gained >= 0 else gained + int(span)
        self._last_uj = int(now)
        return self._total_uj / 1e6


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:  # absent, or for root only
        return ""


@contextmanager
def _gpu(given: Any) -> Iterator[Meter]:
    try:
        nvml = given or import_module("pynvml")  # an optional package, for GPUs alone
    except ImportError:
        yield Meter(rail="", energy_j=lambda: None, absent="nvidia-ml-py is not installed")
        return
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        yield Meter(rail="", energy_j=lambda: None, absent=f"NVML: {error}")
        return
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(0)
        counter = _asked(nvml, nvml.nvmlDeviceGetTotalEnergyConsumption, handle)  # mJ
        power = _asked(nvml, nvml.nvmlDeviceGetPowerUsage, handle)  # mW
        if counter() is not None:
            yield Meter(rail="gpu", energy_j=counter)
        elif power() is not None:
            with _Integral(power) as integral:
                yield Meter(rail="gpu", energy_j=integral.energy_j)
        else:
            yield Meter(
                rail="", energy_j=lambda: None, absent="NVML tells neither energy nor power"
            )
    finally:
        nvml.nvmlShutdown()


def _asked(nvml: Any, ask: Callable[[Any], int], handle: Any) -> Callable[[], float | None]:
    """Return a function that asks for thousandths and gives the unit, None where it is refused."""

    def answer() -> float | None:
        try:
            return ask(handle) / 1e3
        except nvml.NVMLError:
            return None

    return answer


class _Integral:
    """The trapezoid over sampled powers, for devices without a counter such as the GB10."""

    def __init__(self, power_w: Callable[[], float | None]) -> None:
        self._power_w = power_w
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._last: tuple[float, float] | None = None
        self._total_j = 0.0

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._follow, name="power", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def energy_j(self) -> float | None:
        self._sample()
        with self._lock:
            return self._total_j if self._last is not None else None

    def _follow(self) -> None:
        while not self._stop.wait(_SAMPLE_S):
            self._sample()

    def _sample(self) -> None:
        power_w, now_s = self._power_w(), time.monotonic()
        if power_w is None:
            return
        with self._lock:
            if self._last is not None:
                then_s, then_w = self._last
                self._total_j += (now_s - then_s) * (then_w + power_w) / 2
            self._last = (now_s, power_w)
