from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.probes.reading import NotSupported
from harness.records import Limits, Status
from harness.runtime.host import Host, probe_host
from harness.runtime.memory import (
    FLOOR_GIB,
    UNIFIED_FLOOR_GIB,
    Breach,
    MemoryWatchdog,
    breach,
    floor_gib,
    memory_problem,
)
from harness.runtime.watch import host_problems

Tree = Callable[[Mapping[str, str]], Path]


@pytest.fixture
def host(spark: Path, fake_nvml: Any) -> Host:
    """A DGX Spark with 113.1 GiB available."""
    return probe_host(spark, nvml_api=fake_nvml(), docker_socket=spark / "none")


def _meminfo(gib: float) -> dict[str, str]:
    return {"proc/meminfo": f"MemTotal: 99999999 kB\nMemAvailable: {gib * 1024**2:.0f} kB\n"}


def test_unified_memory_has_the_higher_floor(host: Host) -> None:
    assert floor_gib(host) == UNIFIED_FLOOR_GIB
    assert floor_gib(replace(host, gpus=(), absent={**host.absent, "gpus": "none"})) == FLOOR_GIB


def test_a_budget_must_leave_the_floor(host: Host) -> None:
    assert memory_problem(Limits(memory_gib=105.0), host) is None
    problem = memory_problem(Limits(memory_gib=106.0), host)
    assert problem is not None
    assert "0.9 GiB short" in str(problem)
    assert "113.1 GiB are available" in str(problem)
    assert "drop_caches" in problem.remedy


def test_a_control_group_counts_as_the_machine(host: Host) -> None:
    absent = {name: why for name, why in host.absent.items() if name != "memory_limit_gib"}
    limited = replace(host, memory_limit_gib=20.0, absent=absent)
    problem = memory_problem(Limits(memory_gib=16.0), limited)
    assert problem is not None
    assert "20.0 GiB in all" in str(problem)


def test_a_machine_that_is_too_small_is_told_of_another_profile(host: Host) -> None:
    on_gpu = memory_problem(Limits(memory_gib=200.0, gpus=1), host)
    assert on_gpu is not None
    assert "121.7 GiB in all" in str(on_gpu)
    assert on_gpu.remedy == "harness run SCENARIO --profile cpu"
    on_cpu = memory_problem(Limits(memory_gib=200.0), host)
    assert on_cpu is not None
    assert on_cpu.remedy == "harness run SCENARIO --profile evidence"


def test_a_gpu_that_is_not_there_is_not_looked_for_without_a_driver(
    spark: Path, fake_nvml: Any
) -> None:
    def remedy(**nvml: Any) -> str:
        seen = probe_host(spark, nvml_api=fake_nvml(**nvml), docker_socket=spark / "none")
        (problem,) = host_problems(Limits(gpus=1), seen)
        return problem.remedy

    assert remedy(unopened="Driver Not Loaded") == "harness run SCENARIO --profile cpu"
    assert remedy(names=()) == "nvidia-smi"


def test_no_budget_is_no_problem(host: Host) -> None:
    assert memory_problem(Limits(), host) is None


@given(st.floats(0, 200), st.floats(0, 200))
def test_a_breach_is_being_below_the_floor(available: float, floor: float) -> None:
    found = breach(available, floor)
    assert (found is not None) == (available < floor)
    assert found is None or found.status is Status.OUT_OF_MEMORY


def test_a_breach_names_both_figures() -> None:
    found = breach(7.5, 8.0)
    assert found is not None
    assert "7.50 GiB" in found.cause
    assert "8 GiB" in found.cause


def test_a_machine_that_does_not_say_is_not_in_breach() -> None:
    assert breach(NotSupported(reason="no /proc"), 8.0) is None


def test_the_watchdog_calls_once_and_keeps_the_cause(tree: Tree) -> None:
    root = tree(_meminfo(20.0))
    called = threading.Event()
    breaches: list[Breach] = []

    def end_the_run(found: Breach) -> None:
        breaches.append(found)
        called.set()

    with MemoryWatchdog(8.0, end_the_run, root=root, period_s=0.001) as watchdog:
        assert not called.wait(0.02)
        tree(_meminfo(7.0))
        assert called.wait(5.0)
    assert breaches == [watchdog.breach]
    assert "7.00 GiB" in breaches[0].cause


def test_the_watchdog_ends_with_its_block(tree: Tree) -> None:
    before = threading.active_count()
    breaches: list[Breach] = []
    root = tree(_meminfo(20.0))
    with MemoryWatchdog(8.0, breaches.append, root=root, period_s=60.0) as watchdog:
        pass
    assert watchdog.breach is None
    assert not breaches
    assert threading.active_count() == before
