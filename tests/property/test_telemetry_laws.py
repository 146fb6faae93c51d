from __future__ import annotations

import io
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.probes.channels import Channel, TelemetrySample
from harness.probes.power import unwound_j
from harness.probes.reading import NotSupported, Reading
from harness.records import Measurement, to_json
from harness.telemetry.log import SampleLog, read_samples
from harness.telemetry.reduce import counted_j, power_from_counter, run_measurements

NOTHING = NotSupported(reason="nothing")
# as a file keeps them: to a thousandth
numbers = st.integers(min_value=0, max_value=10**9).map(lambda n: n / 1000)
reasons = st.sampled_from(["Not Supported", "gone, and lost", 'said "no"']).map(
    lambda reason: NotSupported(reason=reason)
)
readings: st.SearchStrategy[Reading] = st.one_of(numbers, reasons)
times = st.lists(numbers, min_size=0, max_size=12, unique=True).map(sorted)


@st.composite
def runs(draw: st.DrawFn) -> tuple[TelemetrySample, ...]:
    return tuple(
        TelemetrySample(at_s=at_s, readings={channel: draw(readings) for channel in Channel})
        for at_s in draw(times)
    )


@st.composite
def powers(draw: st.DrawFn) -> list[tuple[float, float]]:
    return [(at_s, draw(st.floats(0.0, 1000.0))) for at_s in draw(times)]


def _node(series: list[tuple[float, float]]) -> dict[str, Measurement]:
    nothing = dict.fromkeys(Channel, NOTHING)
    samples = [
        TelemetrySample(at_s=t, readings={**nothing, Channel.NODE_POWER_W: watts})
        for t, watts in series
    ]
    measured = run_measurements(samples)
    return {each.metric: each for each in measured if each.where == {"rail": "node"}}


def _value(measurement: Measurement) -> float:
    assert isinstance(measurement.value, float)
    return measurement.value


@given(runs())
def test_a_file_gives_back_the_samples_that_it_was_given(
    samples: tuple[TelemetrySample, ...],
) -> None:
    file = io.StringIO()
    log = SampleLog(file)
    for sample in samples:
        log.add(sample)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "telemetry.csv"
        path.write_text(file.getvalue())
        assert read_samples(path) == samples


@given(runs())
def test_a_figure_has_either_a_finite_value_or_a_reason(
    samples: tuple[TelemetrySample, ...],
) -> None:
    for measurement in run_measurements(samples):
        to_json(measurement)  # refuses what is not finite
        assert (measurement.value is None) == bool(measurement.absent)
        assert (measurement.count == 0) == (measurement.value is None)


@given(powers())
def test_mean_and_energy_lie_between_the_extremes(series: list[tuple[float, float]]) -> None:
    node = _node(series)
    if not series:
        assert node["power.mean"].value is None
        return
    low, high = min(w for _, w in series), max(w for _, w in series)
    assert low - 1e-6 <= _value(node["power.mean"]) <= high + 1e-6
    assert node["power.peak"].value == high
    if len(series) > 1:
        hours = (series[-1][0] - series[0][0]) / 3600
        slack = 1e-9 * (1 + high * hours)
        assert low * hours - slack <= _value(node["energy"]) <= high * hours + slack


@given(powers(), st.integers(min_value=0, max_value=11))
def test_energy_adds_up_over_two_windows(series: list[tuple[float, float]], cut: int) -> None:
    if not 1 <= cut <= len(series) - 2:
        return
    whole = _value(_node(series)["energy"])
    parts = _value(_node(series[: cut + 1])["energy"]) + _value(_node(series[cut:])["energy"])
    assert parts == pytest.approx(whole, rel=1e-9, abs=1e-9)


@given(st.floats(0.0, 1000.0), st.integers(2, 200))
def test_constant_power_by_counter_is_that_power(watts: float, seconds: int) -> None:
    counter = [(float(t), watts * t) for t in range(seconds + 1)]
    assert counted_j(counter) == pytest.approx(watts * seconds)
    assert [power for _, power in power_from_counter(counter)] == pytest.approx([watts] * seconds)


@given(st.integers(0, 999), st.integers(0, 999))
def test_unwinding_gives_back_what_was_drawn(start: int, drawn: int) -> None:
    assert unwound_j(start, (start + drawn) % 1000, 1000) == drawn
