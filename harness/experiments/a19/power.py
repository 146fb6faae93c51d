"""Power, temperature and energy of article 19's sweep, from its ``nvidia-smi`` samples.

The samples carry no marks of the configurations. They are laid against the sweep's own wall times
one after the other, from the first sample that shows work: right to a sampling interval of 2 s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise

from harness.experiments.a19.params import EnvelopeEvidenceParams
from harness.experiments.a19.published import Figure, PublishedCell, PublishedSweep, figures
from harness.probes import nvidia_smi as power
from harness.probes.nvidia_smi import Sample
from harness.records import Scalar

Window = tuple[float, float]  # from, to: seconds on the samples' clock


def telemetry_figures(
    sweep: PublishedSweep, samples: Sequence[Sample], params: EnvelopeEvidenceParams
) -> Iterator[Figure]:
    """Yield what all samples say, what the busy ones say, and what each configuration drew."""
    busy = power.busy(samples, params.busy_pct)
    windows = cell_windows(sweep, samples, params.start_pct)
    yield from _means(samples, {"rows": "all"})
    yield from _means(busy, {"rows": "busy"})
    for precision in sweep.precisions:
        own = [window for cell, window in windows if cell.precision is precision]
        half = power.window(busy, own[0][0], own[-1][1])
        yield from _means(half, {"rows": f"busy_{precision.value}"})
    yield from figures(
        {
            "sweep.power_max": _largest(sample.power_w for sample in samples),
            "sweep.utilisation_max": _largest(sample.utilisation_pct for sample in samples),
            "sweep.temperature_max": _largest(sample.temperature_c for sample in samples),
            "sweep.samples_span": power.span_s(samples),
            "sweep.energy": power.energy_wh(samples),
        }
    )
    for cell, window in windows:
        yield from _cell_power(cell, power.mean_power_w(power.window(busy, *window)))


def cell_windows(
    sweep: PublishedSweep, samples: Sequence[Sample], start_pct: float
) -> list[tuple[PublishedCell, Window]]:
    """Return when each configuration ran, from the first sample of at least `start_pct` on."""
    start_s = power.busy(samples, start_pct)[0].at_s
    edges = accumulate((cell.wall_s for cell in sweep.results), initial=start_s)
    return list(zip(sweep.results, pairwise(edges), strict=True))


def _means(samples: Sequence[Sample], where: dict[str, Scalar]) -> Iterator[Figure]:
    return figures(
        {
            "sweep.samples": len(samples),
            "sweep.power_mean": power.mean_power_w(samples),
            "sweep.utilisation_mean": power.mean_utilisation_pct(samples),
            "sweep.temperature_mean": power.mean_temperature_c(samples),
        },
        where,
    )


def _cell_power(cell: PublishedCell, mean_w: float | None) -> Iterator[Figure]:
    if mean_w is not None:
        efficiency = cell.tokens_per_s / mean_w
        yield from figures({"cell.power": mean_w, "cell.efficiency": efficiency}, cell.where)


def _largest(values: Iterable[float | None]) -> float:
    return max(value for value in values if value is not None)
