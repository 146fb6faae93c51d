"""From a run's samples to its measurements: pure functions.

Figures of power come with ``where={"rail": ...}``: ``node`` is the whole machine, ``gpu`` the GPU's
rail, ``cpu`` the CPU packages. They are never added up or put in each other's place.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from harness.probes.channels import Channel, TelemetrySample
from harness.probes.power import trapezoid_j
from harness.probes.reading import NotSupported, Reading
from harness.records import Measurement, Scalar
from harness.units import convert
from harness.workloads.api.run_metrics import TELEMETRY_METRICS

_UNITS = {metric.name: metric.unit for metric in TELEMETRY_METRICS}
# RAPL counters move about every millisecond: over 0.1 s that is an error of 1 %
_SHORTEST_INTERVAL_S = 0.1

Series = Sequence[tuple[float, float]]  # (at_s, value), in order of time


def run_measurements(samples: Sequence[TelemetrySample]) -> tuple[Measurement, ...]:
    """Return every metric of `TELEMETRY_METRICS`; an absent one has its reason."""
    utilisation = _known(samples, Channel.GPU_UTILISATION_PCT)
    return (
        *_sampled_rail("node", samples, Channel.NODE_POWER_W),
        *_sampled_rail("gpu", samples, Channel.GPU_POWER_W, Channel.GPU_ENERGY_J),
        *_counted_rail("cpu", samples, Channel.CPU_ENERGY_J),
        _peak("temperature.peak", samples, Channel.GPU_TEMPERATURE_C, sensor="gpu"),
        _peak("temperature.peak", samples, Channel.HOST_TEMPERATURE_C, sensor="host"),
        _peak("memory.host_peak", samples, Channel.MEMORY_USED_GIB),
        _peak("memory.processes_peak", samples, Channel.PROCESSES_RSS_GIB),
        _figure(
            "gpu.utilisation_mean",
            _mean(utilisation),
            _missing(samples, Channel.GPU_UTILISATION_PCT),
            len(utilisation),
        ),
    )


def summed(segments: Sequence[tuple[Measurement, ...]]) -> tuple[Measurement, ...]:
    """Return the measurements of a run in several segments, from those of each.

    Energies are added, peaks are the highest, means are weighted by their samples. What one
    segment lacks the run lacks, but for peaks and means of segments too short for any sample.
    """
    if len(segments) == 1:
        return segments[0]
    return tuple(_of_segments(parts) for parts in zip(*segments, strict=True))


def _of_segments(parts: Sequence[Measurement]) -> Measurement:
    last = parts[-1]
    known = [(float(each.value), each.count) for each in parts if isinstance(each.value, float)]
    is_energy = last.metric == "energy"
    if not known or (is_energy and len(known) < len(parts)):
        absent = next(each.absent for each in parts if each.value is None)
        return replace(last, value=None, count=0, absent=absent)
    count = sum(samples for _, samples in known)
    if is_energy:
        value = math.fsum(part for part, _ in known)
    elif last.metric.endswith("peak"):
        value = max(part for part, _ in known)
    else:
        value = math.fsum(part * samples for part, samples in known) / count
    return replace(last, value=value, count=count, absent="")


def counted_j(counter: Series) -> Reading:
    """Return the energy between the first and the last reading of a counter, J."""
    if len(counter) < 2:  # noqa: PLR2004 - an interval has two ends
        return NotSupported(reason="fewer than two samples")
    if any(after < before for (_, before), (_, after) in pairwise(counter)):
        return NotSupported(reason="the energy counter went back: the driver was reloaded")
    return counter[-1][1] - counter[0][1]


def power_from_counter(counter: Series) -> Series:
    """Return (end of interval, s; mean power in it, W) of an energy counter in J.

    Readings closer together than 0.1 s are taken as one interval.
    """
    powers: list[tuple[float, float]] = []
    began_s, began_j = counter[0] if counter else (0.0, 0.0)
    for at_s, energy_j in counter:
        if at_s - began_s >= _SHORTEST_INTERVAL_S:
            powers.append((at_s, (energy_j - began_j) / (at_s - began_s)))
            began_s, began_j = at_s, energy_j
    return powers


def _sampled_rail(
    rail: str, samples: Sequence[TelemetrySample], drawn: Channel, counter: Channel | None = None
) -> Iterator[Measurement]:
    known = _known(samples, drawn)
    missing = _missing(samples, drawn)
    counted = _known(samples, counter) if counter else []
    if counted:
        joules: Reading | None = counted_j(counted)
    else:
        joules = trapezoid_j(known) if len(known) > 1 else None
    yield _figure("power.mean", _mean(known), missing, len(known), rail=rail)
    yield _figure("power.peak", _highest(known), missing, len(known), rail=rail)
    yield _figure("energy", _wh(joules), missing, len(counted or known), rail=rail)


def _counted_rail(
    rail: str, samples: Sequence[TelemetrySample], counter: Channel
) -> Iterator[Measurement]:
    known = _known(samples, counter)
    missing = _missing(samples, counter)
    joules = counted_j(known) if known else None
    powers = power_from_counter(known)
    mean_w = joules
    if isinstance(joules, float):
        span_s = known[-1][0] - known[0][0]
        mean_w = joules / span_s if span_s >= _SHORTEST_INTERVAL_S else None
    yield _figure("power.mean", mean_w, missing, len(known), rail=rail)
    yield _figure("power.peak", _highest(powers), missing, len(known), rail=rail)
    yield _figure("energy", _wh(joules), missing, len(known), rail=rail)


def _peak(
    metric: str, samples: Sequence[TelemetrySample], channel: Channel, **where: Scalar
) -> Measurement:
    known = _known(samples, channel)
    return _figure(metric, _highest(known), _missing(samples, channel), len(known), **where)


def _known(samples: Iterable[TelemetrySample], channel: Channel) -> list[tuple[float, float]]:
    readings = ((sample.at_s, sample.readings[channel]) for sample in samples)
    return [(at_s, value) for at_s, value in readings if not isinstance(value, NotSupported)]


def _missing(samples: Sequence[TelemetrySample], channel: Channel) -> NotSupported:
    """Return why a figure of `channel` would be absent."""
    if not samples:
        return NotSupported(reason="no telemetry was taken")
    last = samples[-1].readings[channel]
    return last if isinstance(last, NotSupported) else NotSupported(reason="too few samples")


def _mean(series: Series) -> float | None:
    return math.fsum(value for _, value in series) / len(series) if series else None


def _highest(series: Series) -> float | None:
    return max((value for _, value in series), default=None)


def _wh(joules: Reading | None) -> Reading | None:
    return convert(joules, "J", "Wh") if isinstance(joules, float) else joules


def _figure(
    metric: str, value: Reading | None, missing: NotSupported, count: int, **where: Scalar
) -> Measurement:
    figure = missing if value is None else value
    known = None if isinstance(figure, NotSupported) else figure
    return Measurement(
        metric=metric,
        value=known,
        unit=_UNITS[metric],
        where=where,
        count=0 if known is None else count,
        absent=figure.reason if isinstance(figure, NotSupported) else "",
    )
