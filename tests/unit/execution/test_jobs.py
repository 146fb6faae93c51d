"""Runs side by side: how many, all of them ended by the first failure, timings marked as shared."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HostError, InputError, Interrupted
from harness.execution import segments
from harness.execution.jobs import Crew, room
from harness.execution.run import RunProgress, RunStage, Surroundings, run_plan
from harness.plan.expand import Plan
from harness.records import (
    Event,
    FinishedRun,
    Limits,
    Measurement,
    Profile,
    RunOutcome,
    RunSpec,
    Status,
    to_json,
)
from harness.results.measured import measured
from harness.results.store import RunStore
from harness.runtime.base import Launch
from harness.runtime.fake import FakeRuntime, ended, play
from harness.runtime.host import Host, probe_host
from harness.runtime.memory import floor_gib
from harness.session.options import RunOptions
from harness.workloads.api.context import CHECKPOINTS

SPEC = RunSpec(scenario="a99-example", profile=Profile.CPU, workload="noop", params={"index": 0})
FREE_GIB = 24.0
STORY = (
    Event(kind="started", at_s=0.0, payload={"device": "no device", "facts": {}}),
    Event(kind="finished", at_s=0.0, payload={}),
)


def machine(cores: int | None = 8) -> Host:
    host = probe_host()
    absent = {**host.absent, **({} if cores else {"cores": "unknown"})}
    return replace(
        host,
        cores=cores,
        memory_available_gib=FREE_GIB + floor_gib(host),
        memory_limit_gib=None,
        absent={**absent, "memory_limit_gib": "no control group"},
    )


def specs(number: int = 20, limits: Limits | None = None) -> list[RunSpec]:
    held = limits or Limits()
    return [replace(SPEC, params={"index": index}, limits=held) for index in range(number)]


@pytest.mark.parametrize(
    ("asked", "limits", "jobs", "because"),
    [
        (None, {}, 1, "declares no limits.cores"),
        (None, {"cores": 2}, 1, "declares no limits.memory_gib"),
        (None, {"memory_gib": 2.0}, 1, "declares no limits.cores"),
        (None, {"cores": 2, "memory_gib": 2.0}, 4, "limits.cores 2 of 8"),
        (None, {"cores": 1, "memory_gib": 7.9}, 3, "limits.memory_gib 7.9 of 24"),
        (None, {"cores": 1, "memory_gib": 99.0}, 1, "limits.memory_gib 99 of 24"),
        (None, {"cores": 1, "memory_gib": 1.0, "gpus": 1}, 1, "one at a time"),
        (5, {}, 5, "asked for"),
        (50, {}, 8, "8 cores"),
        (50, {"cores": 3}, 2, "limits.cores 3 of 8"),
        (5, {"memory_gib": 12.0}, 2, "limits.memory_gib 12 of 24"),
        (5, {"gpus": 1}, 1, "one at a time"),
    ],
)
def test_as_many_runs_as_there_is_room_for(
    asked: int | None, limits: dict[str, Any], jobs: int, because: str
) -> None:
    found = room(asked, specs(limits=Limits(**limits)), machine())
    assert found.jobs == jobs
    assert because in found.reason


def test_no_more_than_there_are_runs_and_one_where_the_machine_does_not_say() -> None:
    assert room(5, specs(2), machine()).jobs == 2
    assert room(5, [], machine()).jobs == 1
    assert room(None, specs(limits=Limits(cores=1, memory_gib=1.0)), machine(cores=None)).jobs == 1


@pytest.mark.parametrize("word", ["0", "-1", "two", "1.5", ""])
def test_a_word_that_is_no_number_of_runs_is_refused(word: str) -> None:
    with pytest.raises(InputError, match="a number from 1, or auto"):
        _ = RunOptions(jobs=word).most_jobs
    assert RunOptions(jobs="auto").most_jobs is None
    assert RunOptions(jobs="3").most_jobs == 3


def plan_of(runs: list[RunSpec]) -> Plan:
    return Plan(
        scenario=SPEC.scenario,
        profile=SPEC.profile,
        runs=tuple(runs),
        skipped=(),
        estimate=None,
        changed=False,
    )


def around(store: RunStore, runtime: FakeRuntime, jobs: int) -> Surroundings:
    return Surroundings(
        runtime=runtime,
        store=store,
        evidence_dir=None,
        environment=lambda spec, _: {"seed": spec.seed},
        crew=Crew(jobs),
    )


def test_runs_side_by_side_are_stored_as_those_one_after_another(tmp_path: Path) -> None:
    """All at once: the first to start waits for the last. Only the mark of sharing differs."""
    runs, number = specs(6), 3
    met = threading.Barrier(number, timeout=50)

    def script(launch: Launch) -> RunOutcome:
        index = launch.spec.params["index"]
        value = {"metric": "noop.value", "value": index, "unit": "1", "where": {}, "count": 1}
        play(launch, [STORY[0], Event(kind="measured", at_s=0.0, payload=value), STORY[1]])
        if launch.run_dir.is_relative_to(tmp_path / "several"):
            met.wait()
        return replace(ended(), runtime="local")

    heard: dict[str, list[RunProgress]] = {"one": [], "several": []}
    for name, jobs in (("one", 1), ("several", number)):
        store = RunStore(tmp_path / name)
        with store.locked(SPEC.scenario, SPEC.profile):
            run_plan(plan_of(runs), around(store, FakeRuntime(script), jobs), heard[name].append)
    files = {
        name: {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.name in {"spec.json", "events.jsonl", "environment.json"}
        }
        for name in heard
    }
    assert files["one"] == files["several"]
    assert len(files["one"]) == 3 * len(runs)
    for one, other in zip(
        *(RunStore(tmp_path / name).runs(SPEC.scenario, SPEC.profile) for name in heard),
        strict=True,
    ):
        assert (one.outcome.shared_with, other.outcome.shared_with) == (0, number - 1)
        assert [each.shared_with for each in other.outcome.segments] == [number - 1]
        alike = [replace(each.outcome, shared_with=0, segments=()) for each in (one, other)]
        assert alike[0] == alike[1]
        values = [list(measured(each, {"noop.value"})) for each in (one, other)]
        assert values[0] == values[1] != []
    assert [each.number for each in heard["one"]] == [n for n in range(1, 7) for _ in range(2)]
    for spec in runs:
        steps = [each.step for each in heard["several"] if each.spec == spec]
        assert steps == [RunStage.STARTED, RunStage.ENDED]


@pytest.mark.parametrize(
    ("error", "causes"),
    [
        (HostError("no device"), ["no device", "another run of the plan ended all: no device"]),
        (KeyboardInterrupt(), ["interrupted by Ctrl-C"] * 2),
        (Interrupted(""), ["ended by SIGTERM"] * 2),
    ],
)
def test_what_ends_one_run_half_way_ends_all_and_stores_none(
    tmp_path: Path, error: BaseException, causes: list[str]
) -> None:
    runs, started = specs(6), threading.Barrier(2, timeout=50)

    def script(launch: Launch) -> RunOutcome:
        started.wait()
        if launch.spec.params["index"] == 0:
            raise error
        assert launch.stop is not None
        assert launch.stop.wait(50)
        raise KeyboardInterrupt

    store, runtime = RunStore(tmp_path), FakeRuntime(script)
    with store.locked(SPEC.scenario, SPEC.profile), pytest.raises(type(error)):
        run_plan(plan_of(runs), around(store, runtime, 2), lambda _: None)
    assert len(runtime.launched) == 2
    assert store.runs(SPEC.scenario, SPEC.profile) == []
    left = [segments.begin(store.stage(spec), store, across=False).last for spec in runs[:2]]
    assert [each.cause for each in left if each] == causes


def test_timings_of_a_run_that_shared_the_machine_are_absent_and_say_why() -> None:
    wall = Measurement(metric="run.wall_time", value=2.0, unit="s")
    lost = replace(wall, metric="energy", unit="Wh", value=None, absent="no counter")
    value = Measurement(metric="noop.value", value=1.5, unit="1")
    outcome = RunOutcome(status=Status.FINISHED, runtime="local", device="", usage=ended().usage)
    run = FinishedRun(spec=SPEC, outcome=outcome, measurements=(wall, lost, value))
    names = {each.metric for each in run.measurements}
    assert tuple(measured(run, names)) == run.measurements
    shared = replace(run, outcome=replace(outcome, shared_with=1))
    found = {each.metric: each for each in measured(shared, names)}
    assert (found["noop.value"], found["energy"]) == (value, lost)
    assert found["run.wall_time"].value is None
    assert "shared the machine with 1 other run" in found["run.wall_time"].absent
    assert to_json(shared.measurements[0])["value"] == 2.0  # kept in the store
    json.dumps(to_json(shared.outcome))


def test_a_run_is_counted_with_all_that_overlapped_it() -> None:
    crew = Crew()
    with crew.joined("a") as of_a:
        with crew.joined("b") as of_b, crew.joined("c") as of_c:
            pass
        with crew.joined("d") as of_d:
            pass
    assert [each() for each in (of_a, of_b, of_c, of_d)] == [2, 2, 2, 1]
    with crew.joined("a") as alone:
        pass
    assert alone() == 0


def test_a_run_whose_earlier_attempt_shared_the_machine_has_no_timings_either(
    tmp_path: Path,
) -> None:
    """Its times are of all segments; the earlier one was killed, so what it began with counts."""
    store = RunStore(tmp_path)
    staged = store.stage(SPEC)
    segments.begin(staged, store, across=False, shared_with=3)
    (staged / CHECKPOINTS).mkdir()

    def script(launch: Launch) -> RunOutcome:
        play(launch, STORY)
        return replace(ended(), runtime="local")

    with store.locked(SPEC.scenario, SPEC.profile):
        run_plan(plan_of([SPEC]), around(store, FakeRuntime(script), 1), lambda _: None)
    outcome = store.load(SPEC).outcome
    assert [each.shared_with for each in outcome.segments] == [3, 0]
    assert outcome.shared_with == 3


@pytest.mark.parametrize("given", [1, 2, 5])
def test_ctrl_c_ends_what_is_under_way_even_while_the_rest_is_handed_out(given: int) -> None:
    crew, ended_by_stop = Crew(jobs=2), []

    class Items(list[int]):
        def __iter__(self) -> Iterator[int]:
            yield from range(given)
            raise KeyboardInterrupt

    def work(item: int) -> None:
        if crew.stop.wait(timeout=60):
            ended_by_stop.append(item)

    with pytest.raises(KeyboardInterrupt):
        crew.each(work, Items())
    assert isinstance(crew.ended_by, KeyboardInterrupt)
    assert len(ended_by_stop) == min(given, crew.jobs)


def test_ctrl_c_that_does_not_wake_the_waiting_thread_is_heard_at_once() -> None:
    """The kernel may hand a signal to any thread, and may do so just before a wait begins."""
    crew, both, heard = Crew(jobs=2), threading.Barrier(2), []

    def work(item: int) -> None:
        both.wait(timeout=60)
        if item == 1:
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        told = crew.stop.wait(timeout=60)
        time.sleep(0.05)
        heard.append(told)

    with pytest.raises(KeyboardInterrupt):
        crew.each(work, [0, 1, 2, 3])
    assert heard == [True, True]
