"""Temperatures that the kernel tells, beside the GPU's own."""

from __future__ import annotations

from pathlib import Path

from harness.probes.reading import NotSupported, Reading, read_number

_MILLI = 1e-3


def hottest_zone_c(root: Path) -> Reading:
    """Return the temperature of the hottest thermal zone of the machine, degrees Celsius.

    A zone that does not answer is passed over: some are switched off with the part they watch.
    """
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*/temp"))
    readings = [read_number(zone, scale=_MILLI) for zone in zones]
    known = [reading for reading in readings if not isinstance(reading, NotSupported)]
    return max(known) if known else NotSupported(reason="no thermal zone")
