"""Samples that ``nvidia-smi`` logged for a published run: read, cut into windows, reduced.

A cell ``[N/A]`` is None, and None is left out of every mean and integral.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import InputError, Problem
from harness.probes.power import trapezoid_j
from harness.records import record

_STAMP = "%Y/%m/%d %H:%M:%S.%f"
_NOT_SUPPORTED = "[N/A]"
_COLUMNS = ("timestamp", "gpu_util_pct", "power_w", "temp_c")
_SECONDS_PER_HOUR = 3600.0


@record
class PowerSample:
    """What the GPU's probes said at one moment.

    Attributes:
        at_s: seconds since 1970 on the clock that wrote the sample, its time zone unknown.
        power_w: board power, W.
        utilisation_pct: share of the last interval in which a kernel ran, percent.
        temperature_c: GPU temperature, degrees Celsius.
    """

    at_s: float
    power_w: float | None = None
    utilisation_pct: float | None = None
    temperature_c: float | None = None


def parse_csv(path: Path) -> tuple[PowerSample, ...]:
    """Return the samples of a file that ``nvidia-smi`` wrote in a loop, in their order.

    The first line names the columns; ``timestamp``, ``gpu_util_pct``, ``power_w`` and ``temp_c``
    are read, others are passed over.

    Raises:
        InputError: a column is absent; or, with file and line each, every line that has a cell
            which is neither a number nor ``[N/A]``, or whose time is not later than the last.
    """
    problems: list[Problem] = []
    samples: list[PowerSample] = []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        header = reader.fieldnames or ()
        if absent := [name for name in _COLUMNS if name not in header]:
            raise InputError(
                Problem(
                    message="column is absent",
                    path=path,
                    line=1,
                    key=name,
                    value=", ".join(header),
                )
                for name in absent
            )
        for row in reader:
            try:
                samples.append(
                    _sample(row, later_than_s=samples[-1].at_s if samples else -math.inf)
                )
            except ValueError as error:
                problems.append(Problem(message=str(error), path=path, line=reader.line_num))
    if problems:
        raise InputError(problems)
    return tuple(samples)


def span_s(samples: Sequence[PowerSample]) -> float:
    """Return the time from the first sample to the last, seconds."""
    return samples[-1].at_s - samples[0].at_s if samples else 0.0


def window(samples: Iterable[PowerSample], start_s: float, end_s: float) -> tuple[PowerSample, ...]:
    """Return the samples from `start_s` to `end_s`, both included, on the samples' own clock."""
    return tuple(sample for sample in samples if start_s <= sample.at_s <= end_s)


def busy(samples: Iterable[PowerSample], threshold_pct: float) -> tuple[PowerSample, ...]:
    """Return the samples whose utilisation is known and at least `threshold_pct`."""
    return tuple(
        sample
        for sample in samples
        if sample.utilisation_pct is not None and sample.utilisation_pct >= threshold_pct
    )


def mean_power_w(samples: Iterable[PowerSample]) -> float | None:
    """Return the mean of the known powers, W; None where none is known."""
    return _mean(sample.power_w for sample in samples)


def mean_utilisation_pct(samples: Iterable[PowerSample]) -> float | None:
    """Return the mean of the known utilisations, percent; None where none is known."""
    return _mean(sample.utilisation_pct for sample in samples)


def mean_temperature_c(samples: Iterable[PowerSample]) -> float | None:
    """Return the mean of the known temperatures, degrees Celsius; None where none is known."""
    return _mean(sample.temperature_c for sample in samples)


def energy_wh(samples: Iterable[PowerSample]) -> float | None:
    """Return the energy between the first and the last known power, Wh, by the trapezoid rule.

    A sample without a power is bridged by the straight line between its neighbours. None where
    fewer than two powers are known, since no interval is covered then.
    """
    known = [(sample.at_s, sample.power_w) for sample in samples if sample.power_w is not None]
    if len(known) < 2:  # noqa: PLR2004 - an interval has two ends
        return None
    return trapezoid_j(known) / _SECONDS_PER_HOUR


def _sample(row: Mapping[str, str | None], *, later_than_s: float) -> PowerSample:
    stamp, utilisation, power, temperature = (row[name] or "" for name in _COLUMNS)
    at_s = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()
    if at_s <= later_than_s:
        message = f"time {stamp} is not later than the one before"
        raise ValueError(message)
    return PowerSample(
        at_s=at_s,
        power_w=_number(power),
        utilisation_pct=_number(utilisation),
        temperature_c=_number(temperature),
    )


def _number(cell: str) -> float | None:
    """Read a cell; ``float`` reports a malformed one, and NaN is refused."""
    if cell == _NOT_SUPPORTED:
        return None
    value = float(cell)
    if not math.isfinite(value):
        message = f"{cell!r} is not a finite number"
        raise ValueError(message)
    return value


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None
