"""The energy used by a device, as a counter that only rises.

The harness samples a whole run (`harness.telemetry`). A workload that needs the energy of its own
parts reads this counter at both ends of each.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from harness.probes.nvml import first_gpu
from harness.probes.power import PackageEnergy, trapezoid_j
from harness.probes.reading import NotSupported, Reading

_SAMPLE_S = 0.5

EnergyCounter = Callable[[], Reading]  # J since some moment


@contextmanager
def energy_counter(
    device: str, *, root: Path = Path("/"), nvml_api: Any = None
) -> Iterator[EnergyCounter]:
    """Open the counter of the computing device: the GPU's for ``cuda``, else the CPU packages'.

    A GPU without a counter, such as the GB10, has its power sampled and integrated.

    Args:
        device: ``cuda`` or ``cpu``.
        root: the file system's root.
        nvml_api: what to ask instead of the ``pynvml`` module.
    """
    if device != "cuda":
        yield PackageEnergy(root).energy_j
        return
    with first_gpu(nvml_api) as gpu:
        if isinstance(gpu, NotSupported):
            yield lambda: gpu
        elif isinstance(gpu.energy_j(), NotSupported):
            with IntegratedPower(gpu.power_w) as integrated:
                yield integrated.energy_j
        else:
            yield gpu.energy_j


class IntegratedPower:
    """The trapezoid rule over powers that a thread samples while the ``with`` block runs."""

    def __init__(self, power_w: Callable[[], Reading]) -> None:
        self._power_w = power_w
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._last: tuple[float, float] | None = None
        self._total_j = 0.0
        self._thread = threading.Thread(target=self._follow, name="power", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def energy_j(self) -> Reading:
        """Return the energy since the first power that could be read, J."""
        refused = self._sample()
        with self._lock:
            return self._total_j if refused is None or self._last is not None else refused

    def _follow(self) -> None:
        while not self._stop.wait(_SAMPLE_S):
            self._sample()

    def _sample(self) -> NotSupported | None:
        power_w, now_s = self._power_w(), time.monotonic()
        if isinstance(power_w, NotSupported):
            return power_w
        with self._lock:
            if self._last is not None:
                self._total_j += trapezoid_j((self._last, (now_s, power_w)))
            self._last = (now_s, power_w)
        return None
