from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InputError
from harness.probes import nvidia_smi as power
from harness.probes.nvidia_smi import PowerSample

_HEADER = "timestamp,gpu_util_pct,mem_util_pct,mem_used_mib,power_w,temp_c\n"


def _written(folder: Path, *lines: str) -> Path:
    path = folder / "power.csv"
    path.write_text(_HEADER + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_reads_the_columns_by_name_and_not_supported_as_none(tmp_path: Path) -> None:
    path = _written(
        tmp_path,
        "2026/04/25 09:17:58.059, 2, 0, [N/A], 10.62, 37",
        "2026/04/25 09:18:00.084, [N/A], 0, [N/A], [N/A], 37",
    )
    first, second = power.parse_csv(path)
    assert (first.power_w, first.utilisation_pct, first.temperature_c) == (10.62, 2.0, 37.0)
    assert (second.power_w, second.utilisation_pct) == (None, None)
    assert second.at_s - first.at_s == pytest.approx(2.025)


def test_names_file_and_line_of_every_bad_line(tmp_path: Path) -> None:
    path = _written(
        tmp_path,
        "2026/04/25 09:17:58.059, 2, 0, [N/A], 10.62, 37",
        "2026/04/25 09:18:00.084, 2, 0, [N/A], ten, 37",
        "25.04.2026, 2, 0, [N/A], 10.62, 37",
        "2026/04/25 09:18:04.000, 2, 0, [N/A], nan, 37",
        "2026/04/25 09:18:05.000, 2, 0",
        "2026/04/25 09:17:58.059, 2, 0, [N/A], 10.62, 37",
    )
    with pytest.raises(InputError) as caught:
        power.parse_csv(path)
    places = [problem.place for problem in caught.value.problems]
    assert places == [f"{path}:{line}" for line in (3, 4, 5, 6, 7)]


def test_names_every_absent_column(tmp_path: Path) -> None:
    path = tmp_path / "power.csv"
    path.write_text("timestamp,watts\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        power.parse_csv(path)
    assert [p.key for p in caught.value.problems] == ["gpu_util_pct", "power_w", "temp_c"]


def test_energy_is_the_trapezoid_and_bridges_what_is_unknown() -> None:
    samples = [
        PowerSample(at_s=0.0, power_w=0.0),
        PowerSample(at_s=1800.0),
        PowerSample(at_s=3600.0, power_w=100.0),
        PowerSample(at_s=7200.0, power_w=100.0),
    ]
    assert power.energy_wh(samples) == pytest.approx(150.0)


def test_nothing_known_is_absent_rather_than_zero() -> None:
    samples = [PowerSample(at_s=0.0), PowerSample(at_s=1.0, power_w=10.0)]
    assert power.energy_wh(samples) is None
    assert power.mean_power_w([]) is None
    assert power.mean_utilisation_pct(samples) is None
    assert power.mean_power_w(samples) == 10.0


def test_windows_include_both_ends_and_busy_includes_its_threshold() -> None:
    samples = [PowerSample(at_s=float(t), utilisation_pct=10.0 * t) for t in range(10)]
    assert [s.at_s for s in power.window(samples, 2.0, 4.0)] == [2.0, 3.0, 4.0]
    assert [s.at_s for s in power.busy(samples, 80.0)] == [8.0, 9.0]
    assert power.span_s(samples) == 9.0
