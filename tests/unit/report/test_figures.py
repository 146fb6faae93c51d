from __future__ import annotations

import pytest

from harness.report.figures import figure, printed, setting, with_spread
from harness.scenario.expectations import Printed
from harness.workloads.api.declare import Metric

TIMING = Metric(name="t", unit="s", doc="", timing=True)
EXACT = Metric(name="e", unit="1", doc="")


@pytest.mark.parametrize(
    ("value", "exact", "timing"),
    [
        (0.0, "0", "0.000"),
        (2.0, "2", "2.000"),
        (1.5, "1.5", "1.500"),
        (14265.7123, "14,265.7", "14,266"),  # no digit before the point is rounded away
        (354601984.0, "354,601,984", "354,601,984"),
        (0.012345678, "0.0123457", "0.01235"),
        (9.99996, "9.99996", "10.00"),  # the carry does not add a digit
        (-3.14159265, "-3.14159", "-3.142"),
        (1e-7, "1e-07", "1.000e-07"),
        (3e20, "3e+20", "3.000e+20"),
    ],
)
def test_digits_by_the_kind_of_metric(value: float, exact: str, timing: str) -> None:
    assert figure(value, EXACT) == exact
    assert figure(value, TIMING) == timing


@pytest.mark.parametrize(
    ("resolution", "text"), [(0.25, "3.12"), (0.1, "3.1"), (1.0, "3"), (10.0, "3"), (1e-9, "3.125")]
)
def test_no_digit_below_the_resolution(resolution: float, text: str) -> None:
    metric = Metric(name="m", unit="1", doc="", resolution=resolution)
    assert figure(3.125, metric) == text


def test_other_values_stand_as_they_are() -> None:
    assert figure(354601984) == "354,601,984"
    assert [figure(True), figure("word"), figure(None)] == ["true", "word", ""]  # noqa: FBT003
    assert figure(float("nan")) == "nan"


def test_digests_are_cut_short() -> None:
    assert figure("0123456789abcdef" * 4) == "0123456789ab…"
    assert figure("sha256:" + "f" * 64 + " of the file") == "sha256:ffffffffffff… of the file"
    assert figure("deadbeef") == "deadbeef"


def test_a_small_negative_rounds_to_plain_zero() -> None:
    metric = Metric(name="m", unit="1", doc="", resolution=0.1)
    assert figure(-0.01, metric) == "0"


@pytest.mark.parametrize(
    ("mean", "spread", "text"),
    [
        (12640.2, 234.5, "12,640 ± 230"),
        (0.01234, 0.00099, "0.01234 ± 0.00099"),
        (0.3, 0.0996, "0.30 ± 0.10"),
        (11.04, 0.00999999, "11.040 ± 0.010"),
        (1e-9, 1e-10, "1.000e-09 ± 1.0e-10"),
        (0.0, 0.5, "0.00 ± 0.50"),
    ],
)
def test_mean_and_deviation_end_at_the_same_digit(mean: float, spread: float, text: str) -> None:
    assert with_spread(mean, spread) == text


def test_figures_of_an_article_keep_their_last_digit() -> None:
    assert printed(Printed(value=4.6, quantum=0.01)) == "4.60"
    assert printed(Printed(value=14266.0)) == "14,266.0"
    assert printed(Printed(value=14266.0, quantum=1.0)) == "14,266"
    assert printed(Printed(value=354_600_000, quantum=100_000)) == "354,600,000"
    assert printed(Printed(value="fp8")) == "fp8"


def test_settings_are_never_rounded() -> None:
    assert setting(0.123456789012) == "0.123456789012"
    assert setting(100000) == "100000"
    assert [setting(True), setting([1, 2]), setting(None)] == ["true", "[1, 2]", "null"]  # noqa: FBT003
