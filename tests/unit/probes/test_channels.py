from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.probes.channels import Channel, open_probes
from harness.probes.memory import pressure_pct, tree_rss_gib
from harness.probes.nvml import nvml_session
from harness.probes.power import NodePower, PackageEnergy
from harness.probes.reading import NotSupported, Reading, number, read_meminfo, read_number

Tree = Callable[[Mapping[str, str]], Path]
ZONE = "sys/class/powercap/intel-rapl:{}/{}"
PAGES_PER_GIB = 1024**3 // mmap.PAGESIZE


def _reason(reading: Reading) -> str:
    assert isinstance(reading, NotSupported)
    return reading.reason


def _package(index: int, energy_uj: int, name: str = "package-0") -> dict[str, str]:
    return {
        ZONE.format(index, "name"): f"{name}\n",
        ZONE.format(index, "energy_uj"): f"{energy_uj}\n",
        ZONE.format(index, "max_energy_range_uj"): "1000000000\n",
    }


def test_a_spark_answers_every_channel_it_has(spark: Path, fake_nvml: Any) -> None:
    with open_probes(root=spark, nvml_api=fake_nvml()) as probe:
        readings = probe()
    assert set(readings) == set(Channel)
    assert readings[Channel.NODE_POWER_W] == pytest.approx(104.5)
    assert readings[Channel.GPU_POWER_W] == pytest.approx(60.77)
    assert readings[Channel.GPU_ENERGY_J] == pytest.approx(5000.0)
    assert readings[Channel.GPU_TEMPERATURE_C] == 51.0
    assert readings[Channel.HOST_TEMPERATURE_C] == 74.5
    assert readings[Channel.GPU_UTILISATION_PCT] == 96.0
    assert readings[Channel.GPU_CLOCK_MHZ] == 2411.0
    assert readings[Channel.MEMORY_USED_GIB] == pytest.approx(8.616, abs=0.001)
    assert readings[Channel.CPU_PRESSURE_PCT] == 1.5
    assert readings[Channel.MEMORY_PRESSURE_PCT] == 0.25


def test_what_a_spark_lacks_is_a_reason(spark: Path, fake_nvml: Any) -> None:
    with open_probes(root=spark, nvml_api=fake_nvml()) as probe:
        readings = probe()
    assert _reason(readings[Channel.GPU_MEMORY_GIB]) == "NVML: Not Supported"
    assert "RAPL" in _reason(readings[Channel.CPU_ENERGY_J])
    assert "container" in _reason(readings[Channel.PROCESSES_RSS_GIB])
    assert "io" in _reason(readings[Channel.IO_PRESSURE_PCT])


def test_one_refused_field_spoils_no_other(spark: Path, fake_nvml: Any) -> None:
    api = fake_nvml(refuses=("nvmlDeviceGetTotalEnergyConsumption",))
    with open_probes(root=spark, nvml_api=api) as probe:
        readings = probe()
    assert _reason(readings[Channel.GPU_ENERGY_J]) == "NVML: Not Supported"
    assert readings[Channel.GPU_POWER_W] == pytest.approx(60.77)
    assert readings[Channel.GPU_MEMORY_GIB] == 1.0


def test_without_nvml_every_gpu_channel_says_why(tmp_path: Path, fake_nvml: Any) -> None:
    api = fake_nvml(unopened="Driver Not Loaded")
    with open_probes(root=tmp_path, nvml_api=api) as probe:
        readings = probe()
    gpu = [channel for channel in Channel if channel.startswith("gpu.")]
    assert {_reason(readings[channel]) for channel in gpu} == {"NVML: Driver Not Loaded"}
    assert all(isinstance(reading, NotSupported) for reading in readings.values())


def test_probes_close_what_they_opened(spark: Path, fake_nvml: Any) -> None:
    api = fake_nvml()
    with open_probes(root=spark, nvml_api=api):
        assert api.open_sessions == 1
    assert api.open_sessions == 0


def test_a_session_that_did_not_open_is_not_closed(fake_nvml: Any) -> None:
    api = fake_nvml(unopened="no")
    with nvml_session(api) as nvml:
        assert nvml == NotSupported(reason="NVML: no")
    assert api.open_sessions == 0


def test_the_sensor_without_its_channel_is_no_node_power(tree: Tree) -> None:
    root = tree(
        {"sys/class/hwmon/hwmon0/name": "spbm", "sys/class/hwmon/hwmon0/power1_label": "gpu"}
    )
    assert "spbm" in _reason(NodePower(root).power_w())


def test_package_energy_counts_from_the_first_reading(tree: Tree) -> None:
    root = tree({**_package(0, 700_000_000), **_package(1, 5_000_000, "package-1")})
    energy = PackageEnergy(root)
    assert energy.energy_j() == 0.0
    tree({**_package(0, 710_000_000), **_package(1, 6_500_000, "package-1")})
    assert energy.energy_j() == pytest.approx(11.5)


def test_a_counter_that_turned_over_is_unwound(tree: Tree) -> None:
    energy = PackageEnergy(tree(_package(0, 990_000_000)))
    energy.energy_j()
    tree(_package(0, 20_000_000))
    assert energy.energy_j() == pytest.approx(30.0)


def test_only_packages_are_added_up(tree: Tree) -> None:
    energy = PackageEnergy(tree({**_package(0, 0), **_package(1, 0, "psys")}))
    energy.energy_j()
    tree({**_package(0, 1_000_000), **_package(1, 9_000_000, "psys")})
    assert energy.energy_j() == pytest.approx(1.0)


def test_a_counter_that_fails_once_loses_nothing(tree: Tree) -> None:
    root = tree({**_package(0, 0), **_package(1, 0, "package-1")})
    energy = PackageEnergy(root)
    energy.energy_j()
    tree({**_package(0, 1_000_000), ZONE.format(1, "energy_uj"): "?"})
    assert "energy_uj" in _reason(energy.energy_j())
    tree({**_package(0, 3_000_000), **_package(1, 4_000_000, "package-1")})
    assert energy.energy_j() == pytest.approx(7.0)


def _process(pid: int, gib: int, children: str) -> dict[str, str]:
    return {
        f"proc/{pid}/statm": f"999 {gib * PAGES_PER_GIB} 0 0 0 0 0\n",
        f"proc/{pid}/task/{pid}/children": children,
    }


def test_a_process_tree_is_weighed_with_the_children_of_all_threads(tree: Tree) -> None:
    root = tree(
        {
            **_process(10, 1, "11 "),
            "proc/10/task/15/children": "12",
            **_process(11, 2, ""),
            **_process(12, 3, "13 14"),
            **_process(13, 4, ""),  # 14 has ended in the meantime
            **_process(20, 100, ""),  # not ours
        }
    )
    assert tree_rss_gib(root, 10) == pytest.approx(10.0)


def test_a_process_that_is_gone_has_no_weight(tree: Tree) -> None:
    assert "process" in _reason(tree_rss_gib(tree(_process(10, 1, "")), 11))


def test_a_kernel_that_lists_no_children_is_not_believed(tree: Tree) -> None:
    root = tree({"proc/10/statm": "1 1 0", "proc/10/task/10/stat": ""})
    assert "children" in _reason(tree_rss_gib(root, 10))


def test_pressure_is_that_of_some_tasks(spark: Path) -> None:
    assert pressure_pct(spark, "memory") == 0.25
    assert "no pressure" in _reason(pressure_pct(spark, "io"))


@pytest.mark.parametrize("text", ["", "nan", "inf", "N/A", "1 2"])
def test_what_is_no_finite_number_is_a_reason(text: str) -> None:
    assert isinstance(number(text), NotSupported)


def test_a_file_that_cannot_be_read_names_no_folder(tmp_path: Path) -> None:
    reason = _reason(read_number(tmp_path / "energy_uj"))
    assert reason == "energy_uj: No such file or directory"


def test_meminfo_without_a_line_says_which(tree: Tree) -> None:
    meminfo = read_meminfo(tree({"proc/meminfo": "MemTotal: 2097152 kB\n"}))
    assert meminfo["MemTotal"] == 2.0
    assert "MemAvailable" in _reason(meminfo["MemAvailable"])
