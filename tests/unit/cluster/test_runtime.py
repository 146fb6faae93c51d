"""Runs on several nodes come to what they come to on one machine, whatever dies on the way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cluster import node as on_node
from harness.cluster import probe
from harness.cluster.depot import Depot
from harness.cluster.fake import FakeCluster
from harness.cluster.parts import Node, NodeTask, PartKind, RunPart
from harness.cluster.runtime import ClusterRuntime, _below
from harness.errors import HostError
from harness.execution import run as execution
from harness.execution.jobs import Crew, node_blocks
from harness.execution.run import RunProgress, Surroundings, run_plan
from harness.plan.expand import Plan
from harness.probes.benchmark import Benchmark
from harness.records import (
    FinishedRun,
    Limits,
    ProbeMoment,
    Profile,
    RunOutcome,
    RunSpec,
    Status,
    to_json,
)
from harness.results.store import RunStore
from harness.runtime.base import Launch, NodeLostError, Runtime
from harness.runtime.fake import FakeRuntime, ended, play
from harness.runtime.host_probe import HostProber
from harness.runtime.local import LocalRuntime
from harness.runtime.models import models_folder
from harness.session.project import cache_folder
from harness.workloads.api.emit import EVENTS_FILE

SPEC = RunSpec(
    scenario="a99-example",
    profile=Profile.CPU,
    workload="noop",
    params={
        **dict.fromkeys(("value", "sleep_s", "step_s"), 0.0),
        **dict.fromkeys(("exit_code", "index", "steps"), 0),
    },
    axes=("index",),
)
FOUND = Benchmark(
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


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HARNESS_EVIDENCE_DIR", raising=False)


def specs(cells: int, replicates: int = 1, **params: Any) -> list[RunSpec]:
    return [
        replace(
            SPEC,
            params={**SPEC.params, **params, "index": cell},
            seed=replicate,
            replicate=replicate,
        )
        for cell in range(cells)
        for replicate in range(replicates)
    ]


def carried_out(
    store: RunStore,
    runtime: Runtime,
    runs: Sequence[RunSpec],
    jobs: int = 4,
    say: Callable[[str], None] | None = None,
) -> dict[str, FinishedRun]:
    """Execute a plan; return every finished run."""
    around = Surroundings(
        runtime=runtime,
        store=store,
        evidence_dir=None,
        environment=lambda _, node: {"on": node},
        crew=Crew(jobs, beside=0),
        prober=HostProber(say=say) if say else None,
    )
    plan = Plan(
        scenario=SPEC.scenario,
        profile=SPEC.profile,
        runs=tuple(runs),
        skipped=(),
        estimate=None,
        changed=False,
    )
    told: list[RunProgress] = []
    with store.locked(SPEC.scenario, SPEC.profile):
        run_plan(plan, around, told.append)
    return store.load_each(runs)


def figures(runs: dict[str, FinishedRun]) -> dict[str, Any]:
    """Every figure that no clock has a part in."""
    return {
        run_id: [to_json(each) for each in run.measurements if each.metric.startswith("noop.")]
        for run_id, run in runs.items()
    }


def test_figures_are_those_of_the_local_runtime(tmp_path: Path) -> None:
    runs = specs(4, steps=2)
    alone = carried_out(RunStore(tmp_path / "one"), LocalRuntime(), runs, jobs=1)
    cluster = FakeCluster(["a", "b"])
    there = carried_out(RunStore(tmp_path / "two"), ClusterRuntime(LocalRuntime(), cluster), runs)
    assert figures(there) == figures(alone)
    assert len(figures(there)) == len(runs)
    assert {run.outcome.node for run in there.values()} <= {"a", "b"}
    assert all(run.environment == {"on": run.outcome.node} for run in there.values())
    kept = {path.name for path in RunStore(tmp_path / "two").folder(runs[0]).iterdir()}
    assert {"events.jsonl", "telemetry.csv", "stdout.log", "stderr.log"} <= kept
    assert not list((tmp_path / "cache").glob("*/node/*/runs/*"))


def test_steps_of_a_node_come_to_the_driver_and_those_of_the_driver_to_a_node(
    tmp_path: Path,
) -> None:
    (spec,) = specs(1, steps=3)
    store = RunStore(tmp_path / "store")
    first = carried_out(store, LocalRuntime(), [spec], jobs=1)
    assert len(store.artefacts.keys()) == 3
    # other params of the run, the same steps: none is made there
    (again,) = specs(1, steps=3, sleep_s=0.001)
    there = carried_out(store, ClusterRuntime(LocalRuntime(), FakeCluster(["a"])), [again])
    steps = there[again.run_id].outcome.steps
    assert [step.made_now for step in steps] == [False] * 3
    assert figures(there)[again.run_id] == figures(first)[spec.run_id]
    (longer,) = specs(1, steps=5)
    there = carried_out(store, ClusterRuntime(LocalRuntime(), FakeCluster(["a"])), [longer])
    made = [step.made_now for step in there[longer.run_id].outcome.steps]
    assert made == [False] * 3 + [True] * 2
    assert len(store.artefacts.keys()) == 5
    assert all(store.artefacts.find(key) for key in store.artefacts.keys())  # noqa: SIM118 - no dict


def test_a_run_whose_node_dies_goes_on_from_its_last_step_on_another(tmp_path: Path) -> None:
    (spec,) = specs(1, steps=6, step_s=0.2)
    store, cluster = RunStore(tmp_path / "store"), FakeCluster(["a", "b"])

    def kill() -> None:
        until(lambda: len(store.artefacts.keys()) >= 2)
        (busy,) = (place.node.name for place in cluster.places.values() if place.works)
        cluster.kill(busy)

    killer = threading.Thread(target=kill)
    killer.start()
    there = carried_out(store, ClusterRuntime(LocalRuntime(), cluster), [spec])
    killer.join()
    outcome = there[spec.run_id].outcome
    assert outcome.status is Status.FINISHED
    first, last = outcome.segments
    assert {first.node, last.node} == {"a", "b"}
    assert outcome.node == last.node
    assert first.cause.startswith(f"node {first.node} is lost: ")
    taken = sum(not step.made_now for step in outcome.steps)
    assert taken >= 2
    assert taken + last.steps == len(outcome.steps) == 6
    # a node that dies between a step and its event has made one more than it told of
    assert taken - first.steps in {0, 1}
    alone = carried_out(RunStore(tmp_path / "one"), LocalRuntime(), [spec], jobs=1)
    assert figures(there) == figures(alone)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "did not come to hold"
        time.sleep(0.01)


def test_a_run_that_takes_every_node_with_it_is_stored_as_failed(tmp_path: Path) -> None:
    runs = specs(2)

    def execute(task: NodeTask, node_id: str) -> Iterator[RunPart]:
        if task.spec.params["index"] == 0:
            message = "worker died"
            raise NodeLostError(message)
        yield from on_node.execute(task, node_id)

    store = RunStore(tmp_path)
    there = carried_out(
        store, ClusterRuntime(LocalRuntime(), FakeCluster(["a"], execute=execute)), runs
    )
    assert [*there] == [runs[1].run_id]
    (failed,) = store.failures(runs[0])
    assert failed.outcome.status is Status.HOST_FAILED
    assert "the 5th time" in failed.outcome.cause


def test_the_cells_of_a_replicate_are_done_on_one_node_in_their_order(tmp_path: Path) -> None:
    runs, cluster = specs(3, replicates=4), FakeCluster(["a", "b"])
    there = carried_out(RunStore(tmp_path), ClusterRuntime(FakeRuntime(story), cluster), runs)
    for replicate in range(4):
        mine = [there[spec.run_id] for spec in runs if spec.replicate == replicate]
        assert len({run.outcome.node for run in mine}) == 1
    assert len({run.outcome.node for run in there.values()}) == 2


def story(launch: Launch) -> RunOutcome:
    from tests.unit.execution.test_jobs import STORY  # noqa: PLC0415 - one story for both

    play(launch, STORY)
    return replace(ended(), runtime="local")


@given(st.integers(1, 6), st.integers(1, 6))
def test_blocks_hold_every_run_once_and_no_cell_twice(cells: int, replicates: int) -> None:
    runs = specs(cells, replicates)
    found = node_blocks(runs)
    assert sorted(number for block in found for number, _ in block) == [*range(1, len(runs) + 1)]
    for block in found:
        assert len({spec.point_id for _, spec in block}) == len(block)
        assert [number for number, _ in block] == sorted(number for number, _ in block)
        assert len({spec.replicate for _, spec in block}) == 1
    several = cells > 1 and replicates > 1
    assert len(found) == (replicates if several else len(runs))


# --- before anything starts -----------------------------------------------------------------------


def problems(cluster: FakeCluster, spec: RunSpec = SPEC) -> str:
    runtime = ClusterRuntime(FakeRuntime(story), cluster)
    with runtime:
        return "\n".join(map(str, runtime.problems(spec)))


def lying(**facts: Any) -> Callable[[Node, Callable[..., Any], tuple[Any, ...]], Any]:
    """Let node b say something else of itself than node a."""

    def answer(node: Node, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        said = function(*arguments)
        if function is probe.probe and node.name == "b":
            said = {**said, **facts}
        return said

    return answer


def test_nodes_that_are_alike_are_no_problem() -> None:
    assert not problems(FakeCluster(["a", "b"]))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"source": "0" * 64}, "node b: its harness is of another source than this one"),
        ({"disk_free_gib": 0.25}, "node b: the disk is full: 0.25 GiB free in "),
        ({"absent": "No module named 'yaml'"}, "node b: its Python has no harness, or not all"),
    ],
)
def test_a_node_that_cannot_is_named_with_the_cause_and_the_next_command(
    facts: dict[str, Any], said: str
) -> None:
    found = problems(FakeCluster(["a", "b"], answer=lying(**facts)))
    assert found.startswith(said)
    assert found.count("\n  next: ") == 1


def test_nodes_that_differ_are_refused_with_what_differs() -> None:
    told = probe.probe()
    other = {**told["host"], "architecture": "aarch64"}
    packages = {**told["interpreter"], "packages": {**told["interpreter"]["packages"], "rich": "0"}}
    cluster = FakeCluster(["a", "b"], answer=lying(host=other, interpreter=packages))
    found = problems(cluster)
    assert found.startswith("the nodes differ, and their figures are not averaged: architecture: ")
    assert "aarch64 on b" in found
    assert "rich " in found


def test_a_node_that_does_not_answer_is_named() -> None:
    def answer(node: Node, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        return TimeoutError("does not answer") if node.name == "b" else function(*arguments)

    assert problems(FakeCluster(["a", "b"], answer=answer)).startswith("node b: does not answer")


def test_a_node_s_own_obstacle_is_named() -> None:
    def answer(node: Node, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        if function is on_node.problems and node.name == "b":
            return [("image nemo is not here", "harness build nemo")]
        return function(*arguments)

    found = problems(FakeCluster(["a", "b"], answer=answer))
    assert found == "node b: image nemo is not here\n  next: harness build nemo"


def test_a_disk_without_room_for_a_model_is_said_before_anything_starts() -> None:
    folder = models_folder(cache_folder()) / "large" / "model"
    folder.mkdir(parents=True)
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(2**43)  # without its config: the node lacks it
    cluster = FakeCluster(["a"])
    runtime = ClusterRuntime(FakeRuntime(story), cluster, models=["large/model@0"])
    (problem,) = runtime.problems(SPEC)
    assert problem.message.startswith("node a: about 8192 GiB are to be fetched, and ")
    assert problem.remedy.endswith("# on a larger disk")
    (folder / "model.safetensors").write_bytes(b"small")
    assert not [*runtime.problems(SPEC)]


def test_a_cell_that_fits_on_no_node_says_what_each_has() -> None:
    spec = replace(SPEC, limits=Limits(gpus=1, memory_gib=80.0), profile=Profile.SPARK)
    cluster = FakeCluster(["a", "b"], {"CPU": 20.0, "memory": 64 * 2.0**30})
    found = problems(cluster, spec)
    assert "a run needs 1 CPU, 1 GPU, GB10, 80 GiB memory, which no node has" in found
    assert "a has 20 CPU, 64 GiB memory; b has" in found
    assert "next: ray start --address=HEAD:6379 --num-gpus=1 --memory=85899345920" in found


def test_one_run_at_a_time_keeps_a_whole_node_for_itself() -> None:
    runtime = ClusterRuntime(FakeRuntime(story), FakeCluster(["a"], {"CPU": 20.0, "GPU": 1.0}))
    assert runtime.needs(SPEC).cpus == 20
    runtime.per_node = 3
    assert runtime.needs(SPEC).cpus == 6
    small = ClusterRuntime(FakeRuntime(story), FakeCluster(["a"]))
    small.per_node = 3
    assert 3 * small.needs(SPEC).cpus <= 1.0


# --- while it runs --------------------------------------------------------------------------------


def test_a_disk_that_fills_up_is_the_node_s_and_ends_the_plan(tmp_path: Path) -> None:
    def execute(_: NodeTask, node_id: str) -> Iterator[RunPart]:
        yield RunPart(kind=PartKind.BEGAN, value=(node_id, "boot"))
        yield RunPart(kind=PartKind.REFUSED, value=("cannot write: No space left", "df -h"))

    runtime = ClusterRuntime(LocalRuntime(), FakeCluster(["a"], execute=execute))
    with pytest.raises(HostError, match=r"node a: cannot write: No space left\n  next: df -h"):
        carried_out(RunStore(tmp_path), runtime, specs(1))


def test_a_full_disk_on_the_node_is_said_by_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(on_node, "_place", full)
    runtime = ClusterRuntime(LocalRuntime(), FakeCluster(["a"]))
    with pytest.raises(HostError, match=r"node .*No space left on device"):
        carried_out(RunStore(tmp_path), runtime, specs(1))


def test_the_last_node_that_goes_ends_the_plan_and_keeps_what_was_done(tmp_path: Path) -> None:
    (spec,) = specs(1, steps=5, step_s=0.2)
    store, cluster = RunStore(tmp_path / "store"), FakeCluster(["a"])

    def kill() -> None:
        until(lambda: len(store.artefacts.keys()) >= 1)
        cluster.kill("a")

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(HostError, match="which no node has: there is none"):
        carried_out(store, ClusterRuntime(LocalRuntime(), cluster), [spec])
    killer.join()
    done = len(store.artefacts.keys())
    again = carried_out(store, ClusterRuntime(LocalRuntime(), FakeCluster(["b"])), [spec])
    outcome = again[spec.run_id].outcome
    assert sum(step.made_now for step in outcome.steps) == 5 - done


def test_what_a_node_names_outside_of_its_run_is_refused(tmp_path: Path) -> None:
    assert _below(tmp_path, "plots/one.svg") == tmp_path / "plots" / "one.svg"
    for name in ("../spec.json", "/etc/passwd", "a/../../b"):
        with pytest.raises(HostError, match="outside of its run"):
            _below(tmp_path, name)


def test_published_files_are_fetched_by_their_hash(tmp_path: Path) -> None:
    import hashlib  # noqa: PLC0415 - of this test

    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "x.json").write_bytes(b"published")
    spec = replace(SPEC, evidence={"x.json": hashlib.sha256(b"published").hexdigest()})
    depot = Depot(tmp_path / "published", None, tmp_path / "artefacts")
    task = NodeTask(
        runtime=LocalRuntime(),
        spec=spec,
        files={},
        program=None,
        label="",
        environment={},
        depot=depot.lend,
    )
    assert (on_node._evidence(task) / "x.json").read_bytes() == b"published"
    (tmp_path / "published" / "x.json").unlink()
    on_node._evidence(task)  # it is here, and not asked for again
    (tmp_path / "published" / "x.json").write_bytes(b"changed since")
    (on_node._evidence(task) / "x.json").unlink()
    with pytest.raises(HostError, match=r"x\.json is not what was published"):
        on_node._evidence(task)


def test_a_depot_lends_nothing_outside_of_its_folders(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("no")
    (tmp_path / "evidence").mkdir()
    with pytest.raises(ValueError, match="is not below"):
        list(Depot(tmp_path / "evidence", None, tmp_path).lend("evidence", "../secret"))


def test_sharing_a_machine_is_counted_by_the_node(tmp_path: Path) -> None:
    """Two runs that meet on one machine are marked, whichever began first."""
    met = threading.Barrier(2, timeout=50)

    def script(launch: Launch) -> Any:
        met.wait()
        return story(launch)

    cluster = FakeCluster(["a"], {"CPU": 2.0})
    runtime = ClusterRuntime(FakeRuntime(script), cluster)
    runtime.per_node = 2
    there = carried_out(RunStore(tmp_path), runtime, specs(2))
    assert [run.outcome.shared_with for run in there.values()] == [1, 1]


def test_each_node_is_probed_and_a_slow_one_is_told_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe belongs to the node that took it, and comes with the run."""
    monkeypatch.setattr(on_node, "_probers", {})

    def script(launch: Launch) -> RunOutcome:
        if launch.program is None:
            return story(launch)
        others = 1.5 if "id-b" in launch.run_dir.parts else 0.0
        answer = to_json(replace(FOUND, other_cores=others))
        (launch.run_dir / launch.program[-1]).write_text(json.dumps(answer))
        return ended()

    runtime = ClusterRuntime(FakeRuntime(script), FakeCluster(["a", "b"]))
    runtime.probes = True
    said: list[str] = []
    there = carried_out(RunStore(tmp_path), runtime, specs(3, replicates=4), say=said.append)
    hosts = [(run.outcome.node, run.outcome.host) for run in there.values()]
    assert {node for node, _ in hosts} == {"a", "b"}
    for node, host in hosts:
        assert host is not None
        assert not host.skipped
        assert [each.when for each in host.probes] == [ProbeMoment.BEFORE]
        assert {each.other_cores for each in host.probes} == {1.5 if node == "b" else 0.0}
    assert said[0].startswith("node b: HOST DEGRADED: ")
    assert len(said) == 2
    assert not list(tmp_path.glob("**/host_probe.json"))


def test_a_run_whose_driver_takes_nothing_any_more_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the network between them has gone: a node cannot tell that from a dead driver."""
    monkeypatch.setattr(on_node, "_ALONE_S", 0.2)
    stopped = threading.Event()

    def script(launch: Launch) -> RunOutcome:
        told = story(launch)
        assert launch.stop is not None
        if launch.stop.wait(50):
            stopped.set()
        return told

    task = NodeTask(
        runtime=FakeRuntime(script), spec=SPEC, files={}, program=None, label="", environment={}
    )
    parts = on_node.execute(task, "a", tmp_path)
    assert next(parts).kind is PartKind.BEGAN
    assert next(parts).kind is PartKind.ADDED  # and nobody asks for the next one
    assert stopped.wait(50)
    assert [part.kind for part in parts][-1] is PartKind.ENDED


def test_what_ends_the_plan_ends_the_runs_on_the_nodes(tmp_path: Path) -> None:
    began = threading.Event()

    def script(launch: Launch) -> Any:
        if launch.spec.params["index"] == 0:
            began.wait(50)
            message = "the engine has gone"
            raise HostError(message)
        assert launch.stop is not None
        began.set()
        assert launch.stop.wait(50)
        raise KeyboardInterrupt

    cluster = FakeCluster(["a", "b"])
    with pytest.raises(HostError, match=r"node [ab]: the engine has gone"):
        carried_out(RunStore(tmp_path), ClusterRuntime(FakeRuntime(script), cluster), specs(2))
    until(lambda: not any(place.works for place in cluster.places.values()))


def test_the_events_of_an_attempt_are_whole_at_the_driver(tmp_path: Path) -> None:
    (spec,) = specs(1, steps=2)
    store = RunStore(tmp_path)
    carried_out(store, ClusterRuntime(LocalRuntime(), FakeCluster(["a"])), [spec])
    lines = (store.folder(spec) / EVENTS_FILE).read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[-1])["kind"] == "finished"
    assert execution._events(store.folder(spec))[1] == ""
