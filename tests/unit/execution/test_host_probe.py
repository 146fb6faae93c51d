"""Probes around runs: when they are taken, what they find, and that they cost no run."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import HostError, Interrupted
from harness.execution.owed import skipped
from harness.execution.run import Surroundings, run_plan
from harness.plan.expand import Plan
from harness.probes.benchmark import Benchmark, benchmark
from harness.probes.machine_state import GB10, SickSign, degraded, state_of
from harness.records import (
    Event,
    FinishedRun,
    HostLog,
    HostProbe,
    Limits,
    Measurement,
    ProbeMoment,
    Profile,
    RunOutcome,
    RunSpec,
    Status,
    Usage,
    VerdictKind,
    to_json,
)
from harness.results.measured import measured
from harness.results.store import HOST_PROBE_FILE, RunStore
from harness.runtime import host_probe
from harness.runtime.base import Launch
from harness.runtime.fake import FakeRuntime, ended, play
from harness.runtime.host_probe import HostProber, probe
from harness.scenario.schema import Estimate
from harness.variables import PROBE_VARIABLE

SPEC = RunSpec(scenario="a99", profile=Profile.CPU, workload="noop", params={})
DONE = [
    Event(kind="started", at_s=0.0, payload={"device": "box", "facts": {}}),
    Event(kind="finished", at_s=1.0, payload={}),
]


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def fast(**changes: Any) -> Benchmark:
    known = Benchmark(
        device="",
        threads=1,
        matmul_tflop_s=0.1,
        matvec_gb_s=8.0,
        copy_gb_s=9.0,
        began_s=0.0,
        matmul_ended_s=1.0,
        ended_s=2.0,
        cpu_clock_mhz=None,
        other_cores=0.0,
        absent={"cpu_clock_mhz": "not told"},
    )
    return replace(known, **changes)


def machine(found: Benchmark | None, clock: Clock, run_s: float = 0.0) -> FakeRuntime:
    """A runtime whose probes find `found`, and whose runs take `run_s`."""

    def script(launch: Launch) -> RunOutcome:
        if launch.program is None:
            play(launch, DONE)
            clock.now_s += run_s
            return replace(ended(), runtime="local")
        if found is None:
            return ended(Status.FAILED, "exit code 1: out of luck")
        (launch.run_dir / launch.program[-1]).write_text(json.dumps(to_json(found)))
        return ended()

    return FakeRuntime(script)


def done(
    tmp_path: Path,
    runtime: FakeRuntime,
    clock: Clock,
    runs: int = 1,
    why: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> list[FinishedRun]:
    specs = tuple(replace(SPEC, params={"index": i}, position=i + 1) for i in range(runs))
    plan = Plan(
        scenario="a99", profile=Profile.CPU, runs=specs, skipped=(), estimate=None, changed=False
    )
    store = RunStore(tmp_path / "store")
    around = Surroundings(
        runtime=runtime,
        store=store,
        evidence_dir=None,
        environment=lambda _spec, _node: {},
        prober=HostProber(why, say, clock),
    )
    with store.locked("a99", Profile.CPU):
        run_plan(plan, around, lambda _: None)
    return [store.load(spec) for spec in specs]


def programs(runtime: FakeRuntime) -> str:
    return "".join("p" if each.program else "r" for each in runtime.launched)


def host_of(run: FinishedRun) -> HostLog:
    assert run.outcome.host is not None
    return run.outcome.host


@pytest.mark.parametrize(
    ("run_s", "order"),
    [
        (60.0, "prprprp"),  # long runs: before the first and after each
        (3.0, "prrr"),  # short ones: one probe is of late for all of them
        (15.0, "prrrp"),
    ],
)
def test_a_probe_is_taken_once_in_twenty_of_its_lengths(
    tmp_path: Path, run_s: float, order: str
) -> None:
    clock = Clock()
    runtime = machine(fast(), clock, run_s)
    runs = done(tmp_path, runtime, clock, runs=3)
    assert programs(runtime) == order
    moments = [[each.when for each in host_of(run).probes] for run in runs]
    assert all(each[0] is ProbeMoment.BEFORE for each in moments)
    assert (ProbeMoment.AFTER in moments[-1]) == order.endswith("p")


def test_a_plan_that_is_not_probed_says_why(tmp_path: Path) -> None:
    clock = Clock()
    runtime = machine(fast(), clock)
    (run,) = done(tmp_path, runtime, clock, why="several runs go side by side")
    assert programs(runtime) == "r"
    assert host_of(run).probes == ()
    assert host_of(run).skipped == "several runs go side by side"


@pytest.mark.parametrize(
    ("profile", "hours", "jobs", "why"),
    [
        (Profile.CPU, 0.1, 1, ""),
        (Profile.CPU, 0.01, 1, "the runs are expected to take 36 s, and 40 s are needed"),
        (Profile.CPU, None, 1, "the profile declares no estimate of its time"),
        (Profile.CPU, 0.1, 2, "several runs go side by side"),
        (Profile.EVIDENCE, 0.1, 1, "published data is recomputed: nothing is timed"),
    ],
)
def test_when_a_plan_is_probed(
    monkeypatch: pytest.MonkeyPatch, profile: Profile, hours: float | None, jobs: int, why: str
) -> None:
    monkeypatch.delenv(PROBE_VARIABLE)
    estimate = None if hours is None else Estimate(hours=hours, source="a test")
    plan = Plan(
        scenario="a99",
        profile=profile,
        runs=(SPEC, SPEC),
        skipped=(),
        estimate=estimate,
        changed=False,
    )
    assert skipped(plan, 2, jobs) == why
    monkeypatch.setenv(PROBE_VARIABLE, "off")
    assert skipped(plan, 2, jobs) == "HARNESS_HOST_PROBE is off"


def test_gpus_are_probed_for_ten_seconds_and_processors_for_two() -> None:
    assert host_probe.seconds_for(SPEC) == 2.0
    assert host_probe.seconds_for(replace(SPEC, limits=Limits(gpus=1))) == 10.0


def test_nothing_of_a_probe_stays_in_the_folder_or_the_figures_of_a_run(tmp_path: Path) -> None:
    clock = Clock()
    (run,) = done(tmp_path, machine(fast(), clock, 100.0), clock)
    (bare,) = done(tmp_path / "bare", machine(fast(), clock, 100.0), clock, why="off")
    folder = RunStore(tmp_path / "store").folder(run.spec)
    assert not (folder / HOST_PROBE_FILE).exists()
    names = [
        {path.name for path in RunStore(root / "store").folder(run.spec).iterdir()}
        for root in (tmp_path, tmp_path / "bare")
    ]
    assert names[0] == names[1]
    assert [each.metric for each in run.measurements] == [each.metric for each in bare.measurements]
    assert len(host_of(run).probes) == 2


def test_a_probe_that_fails_fails_no_run(tmp_path: Path) -> None:
    clock = Clock()
    (run,) = done(tmp_path, machine(None, clock), clock)
    assert run.outcome.status is Status.FINISHED
    (found,) = host_of(run).probes
    why = "the probe did not end well: exit code 1: out of luck"
    assert found.matmul_tflop_s is None
    assert found.absent["matmul_tflop_s"] == why
    assert not state_of(found).is_degraded


def test_a_machine_that_cannot_start_it_fails_no_run_either(tmp_path: Path) -> None:
    def script(_: Launch) -> RunOutcome:
        message = "no image"
        raise HostError(message, "harness build")

    found = probe(FakeRuntime(script), Launch(spec=SPEC, run_dir=tmp_path), ProbeMoment.ALONE)
    assert found.absent["copy_gb_s"] == "the probe did not end well: no image"


def test_a_run_is_kept_whatever_ends_the_probe_after_it(tmp_path: Path) -> None:
    clock = Clock()
    inner = machine(fast(), clock, 100.0)

    def script(launch: Launch) -> RunOutcome:
        if launch.program is not None and len(runtime.launched) > 1:
            raise Interrupted
        return inner.run(launch)

    runtime = FakeRuntime(script)
    with pytest.raises(Interrupted):
        done(tmp_path, runtime, clock)
    store = RunStore(tmp_path / "store")
    kept = store.load(replace(SPEC, params={"index": 0}))
    assert [each.when for each in host_of(kept).probes] == [ProbeMoment.BEFORE]


def test_the_machine_before_a_run_that_is_killed_is_known_afterwards(tmp_path: Path) -> None:
    clock = Clock()
    inner = machine(fast(), clock)

    def killed(launch: Launch) -> RunOutcome:
        if launch.program is None:
            steps = launch.run_dir / "checkpoints"  # something to go on from
            steps.mkdir()
            raise Interrupted
        return inner.run(launch)

    with pytest.raises(Interrupted):
        done(tmp_path, FakeRuntime(killed), clock)
    (run,) = done(tmp_path, machine(fast(matmul_tflop_s=0.2), clock), clock)
    assert [each.matmul_tflop_s for each in host_of(run).probes] == [0.1, 0.2]


def test_a_busy_neighbour_is_told_and_costs_the_timings_only(tmp_path: Path) -> None:
    clock, told = Clock(), list[str]()
    (run,) = done(tmp_path, machine(fast(other_cores=1e3), clock), clock, say=told.append)
    state = degraded(run.outcome.host)
    assert state is not None
    assert state.signature is SickSign.SHARED
    assert told[0].startswith("HOST DEGRADED: ")
    assert told[1].startswith("  next: end the other programs")
    figures = {each.metric: each for each in measured(run, {"run.wall_time", "noop.value"})}
    assert figures["run.wall_time"].value is None
    assert figures["run.wall_time"].absent == "HOST DEGRADED: shared (0)"


def test_only_what_depends_on_the_clock_is_no_figure() -> None:
    sick = HostProbe(when=ProbeMoment.BEFORE, at="", device=GB10, took_s=10.0, gpu_clock_mhz=702.0)
    run = FinishedRun(
        spec=SPEC,
        outcome=RunOutcome(
            status=Status.FINISHED,
            runtime="local",
            device=GB10,
            usage=Usage(wall_s=12.345),
            host=HostLog(probes=(sick,)),
        ),
        measurements=(
            Measurement(metric="noop.value", value=3.0, unit="1"),
            Measurement(metric="run.wall_time", value=12.345, unit="s"),
        ),
    )
    value, wall = measured(run, {"noop.value", "run.wall_time"})
    assert value.value == 3.0
    assert (wall.value, wall.absent) == (None, "HOST DEGRADED: clock cap (12.35)")
    assert wall.absent.startswith(VerdictKind.HOST_DEGRADED)


class Driver:
    """NVML of a GB10 that has no clock to speak of.

    Attributes:
        asked: set once the clock has been asked for after `expect`.
    """

    NVMLError = RuntimeError
    NVML_TEMPERATURE_GPU = NVML_CLOCK_SM = 0

    def __init__(self, refuses: str = "") -> None:
        self.refuses = refuses
        self.asked, self.expected = threading.Event(), threading.Event()

    def nvmlDeviceGetClockInfo(self, *_: object) -> int:  # noqa: N802 - the library's names
        if self.expected.is_set():
            self.asked.set()
        return 702

    def nvmlDeviceGetUtilizationRates(self, _: object) -> object:  # noqa: N802
        return SimpleNamespace(gpu=0)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        answers = {
            "nvmlDeviceGetCount": 1,
            "nvmlDeviceGetName": GB10,
            "nvmlDeviceGetPowerUsage": 92_500,
            "nvmlDeviceGetTemperature": 66,
            "nvmlDeviceGetComputeRunningProcesses": ["one"],
            "nvmlDeviceGetCurrentClocksThrottleReasons": 0x04 | 0x20,
        }

        def answer(*_: object) -> Any:
            if name == self.refuses:
                message = "no driver"
                raise RuntimeError(message)
            return answers.get(name)

        return answer


def test_the_driver_is_asked_while_the_matrices_are_multiplied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_probe, "_IDLE_S", 0.05)
    monkeypatch.setattr(host_probe, "_LOOK_S", 0.005)
    now_s, driver = time.monotonic(), Driver()
    ran = fast(
        device=GB10, threads=None, began_s=now_s - 1e3, matmul_ended_s=now_s + 60.0, ended_s=now_s
    )

    def script(launch: Launch) -> RunOutcome:
        assert launch.program is not None
        assert launch.program[2:4] == ("cuda", "10")
        assert launch.spec.limits.gpus == 1
        (launch.run_dir / launch.program[-1]).write_text(json.dumps(to_json(ran)))
        driver.expected.set()
        assert driver.asked.wait(30.0)
        return ended()

    spec = replace(SPEC, limits=Limits(gpus=1))
    launch = Launch(spec=spec, run_dir=tmp_path)
    found = probe(FakeRuntime(script), launch, ProbeMoment.ALONE, nvml_api=driver)
    assert (found.device, found.gpu_clock_mhz, found.gpu_power_w) == (GB10, 702.0, 92.5)
    assert (found.gpu_temperature_c, found.gpu_utilisation_before_pct) == (66.0, 0.0)
    assert (found.gpu_processes, found.threads) == (1, None)
    assert found.gpu_throttle == ("SW power cap", "SW thermal slowdown")
    assert state_of(found).signature is SickSign.THROTTLED


def test_a_driver_that_is_not_there_is_said_to_be_absent(tmp_path: Path) -> None:
    found = probe(
        machine(fast(), Clock()),
        Launch(spec=replace(SPEC, limits=Limits(gpus=1)), run_dir=tmp_path),
        ProbeMoment.ALONE,
        nvml_api=Driver(refuses="nvmlInit"),
    )
    assert found.gpu_clock_mhz is None
    assert found.absent["gpu_clock_mhz"] == "NVML: no driver"


def test_the_program_measures_this_machine() -> None:
    found = benchmark("cpu", 0.1)
    figures = (found.matmul_tflop_s, found.matvec_gb_s, found.copy_gb_s)
    assert all(each is not None and each > 0 for each in figures)
    assert found.began_s < found.matmul_ended_s < found.ended_s
