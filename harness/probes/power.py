"""Power and energy that files of the kernel tell: the whole node, and the CPU packages.

Source of the names: the kernel's ``powercap`` documentation (RAPL, Intel and AMD) and the
``spark_hwmon`` driver for the DGX Spark, whose sensor ``spbm`` has a channel ``sys_total``. NVML
tells only the GPU's rail, about half of what a DGX Spark draws at the wall.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from harness.probes.reading import NotSupported, Reading, read_number, read_text

_MICRO = 1e-6
_NODE_SENSOR = "spbm"
_NODE_CHANNEL = "sys_total"


class NodePower:
    """The power of the whole machine, from the DGX Spark's own sensor.

    Args:
        root: the file system's root.
    """

    def __init__(self, root: Path) -> None:
        self._input: Path | NotSupported = NotSupported(
            reason=f"no {_NODE_SENSOR} sensor: the spark_hwmon driver is not loaded"
        )
        for sensor in sorted((root / "sys/class/hwmon").glob("hwmon*")):
            if read_text(sensor / "name") == _NODE_SENSOR:
                for label in sorted(sensor.glob("power*_label")):
                    if read_text(label) == _NODE_CHANNEL:
                        self._input = label.with_name(label.name.replace("_label", "_input"))

    def power_w(self) -> Reading:
        """Return the present power, W."""
        if isinstance(self._input, NotSupported):
            return self._input
        return read_number(self._input, scale=_MICRO)


class PackageEnergy:
    """The energy of all CPU packages since the first reading, from the RAPL counters.

    A counter that has passed its range starts again at zero; it is unwound here, which holds as
    long as readings are closer together than one turn (about half an hour at 100 W).

    Args:
        root: the file system's root.
    """

    def __init__(self, root: Path) -> None:
        zones = sorted((root / "sys/class/powercap").glob("intel-rapl:*"))
        self._domains = [
            zone for zone in zones if str(read_text(zone / "name")).startswith("package")
        ]
        self._last_j: dict[Path, float] = {}
        self._total_j = 0.0

    def energy_j(self) -> Reading:
        """Return the energy since the first reading, J."""
        if not self._domains:
            return NotSupported(reason="no RAPL package counter")
        gained = [self._gained_j(domain) for domain in self._domains]
        self._total_j += sum(reading for reading in gained if not isinstance(reading, NotSupported))
        refused = [reading for reading in gained if isinstance(reading, NotSupported)]
        return refused[0] if refused else self._total_j

    def _gained_j(self, domain: Path) -> Reading:
        counter_j = read_number(domain / "energy_uj", scale=_MICRO)
        range_j = read_number(domain / "max_energy_range_uj", scale=_MICRO)
        if isinstance(counter_j, NotSupported):
            return counter_j
        if isinstance(range_j, NotSupported):
            return range_j
        gained_j = unwound_j(self._last_j.get(domain, counter_j), counter_j, range_j)
        self._last_j[domain] = counter_j
        return gained_j


def unwound_j(before_j: float, after_j: float, range_j: float) -> float:
    """Return the energy between two readings of a counter that restarts at `range_j`, J."""
    return after_j - before_j if after_j >= before_j else after_j - before_j + range_j


def trapezoid_j(powers: Sequence[tuple[float, float]]) -> float:
    """Return the energy between the first and the last of (time, s; power, W), J.

    Straight lines join the powers, so one that is missing is bridged.
    """
    return sum((t1 - t0) * (p0 + p1) / 2 for (t0, p0), (t1, p1) in pairwise(powers))
