"""The loop's power and energy, from samples that another process wrote on another clock.

The trajectory is stamped in UTC and the samples in the host's local time, so a window is moved onto
the samples' clock before it is cut out. GPU board power only: the wall socket was never measured.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.errors import InputError, Problem
from harness.probes.nvidia_smi import PowerSample, busy, energy_wh, parse_csv, window
from harness.records import record
from harness.workloads.autoresearch.trajectory import Evaluated

_SECONDS_PER_HOUR = 3600.0
_WATTS_PER_KILOWATT = 1000.0


@record
class Telemetry:
    """The samples of a loop, on their own clock.

    Attributes:
        file: all of them, idle head and tail included.
        loop: those from the first iteration's start to the last one's end.
        busy: those with a utilisation of at least the threshold, wherever they are.
        file_wh: energy of `file`, Wh.
        loop_wh: energy of `loop`, Wh.
    """

    file: tuple[PowerSample, ...]
    loop: tuple[PowerSample, ...]
    busy: tuple[PowerSample, ...]
    file_wh: float
    loop_wh: float


def read_telemetry(
    path: Path, evaluated: Sequence[Evaluated], utc_offset_h: float, busy_pct: float
) -> Telemetry:
    """Return the samples in `path`, cut to the loop.

    Raises:
        InputError: a line is damaged, or the loop covers fewer than two powers, as it does when the
            offset is wrong.
    """
    samples = parse_csv(path)
    in_loop = during(samples, evaluated, utc_offset_h)
    file_wh, loop_wh = energy_wh(samples), energy_wh(in_loop)
    if file_wh is None or loop_wh is None:
        message = "fewer than two samples with a power fall into the loop"
        offset = Problem(message=message, path=path, key="utc_offset_h", value=str(utc_offset_h))
        raise InputError([offset])
    return Telemetry(
        file=samples,
        loop=in_loop,
        busy=busy(samples, busy_pct),
        file_wh=file_wh,
        loop_wh=loop_wh,
    )


def during(
    samples: Iterable[PowerSample], evaluated: Sequence[Evaluated], utc_offset_h: float
) -> tuple[PowerSample, ...]:
    """Return the samples from the first iteration's start to the last one's end.

    Args:
        samples: in their own local time.
        evaluated: at least one iteration, in order.
        utc_offset_h: the samples' clock minus UTC, hours.
    """
    shift_s = utc_offset_h * _SECONDS_PER_HOUR
    start_s, end_s = evaluated[0].started_at_s, evaluated[-1].ended_at_s
    return window(samples, start_s + shift_s, end_s + shift_s)


def duration_s(evaluated: Sequence[Evaluated]) -> float:
    """Return the time from the first iteration's start to the last one's end, seconds."""
    return evaluated[-1].ended_at_s - evaluated[0].started_at_s


def powers_w(samples: Iterable[PowerSample]) -> tuple[float, ...]:
    """Return the known powers, W."""
    return tuple(each.power_w for each in samples if each.power_w is not None)


def utilisations_pct(samples: Iterable[PowerSample]) -> tuple[float, ...]:
    """Return the known utilisations, percent."""
    return tuple(each.utilisation_pct for each in samples if each.utilisation_pct is not None)


def temperatures_c(samples: Iterable[PowerSample]) -> tuple[float, ...]:
    """Return the known temperatures, degrees Celsius."""
    return tuple(each.temperature_c for each in samples if each.temperature_c is not None)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the percentile, 0 < percent < 100, with straight lines between ranks as numpy's."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def steady_wh(power_w: float, duration_s: float) -> float:
    """Return the energy of a constant power, Wh: the article's own formula."""
    return power_w * duration_s / _SECONDS_PER_HOUR


def cost_usd(used_wh: float, electricity_usd_per_kwh: float) -> float:
    """Return what the energy costs, USD."""
    return used_wh / _WATTS_PER_KILOWATT * electricity_usd_per_kwh
