"""How an ending becomes a status with a cause: blame is assigned in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HostError
from harness.records import Limits, Profile, RunSpec, Status
from harness.runtime.base import Ending, Launch, RunStopReason, judge
from harness.runtime.memory import Breach

SPEC = RunSpec(
    scenario="a99",
    profile=Profile.CPU,
    workload="noop",
    params={},
    limits=Limits(timeout_s=90.0, memory_gib=1.5),
)
BREACH = Breach(cause="0.30 GiB were available")


@pytest.mark.parametrize(
    ("ending", "status", "cause"),
    [
        (Ending(exit_code=0), Status.FINISHED, ""),
        (Ending(exit_code=1), Status.FAILED, "exit code 1: ValueError: width"),
        (Ending(exit_code=2), Status.FAILED, "exit code 2: ValueError: width"),
        (Ending(exit_code=3), Status.HOST_FAILED, "exit code 3: ValueError: width"),
        (Ending(exit_code=139), Status.FAILED, "ended by SIGSEGV: ValueError: width"),
        (Ending(exit_code=137), Status.FAILED, "ended by SIGKILL: ValueError: width"),
        (Ending(exit_code=255), Status.FAILED, "exit code 255: ValueError: width"),
        (
            Ending(exit_code=137, stop=RunStopReason.STALL),
            Status.STALLED,
            "wrote no event, line or file for 1800 s (limits.stall_s)",
        ),
        (
            Ending(exit_code=137, stop=RunStopReason.TIME),
            Status.TIMED_OUT,
            "did not end within 90 s",
        ),
        (
            Ending(exit_code=137, stop=RunStopReason.MEMORY),
            Status.OUT_OF_MEMORY,
            "used up its 1.5 GiB",
        ),
        (Ending(exit_code=137, breach=BREACH), Status.OUT_OF_MEMORY, BREACH.cause),
        # a child was killed and the program went on: its figures stand for nothing
        (Ending(exit_code=0, killed_for_memory=True), Status.OUT_OF_MEMORY, "used up its 1.5 GiB"),
    ],
)
def test_each_ending(ending: Ending, status: Status, cause: str) -> None:
    assert judge(ending, SPEC, ("Traceback", "ValueError: width", "", "  ")) == (status, cause)


def test_the_kernel_without_a_limit() -> None:
    spec = RunSpec(scenario="a99", profile=Profile.CPU, workload="noop", params={})
    ending = Ending(exit_code=137, killed_for_memory=True)
    assert judge(ending, spec, ()) == (Status.OUT_OF_MEMORY, "the machine ran out of memory")


def test_no_last_words() -> None:
    assert judge(Ending(exit_code=9), SPEC, ()) == (Status.FAILED, "exit code 9")


def test_a_remedy_is_not_the_cause() -> None:
    said = tuple(str(HostError("evidence is absent", "harness fetch a99")).splitlines())
    _, cause = judge(Ending(exit_code=3), SPEC, said)
    assert cause == "exit code 3: evidence is absent"


def test_a_launch_runs_the_workload_of_its_spec() -> None:
    launch = Launch(spec=SPEC, run_dir=Path("run"))
    assert launch.arguments == ("-m", "harness.workloads", "noop", "spec.json", ".")
