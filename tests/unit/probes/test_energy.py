"""Energy is a counter that rises, integrated where there is none, and absent with a reason."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.probes.energy import energy_counter
from harness.probes.reading import NotSupported


class NvmlError(Exception):
    pass


def nvml(energy: list[int] | None, power: list[int] | None) -> Any:
    def series(values: list[int] | None) -> Any:
        given = iter(values or [])

        def ask(_: object) -> int:
            if values is None:
                message = "not supported"
                raise NvmlError(message)
            return next(given)

        return ask

    return SimpleNamespace(
        NVMLError=NvmlError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda _: object(),
        nvmlDeviceGetTotalEnergyConsumption=series(energy),
        nvmlDeviceGetPowerUsage=series(power),
    )


def zone(root: Path, name: str, energy_uj: int, *, is_package: bool = True) -> Path:
    folder = root / "sys/class/powercap" / name
    folder.mkdir(parents=True)
    (folder / "name").write_text("package-0\n" if is_package else "core\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "max_energy_range_uj").write_text("10000000\n")
    return folder


def test_packages_are_added_up_and_a_counter_that_starts_again_is_unwound(tmp_path: Path) -> None:
    one, other = (zone(tmp_path, f"intel-rapl:{n}", 9_000_000) for n in range(2))
    zone(tmp_path, "intel-rapl:0:0", 5, is_package=False)
    with energy_counter("cpu", root=tmp_path) as energy_j:
        before = energy_j()
        (one / "energy_uj").write_text("1000000")
        (other / "energy_uj").write_text("9500000")
        after = energy_j()
    assert before == 0.0
    assert after == pytest.approx(2.5)


def test_without_a_counter_the_reason_is_told(tmp_path: Path) -> None:
    with energy_counter("cpu", root=tmp_path) as energy_j:
        refused = energy_j()
    assert isinstance(refused, NotSupported)
    assert "RAPL" in refused.reason


def test_a_gpu_with_a_counter_is_read(tmp_path: Path) -> None:
    with energy_counter("cuda", root=tmp_path, nvml_api=nvml([1000, 2000, 7000], None)) as energy_j:
        assert energy_j() == 2.0
        assert energy_j() == 7.0


def test_a_gpu_without_one_has_its_power_integrated() -> None:
    with energy_counter("cuda", nvml_api=nvml(None, [30_000] * 50)) as energy_j:
        first, second = energy_j(), energy_j()
    assert isinstance(first, float)
    assert isinstance(second, float)
    assert 0.0 <= first <= second < 30.0


def test_a_gpu_that_tells_nothing_says_why() -> None:
    with energy_counter("cuda", nvml_api=nvml(None, None)) as energy_j:
        refused = energy_j()
    assert refused == NotSupported(reason="NVML: not supported")
