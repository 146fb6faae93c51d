"""What the machine does while a run is at work, from its telemetry."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from harness.follow.tail import last_lines
from harness.probes.channels import Channel
from harness.records import record
from harness.telemetry.log import HEADER, TELEMETRY_FILE

# in words, its unit, and the range that its curve is drawn in at least; None for its own highest
NAMES: dict[Channel, tuple[str, str, tuple[float, float | None] | None]] = {
    Channel.MEMORY_USED_GIB: ("memory used", "GiB", (0.0, None)),
    Channel.GPU_MEMORY_GIB: ("GPU memory", "GiB", (0.0, None)),
    Channel.NODE_POWER_W: ("node power", "W", (0.0, None)),
    Channel.GPU_POWER_W: ("GPU power", "W", (0.0, None)),
    Channel.GPU_TEMPERATURE_C: ("GPU temperature", "°C", None),
    Channel.HOST_TEMPERATURE_C: ("host temperature", "°C", None),
    Channel.GPU_UTILISATION_PCT: ("GPU use", "%", (0.0, 100.0)),
    Channel.CPU_PRESSURE_PCT: ("CPU pressure", "%", (0.0, 100.0)),
}
_SHOWN = tuple(NAMES)
_COLUMNS = {channel: HEADER.index(channel) for channel in _SHOWN}
Readings = dict[Channel, float]


@record
class MachineSeries:
    """Readings over time, thinned out.

    Attributes:
        at_s: seconds since sampling began.
        readings: one a moment, for each channel that has any.
    """

    at_s: tuple[float, ...]
    readings: dict[Channel, tuple[float | None, ...]]


def latest(folder: Path) -> Readings:
    """Return the last whole sample of a run, of the channels that have a number."""
    for line in reversed(last_lines(folder / TELEMETRY_FILE, 3, 4096)):
        found = _row(line)
        if found is not None:
            return {channel: value for channel, value in found[1].items() if not math.isnan(value)}
    return {}


def series(folder: Path, most: int) -> MachineSeries:
    """Return at most about `most` samples of a run, evenly spaced; damaged lines are left out."""
    try:
        text = (folder / TELEMETRY_FILE).read_bytes()
    except OSError:
        return MachineSeries(at_s=(), readings={})
    lines = text.split(b"\n")[1:-1]
    stride = max(1, math.ceil(len(lines) / most))
    chosen = lines[::stride] + (lines[-1:] if stride > 1 else [])
    rows = [row for each in chosen if (row := _row(each.decode(errors="replace"))) is not None]
    readings = {channel: tuple(_number(row[channel]) for _, row in rows) for channel in _SHOWN}
    return MachineSeries(
        at_s=tuple(at_s for at_s, _ in rows),
        readings={
            channel: values
            for channel, values in readings.items()
            if any(value is not None for value in values)
        },
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _row(line: str) -> tuple[float, Readings] | None:
    cells: Sequence[str] = line.replace("\0", "").split(",")
    if len(cells) != len(HEADER):  # a reason with a comma in it is quoted
        cells = next(csv.reader([line]), [])
    if len(cells) != len(HEADER):
        return None
    at_s = _float(cells[0])
    if math.isnan(at_s):
        return None
    return at_s, {channel: _float(cells[column]) for channel, column in _COLUMNS.items()}


def _float(text: str) -> float:
    """Return a cell's number; NaN for a reason, or nothing."""
    if not text or text[0] not in "0123456789-+.":
        return math.nan
    try:
        return float(text)
    except ValueError:
        return math.nan
