from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.probes.reading import NotSupported
from harness.records import Limits, Profile, Status
from harness.runtime.host import Host, probe_host
from harness.runtime.memory import (
    FLOOR_GIB,
    UNIFIED_FLOOR_GIB,
    Breach,
    MemoryWatchdog,
    breach,
    floor_gib,
    memory_problem,
    steps_problem,
)
from harness.runtime.watch import host_problems
from harness.scenario.folders import find, folders
from harness.scenario.load import Loaded, load
from harness.scenario.services import NeededService
from harness.workloads.api.declare import StepMemory, build
from harness.workloads.api.registry import workload

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
    assert problem.remedy.startswith("ps ")  # what is available counts the page cache already


_STEP = StepMemory(
    step="training",
    weights_gib=14.0,
    kv_cache_gib=3.5,
    trainer_gib=28.0,
    workspace_gib=8.0,
    processes_gib=4.0,
)
_NIM = NeededService(
    role="proposer",
    model="m",
    address="http://127.0.0.1:8000/v1",
    address_param="proposer_base_url",
    model_param="proposer_model",
    memory_gib=59.2,
)


def test_the_worst_step_and_the_servers_beside_it_must_leave_the_floor(host: Host) -> None:
    small = replace(_STEP, step="tasks", trainer_gib=0.0)
    assert steps_problem([small, _STEP], [], host, served=True) is None
    assert steps_problem([], [_NIM], host, served=True) is None
    problem = steps_problem([small, _STEP], [_NIM], host, served=False)
    assert problem is not None
    assert "116.7 GiB are needed at the worst moment, and 108.0 is all" in str(problem)
    assert "training 57.5 GiB (weights 14.0, cache 3.5, trainer 28.0" in str(problem)
    assert "proposer 59.2 GiB" in str(problem)
    elsewhere = replace(_NIM, address="http://192.0.2.1:8000/v1")
    assert steps_problem([_STEP], [elsewhere], host, served=True) is None


def test_a_server_that_answers_has_its_memory_already(host: Host) -> None:
    step = replace(_STEP, trainer_gib=10.0)  # 39.5 GiB in all
    with_server = replace(host, memory_available_gib=55.0)
    assert steps_problem([step], [_NIM], with_server, served=True) is None
    problem = steps_problem([step], [_NIM], with_server, served=False)
    assert problem is not None
    assert "51.7 GiB are short above the floor of 8" in str(problem)
    assert problem.remedy.startswith("ps ")


def test_a_gpu_of_its_own_holds_what_is_on_it_and_no_process(host: Host) -> None:
    (gpu,) = host.gpus
    absent = {name: why for name, why in gpu.absent.items() if name != "memory_gib"}
    dedicated = replace(gpu, name="NVIDIA RTX 4090", memory_gib=24.0, absent=absent)
    card = replace(host, gpus=(dedicated,))
    assert (
        steps_problem([replace(_STEP, trainer_gib=0.0, weights_gib=12.5)], [], card, served=True)
        is None
    )
    problem = steps_problem([_STEP], [], card, served=True)
    assert problem is not None
    assert "the GPU has 24.0 GiB, and 53.5 are needed" in str(problem)
    assert (
        steps_problem(
            [_STEP], [], replace(host, gpus=(), absent={**host.absent, "gpus": "none"}), served=True
        )
        is None
    )


# MemTotal and what is available on a Spark that runs nothing else, as owners report them
@pytest.mark.parametrize(("total_gib", "available_gib"), [(119.2, 113.5), (121.7, 116.0)])
def test_every_spark_profile_is_admitted_by_a_real_spark(
    total_gib: float, available_gib: float, host: Host, project_root: Path
) -> None:
    seen = []
    for folder in folders(project_root / "scenarios"):
        loaded = load(folder)
        model = loaded.scenario.profiles.get(Profile.SPARK)
        if model is None:
            continue
        beside_gib = sum(each.memory_gib for each in model.services.values())
        spark = replace(
            host, memory_total_gib=total_gib, memory_available_gib=available_gib - beside_gib
        )
        limits = Limits(**model.limits.model_dump())
        assert memory_problem(limits, spark) is None, folder.name
        steps = worst_steps(loaded, Profile.SPARK)
        services = [replace(_NIM, memory_gib=each.memory_gib) for each in model.services.values()]
        assert steps_problem(steps, services, spark, served=True) is None, folder.name
        seen.append(bool(steps))
    assert sum(seen) == 6  # articles 25, 32 to 34 and 36, and the announced one


def test_estimates_and_limits_are_those_of_the_memory_model(project_root: Path) -> None:
    for folder in folders(project_root / "scenarios"):
        loaded = load(folder)
        for profile, model in loaded.scenario.profiles.items():
            steps = worst_steps(loaded, profile)
            if not steps:
                continue
            worst_gib = max(step.total_gib for step in steps)
            assert model.estimate is not None
            assert model.estimate.peak_memory_gib == pytest.approx(worst_gib, abs=0.051), folder
            assert (model.limits.memory_gib or worst_gib) >= worst_gib, folder


def test_the_trainer_of_article_33_takes_what_the_article_prints(project_root: Path) -> None:
    steps = worst_steps(load(find(project_root / "scenarios", "a33")), Profile.SPARK)
    assert [step.step for step in steps] == ["tasks", "demonstrations", "training"]
    assert steps[-1].trainer_gib == pytest.approx(28.0, rel=0.05)


def test_the_papers_index_fits_in_half_precision_only(host: Host, project_root: Path) -> None:
    loaded = load(find(project_root / "scenarios", "a36"))
    for index_gib, fits in ((64.5e9 / 2**30, False), (32.3e9 / 2**30, True)):
        set_to = Overrides(
            params={"retriever_memory_gib": index_gib}, origins={"retriever_memory_gib": "--set"}
        )
        steps = worst_steps(loaded, Profile.SPARK, set_to)
        assert (steps_problem(steps, [], host, served=True) is None) is fits


def worst_steps(
    loaded: Loaded, profile: Profile, overrides: Overrides | None = None
) -> tuple[StepMemory, ...]:
    declared = workload(loaded.scenario.workload_of(profile))
    if declared.memory is None:
        return ()
    runs = expand(loaded, profile, overrides or Overrides()).runs
    each = (declared.memory(build(declared.params, run.params)) for run in runs)
    return max(each, key=lambda steps: max((step.total_gib for step in steps), default=0.0))


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

    with MemoryWatchdog(8.0, end_the_run, root=root) as watchdog:
        assert not called.wait(0.02)
        tree(_meminfo(7.0))
        assert called.wait(5.0)
    assert breaches == [watchdog.breach]
    assert "7.00 GiB" in breaches[0].cause


def test_the_watchdog_ends_with_its_block(tree: Tree) -> None:
    before = threading.active_count()
    breaches: list[Breach] = []
    root = tree(_meminfo(20.0))
    with MemoryWatchdog(8.0, breaches.append, root=root) as watchdog:
        pass
    assert watchdog.breach is None
    assert not breaches
    assert threading.active_count() == before
