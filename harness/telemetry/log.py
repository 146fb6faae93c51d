"""telemetry.csv: one line a sample, one column a channel.

A cell is a number, or the reason for its absence. An empty cell repeats the reason of the line
above. Lines are written whole, so that a kill loses at most the one being written.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import TextIO

from harness.appended import whole_lines
from harness.probes.channels import Channel, TelemetrySample
from harness.probes.reading import NotSupported, Reading, number

TELEMETRY_FILE = "telemetry.csv"
HEADER = ("at_s", *Channel)
_DIGITS = 3  # one millijoule, one mebibyte, one millisecond


class SampleLog:
    """Writes samples to an open text file.

    Args:
        file: where to write; the header is written at once.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._reasons: dict[Channel, str] = {}
        self._write(list(HEADER))

    def add(self, sample: TelemetrySample) -> None:
        """Append one sample as one line."""
        cells = [self._cell(channel, sample.readings[channel]) for channel in Channel]
        self._write([_format(sample.at_s), *cells])

    def _cell(self, channel: Channel, reading: Reading) -> str:
        if not isinstance(reading, NotSupported):
            self._reasons.pop(channel, None)
            return _format(reading)
        repeated = self._reasons.get(channel) == reading.reason
        self._reasons[channel] = reading.reason
        return "" if repeated else reading.reason

    def _write(self, cells: list[str]) -> None:
        line = StringIO()
        csv.writer(line, lineterminator="\n").writerow(cells)
        self._file.write(line.getvalue())
        self._file.flush()


def read_samples(path: Path) -> tuple[TelemetrySample, ...]:
    """Return the samples of a run; a torn tail is left out; no file is no samples.

    Raises:
        ValueError: the header or a whole line is damaged; names file and line.
    """
    samples: list[TelemetrySample] = []
    reasons: dict[Channel, str] = {}
    for place, row in enumerate(_rows(whole_lines(path), path), 1):
        if place == 1:
            if tuple(row) != HEADER:
                message = f"{path}:1: not the columns of this version's telemetry"
                raise ValueError(message)
            continue
        at_s = number(row[0] if row else "", what="at_s")
        if len(row) != len(HEADER) or isinstance(at_s, NotSupported):
            message = f"{path}:{place}: damaged sample"
            raise ValueError(message)
        readings: dict[Channel, Reading] = {}
        for channel, cell in zip(Channel, row[1:], strict=True):
            reading = number(cell, what=channel)
            if isinstance(reading, NotSupported):
                reasons[channel] = cell or reasons.get(channel, "")
                reading = NotSupported(reason=reasons[channel])
            readings[channel] = reading
        samples.append(TelemetrySample(at_s=at_s, readings=readings))
    return tuple(samples)


def _rows(lines: list[str], path: Path) -> Iterator[list[str]]:
    reader = csv.reader(lines)
    try:
        yield from reader
    except csv.Error as error:  # a cell of 128 KiB, or an end of line that is none
        message = f"{path}:{reader.line_num}: {error}"
        raise ValueError(message) from None


def _format(value: float) -> str:
    return f"{value:.{_DIGITS}f}"
