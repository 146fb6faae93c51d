"""A rail is a counter that rises, integrated where there is none, and absent with a reason."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.probes.energy import open_meter


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
    with open_meter("cpu", root=tmp_path) as meter:
        assert meter.rail == "cpu"
        before = meter.energy_j()
        (one / "energy_uj").write_text("1000000")
        (other / "energy_uj").write_text("9500000")
        after = meter.energy_j()
    assert before is not None
    assert after is not None
    assert after - before == pytest.approx(2.5)


def test_without_a_counter_the_reason_is_told(tmp_path: Path) -> None:
    with open_meter("cpu", root=tmp_path) as meter:
        assert (meter.rail, meter.energy_j()) == ("", None)
        assert "RAPL" in meter.absent


def test_a_gpu_with_a_counter_is_read(tmp_path: Path) -> None:
    with open_meter("cuda", root=tmp_path, nvml=nvml([1000, 2000, 7000], None)) as meter:
        assert meter.rail == "gpu"
        assert meter.energy_j() == 2.0
        assert meter.energy_j() == 7.0


def test_a_gpu_without_one_has_its_power_integrated() -> None:
    with open_meter("cuda", nvml=nvml(None, [30_000] * 50)) as meter:
        assert meter.rail == "gpu"
        first, second = meter.energy_j(), meter.energy_j()
    assert first is not None
    assert second is not None
    assert 0.0 <= first <= second < 30.0


def test_a_gpu_that_tells_nothing_has_no_rail() -> None:
    with open_meter("cuda", nvml=nvml(None, None)) as meter:
        assert (meter.rail, meter.energy_j()) == ("", None)
        assert "neither" in meter.absent
