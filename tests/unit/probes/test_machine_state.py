"""Whether a machine is itself: 169 hours of a healthy one, and every state that was published."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from harness.probes.machine_state import (
    BANDS,
    GB10,
    SHARES,
    SickSign,
    band_of,
    degraded,
    floor_mhz,
    state_of,
)
from harness.records import HostLog, HostProbe, ProbeMoment

_UNDER_LOAD_PCT = 90.0
# of one DGX Spark, healthy: model-serving-minefield, pull request 55; mlxcel, pull request 684
HEALTHY = HostProbe(
    when=ProbeMoment.ALONE,
    at="2026-08-20T00:00:00+00:00",
    device=GB10,
    took_s=10.0,
    matmul_tflop_s=91.6,
    matvec_gb_s=207.0,
    copy_gb_s=220.0,
    gpu_clock_mhz=2405.0,
    gpu_power_w=92.5,
    gpu_temperature_c=72.0,
    gpu_utilisation_before_pct=0.0,
    other_cores=0.5,
    cores=20,
)


@pytest.fixture(scope="module")
def telemetry(evidence_dir: Path) -> tuple[HostProbe, ...]:
    """What a probe would have seen of clock and temperature, at each sample under load."""
    path = evidence_dir / "gb10" / "telemetry.csv"
    if not path.is_file():
        pytest.skip("telemetry of a GB10 is not here: HARNESS_EVIDENCE_DIR has no gb10")
    return _telemetry(path)


@cache
def _telemetry(path: Path) -> tuple[HostProbe, ...]:
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(
            HostProbe(
                when=ProbeMoment.ALONE,
                at=row["run"],
                device=GB10,
                took_s=10.0,
                gpu_clock_mhz=float(row["sm_mhz"]),
                gpu_power_w=float(row["power_w"]),
                gpu_temperature_c=float(row["temp_c"]),
            )
            for row in csv.DictReader(file)
            if float(row["gpu_util"]) >= _UNDER_LOAD_PCT
        )


def clocks_by_band(probes: Iterable[HostProbe]) -> Mapping[float, list[float]]:
    found: dict[float, list[float]] = defaultdict(list)
    for each in probes:
        assert each.gpu_temperature_c is not None
        assert each.gpu_clock_mhz is not None
        found[band_of(each.gpu_temperature_c).from_c].append(each.gpu_clock_mhz)
    return {band: sorted(clocks) for band, clocks in found.items()}


def quantile(ordered: list[float], share: float) -> float:
    return ordered[int(share * len(ordered))]


def test_the_published_distribution_is_that_of_the_telemetry(
    telemetry: tuple[HostProbe, ...],
) -> None:
    clocks = clocks_by_band(telemetry)
    for band in BANDS:
        found = clocks[band.from_c]
        assert len(found) == band.count
        assert tuple(quantile(found, share) for share in SHARES) == band.quantiles_mhz


def test_169_hours_of_a_healthy_machine_raise_one_false_alarm_in_a_hundred_at_most(
    telemetry: tuple[HostProbe, ...],
) -> None:
    alarms = sum(state_of(each).is_degraded for each in telemetry)
    assert len(telemetry) > 58_000
    assert alarms <= 0.01 * len(telemetry)


def test_nor_do_runs_that_the_limits_were_not_made_from(telemetry: tuple[HostProbe, ...]) -> None:
    """The lowest quantile of half of the runs, against the other half, both ways."""
    runs = sorted({each.at for each in telemetry})
    for half in (set(runs[::2]), set(runs[1::2])):
        known = clocks_by_band(each for each in telemetry if each.at in half)
        others = clocks_by_band(each for each in telemetry if each.at not in half)
        low = {band: 0.98 * quantile(clocks, SHARES[0]) for band, clocks in known.items()}
        alarms = sum(clock < low[band] for band, clocks in others.items() for clock in clocks)
        assert alarms <= 0.01 * sum(map(len, others.values()))


@pytest.mark.parametrize("clock_mhz", [513.0, 702.0, 799.0, 890.0])
def test_every_published_cap_of_the_clock_is_named_at_every_temperature(
    telemetry: tuple[HostProbe, ...], clock_mhz: float
) -> None:
    sick = (replace(each, gpu_clock_mhz=clock_mhz) for each in telemetry[::50])
    assert {state_of(each).signature for each in sick} == {SickSign.CLOCK_CAP}


@pytest.mark.parametrize(
    ("changes", "signature"),
    [
        # stuck after a negotiation of power: 19.5 W, 36.5 TFLOP/s
        (
            {"gpu_clock_mhz": 799.0, "gpu_power_w": 19.5, "matmul_tflop_s": 36.5},
            SickSign.CLOCK_CAP,
        ),
        # a mode of 30 W, at a clock that looks healthy and at one that does not
        ({"gpu_power_w": 30.0, "matmul_tflop_s": 34.0}, SickSign.LOW_POWER),
        (
            {"gpu_clock_mhz": 1400.0, "gpu_power_w": 31.0, "matmul_tflop_s": 41.0},
            SickSign.LOW_POWER,
        ),
        # a third of the matrix-vector rate at the same clock; the copy stays as it was
        ({"matvec_gb_s": 207.0 / 3.3}, SickSign.SLOW_MEMORY),
        (
            {
                "gpu_clock_mhz": 1900.0,
                "gpu_temperature_c": 88.0,
                "gpu_throttle": ("SW thermal slowdown",),
            },
            SickSign.THROTTLED,
        ),
        ({"gpu_clock_mhz": 2000.0, "gpu_temperature_c": 86.0}, SickSign.THROTTLED),
        # locked by its owner at 2200: seen while it is cool
        ({"gpu_clock_mhz": 2187.0, "gpu_temperature_c": 55.0}, SickSign.CLOCK_CAP),
        (
            {"gpu_utilisation_before_pct": 96.0, "gpu_processes": 1, "matvec_gb_s": 100.0},
            SickSign.SHARED,
        ),
        ({"other_cores": 9.0}, SickSign.SHARED),
        ({"matmul_tflop_s": 60.0}, SickSign.SLOW),
    ],
)
def test_every_published_signature_is_named(
    changes: Mapping[str, object], signature: SickSign
) -> None:
    state = state_of(replace(HEALTHY, **changes))  # type: ignore[arg-type]
    assert state.signature is signature
    assert signature in state.sentence
    assert state.sentence.count("\n") == 0


def test_a_healthy_machine_is_placed_among_the_published_ones() -> None:
    assert state_of(HEALTHY).sentence == (
        "NVIDIA GB10 is itself: SM clock 2405 MHz at 72 °C, above at least 1 % of 14,190 published "
        "samples as warm; 91.6 TFLOP/s (published 91.5 to 92.6); 207 GB/s (published 201 to 214)"
    )


def test_a_clock_is_held_against_the_temperature_that_it_was_reached_at() -> None:
    warm = replace(HEALTHY, gpu_clock_mhz=2200.0, gpu_temperature_c=79.0)
    assert not state_of(warm).is_degraded
    assert state_of(replace(warm, gpu_temperature_c=60.0)).is_degraded
    assert state_of(replace(warm, gpu_temperature_c=None)).signature is None
    assert floor_mhz(20.0) == floor_mhz(55.0)


def test_of_a_device_that_nobody_has_published_nothing_is_known() -> None:
    other = replace(HEALTHY, device="NVIDIA H200", gpu_clock_mhz=700.0)
    state = state_of(other)
    assert (state.is_known, state.signature) == (False, None)
    assert "nobody has published what it does" in state.sentence
    hot = replace(other, gpu_throttle=("HW thermal slowdown",))
    assert state_of(hot).signature is SickSign.THROTTLED


@pytest.mark.parametrize(
    ("changes", "signature"),
    [
        ({}, None),
        ({"gpu_clock_mhz": 1000.0}, SickSign.CLOCK_CAP),
        ({"matvec_gb_s": 60.0}, SickSign.SLOW_MEMORY),
        ({"matmul_tflop_s": 40.0}, SickSign.SLOW),
        ({"matmul_tflop_s": 40.0, "gpu_power_w": 30.0}, SickSign.LOW_POWER),
    ],
)
def test_it_is_placed_among_its_own_earlier_probes(
    changes: Mapping[str, object], signature: SickSign | None
) -> None:
    usual = replace(HEALTHY, device="NVIDIA H200")
    now = replace(usual, **changes)  # type: ignore[arg-type]
    state = state_of(now, [usual] * 5)
    assert (state.signature, state.is_known) == (signature, True)
    assert not state_of(now, [usual] * 4).is_known
    # another number of threads is another machine
    assert not state_of(now, [replace(usual, threads=3)] * 9).is_known


def test_one_sick_probe_of_a_run_is_enough() -> None:
    sick = replace(HEALTHY, gpu_clock_mhz=702.0)
    assert degraded(HostLog(probes=(HEALTHY, HEALTHY))) is None
    assert degraded(None) is None
    state = degraded(HostLog(probes=(HEALTHY, sick)))
    assert state is not None
    assert state.signature is SickSign.CLOCK_CAP
