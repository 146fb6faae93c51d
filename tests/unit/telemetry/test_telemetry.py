from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.probes.channels import Channel, Probe, TelemetrySample
from harness.probes.reading import NotSupported, Reading
from harness.records import Measurement
from harness.telemetry.log import SampleLog, read_samples
from harness.telemetry.reduce import (
    counted_j,
    power_from_counter,
    run_measurements,
    summed,
)
from harness.telemetry.sampler import TelemetrySampler
from harness.workloads.api.run_metrics import TELEMETRY_METRICS

NOTHING = NotSupported(reason="not here, nor there")


def _sample(at_s: float, **given: Reading) -> TelemetrySample:
    named = {Channel[name.upper()]: reading for name, reading in given.items()}
    return TelemetrySample(at_s=at_s, readings={**dict.fromkeys(Channel, NOTHING), **named})


def _figure(measured: tuple[Measurement, ...], metric: str, **where: str) -> Measurement:
    (found,) = [each for each in measured if each.metric == metric and each.where == where]
    return found


def _log(*samples: TelemetrySample) -> str:
    file = io.StringIO()
    log = SampleLog(file)
    for sample in samples:
        log.add(sample)
    return file.getvalue()


def test_a_reason_is_written_once_and_read_on_every_line(tmp_path: Path) -> None:
    samples = (_sample(0.0, gpu_power_w=10.5), _sample(1.0), _sample(2.0, gpu_power_w=11.0))
    path = tmp_path / "telemetry.csv"
    path.write_text(_log(*samples))
    assert read_samples(path) == samples
    # the GPU's column falls silent once; the others once at the start
    assert path.read_text().count(NOTHING.reason) == len(Channel)


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.csv"
    path.write_text(_log(_sample(0.0), _sample(1.0))[:-5])
    assert [sample.at_s for sample in read_samples(path)] == [0.0]


def test_zero_bytes_after_a_power_cut_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.csv"
    whole = _log(_sample(0.0), _sample(1.0), _sample(2.0)).encode()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut] + bytes(len(whole) - cut))
        complete = max(0, whole[:cut].count(b"\n") - 1)  # one of them is the header
        assert [sample.at_s for sample in read_samples(path)] == [0.0, 1.0, 2.0][:complete]


def test_segments_add_energies_and_keep_the_highest_peak() -> None:
    one, two = (
        run_measurements(
            [
                _sample(0.0, gpu_energy_j=0.0, gpu_power_w=low, memory_used_gib=low),
                _sample(1.0, gpu_energy_j=3600.0, gpu_power_w=high, memory_used_gib=high),
            ]
        )
        for low, high in ((10.0, 30.0), (20.0, 24.0))
    )
    both = summed([one, two])
    assert _figure(both, "energy", rail="gpu").value == pytest.approx(2.0)
    assert _figure(both, "power.peak", rail="gpu").value == 30.0
    assert _figure(both, "power.mean", rail="gpu").value == pytest.approx(21.0)
    assert _figure(both, "memory.host_peak").value == 30.0
    assert _figure(both, "power.mean", rail="gpu").count == 4
    assert summed([one]) == one


def test_an_energy_that_one_segment_lacks_is_absent() -> None:
    known = run_measurements([_sample(0.0, gpu_energy_j=0.0), _sample(1.0, gpu_energy_j=3600.0)])
    both = summed([run_measurements(()), known])
    energy = _figure(both, "energy", rail="gpu")
    assert (energy.value, energy.absent) == (None, "no telemetry was taken")


def test_no_file_is_no_samples(tmp_path: Path) -> None:
    assert read_samples(tmp_path / "telemetry.csv") == ()


@pytest.mark.parametrize("damage", ["1.000,2\n", ",\n", "soon" + "," * len(Channel) + "\n"])
def test_a_damaged_line_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "telemetry.csv"
    path.write_text(_log(_sample(0.0)) + damage)
    with pytest.raises(ValueError, match=r"telemetry.csv:3: damaged"):
        read_samples(path)


def test_columns_of_another_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.csv"
    path.write_text("at_s,power\n0.0,1.0\n")
    with pytest.raises(ValueError, match=r"telemetry.csv:1"):
        read_samples(path)


def test_every_metric_is_reported_even_without_telemetry() -> None:
    measured = run_measurements(())
    assert {each.metric for each in measured} == {metric.name for metric in TELEMETRY_METRICS}
    assert {each.absent for each in measured} == {"no telemetry was taken"}
    assert {each.value for each in measured} == {None}


def test_every_run_metric_depends_on_the_machine() -> None:
    assert all(metric.timing for metric in TELEMETRY_METRICS)


def test_a_rail_is_reduced_by_hand_computed_figures() -> None:
    # 10 W -> 30 W over 2 s, then 30 W for 4 s: 40 J + 120 J
    powers = [(0.0, 10.0), (2.0, 30.0), (6.0, 30.0)]
    measured = run_measurements([_sample(t, node_power_w=w) for t, w in powers])
    assert _figure(measured, "power.mean", rail="node").value == pytest.approx(70 / 3)
    assert _figure(measured, "power.peak", rail="node").value == 30.0
    assert _figure(measured, "energy", rail="node").value == pytest.approx(160 / 3600)
    assert _figure(measured, "energy", rail="node").count == 3


def test_the_gpu_counter_goes_before_the_trapezoid() -> None:
    samples = [_sample(t, gpu_power_w=10.0, gpu_energy_j=1000 + 12 * t) for t in (0.0, 300.0)]
    energy = _figure(run_measurements(samples), "energy", rail="gpu")
    assert energy.value == pytest.approx(1.0)  # 3600 J by the counter, 3000 J by the samples


def test_without_the_counter_the_samples_are_integrated() -> None:
    samples = [_sample(t, gpu_power_w=12.0) for t in (0.0, 300.0)]
    assert _figure(run_measurements(samples), "energy", rail="gpu").value == pytest.approx(1.0)


def test_a_counter_alone_gives_power_too() -> None:
    counter = [(0.0, 0.0), (1.0, 50.0), (2.0, 150.0), (2.01, 150.0)]
    measured = run_measurements([_sample(t, cpu_energy_j=j) for t, j in counter])
    assert _figure(measured, "power.mean", rail="cpu").value == pytest.approx(150 / 2.01)
    assert _figure(measured, "power.peak", rail="cpu").value == pytest.approx(100.0)
    assert _figure(measured, "energy", rail="cpu").value == pytest.approx(150 / 3600)


def test_intervals_too_short_for_a_counter_are_joined() -> None:
    counter = [(0.0, 0.0), (0.04, 9.0), (0.08, 9.0), (0.12, 12.0), (0.13, 99.0)]
    ((at_s, watts),) = power_from_counter(counter)
    assert at_s == 0.12
    assert watts == pytest.approx(100.0)


def test_a_counter_that_went_back_gives_no_energy() -> None:
    assert isinstance(counted_j([(0.0, 5.0), (1.0, 4.0), (2.0, 9.0)]), NotSupported)
    measured = run_measurements([_sample(t, cpu_energy_j=5.0 - t) for t in (0.0, 1.0)])
    assert "went back" in _figure(measured, "energy", rail="cpu").absent


def test_one_sample_is_no_energy() -> None:
    measured = run_measurements([_sample(0.0, node_power_w=5.0)])
    assert _figure(measured, "power.mean", rail="node").value == 5.0
    energy = _figure(measured, "energy", rail="node")
    assert (energy.value, energy.absent, energy.count) == (None, "too few samples", 0)


def test_peaks_and_utilisation_skip_what_is_not_known() -> None:
    samples = [
        _sample(0.0, gpu_temperature_c=51.0, gpu_utilisation_pct=90.0, memory_used_gib=7.5),
        _sample(1.0),
        _sample(2.0, gpu_temperature_c=50.0, gpu_utilisation_pct=100.0, memory_used_gib=9.5),
    ]
    measured = run_measurements(samples)
    assert _figure(measured, "temperature.peak", sensor="gpu").value == 51.0
    assert _figure(measured, "memory.host_peak").value == 9.5
    utilisation = _figure(measured, "gpu.utilisation_mean")
    assert (utilisation.value, utilisation.unit, utilisation.count) == (95.0, "%", 2)
    assert _figure(measured, "temperature.peak", sensor="host").absent == NOTHING.reason


@contextmanager
def _steady() -> Iterator[Probe]:
    yield lambda: dict.fromkeys(Channel, 1.0)


def test_a_short_run_is_spanned_by_two_samples(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.csv"
    with TelemetrySampler(path, _steady, period_s=60.0):
        pass
    first, last = read_samples(path)
    assert 0.0 <= first.at_s <= last.at_s


def test_a_file_of_another_run_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.csv"
    path.write_text("kept")
    with pytest.raises(FileExistsError), TelemetrySampler(path, _steady):
        pass
    assert path.read_text() == "kept"
