"""Clock and load of the processors, as the kernel tells them."""

from __future__ import annotations

import os
from pathlib import Path

from harness.probes.reading import NotSupported, Reading, number, read_number, read_text

_KHZ_PER_MHZ = 1e-3
_BUSY = (0, 1, 2, 5, 6, 7)  # user, nice, system, irq, softirq, steal; not idle, not iowait


def fastest_clock_mhz(root: Path) -> Reading:
    """Return the clock of the core that runs fastest now, MHz."""
    folders = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
    readings = [read_number(each, scale=_KHZ_PER_MHZ) for each in folders]
    if not readings:
        text = read_text(root / "proc/cpuinfo")
        lines = [] if isinstance(text, NotSupported) else text.splitlines()
        readings = [
            number(line.partition(":")[2].strip(), what="cpu MHz")
            for line in lines
            if line.startswith("cpu MHz")
        ]
    known = [each for each in readings if not isinstance(each, NotSupported)]
    return max(known) if known else NotSupported(reason="the kernel tells no clock of a core")


def busy_s(root: Path) -> Reading:
    """Return the time that all cores have been at work since boot, seconds.

    Time that a hypervisor took away for others counts: it is work, though not ours.
    """
    text = read_text(root / "proc/stat")
    line = "" if isinstance(text, NotSupported) else text.partition("\n")[0]
    name, *fields = line.split() or [""]
    if name != "cpu" or len(fields) <= max(_BUSY) or not all(map(str.isdecimal, fields)):
        return NotSupported(reason="/proc/stat does not tell the time of the cores")
    ticks = sum(int(fields[at]) for at in _BUSY)
    if not any(map(int, fields)):
        return NotSupported(reason="/proc/stat counts nothing here")
    return ticks / os.sysconf("SC_CLK_TCK")
