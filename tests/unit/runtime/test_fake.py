"""The runtime for tests keeps the protocol."""

from __future__ import annotations

from pathlib import Path

from harness.errors import HostError
from harness.records import Event, Profile, RunOutcome, RunSpec, Status
from harness.runtime.base import Launch, Leftover, Runtime
from harness.runtime.docker import DockerRuntime
from harness.runtime.fake import FakeRuntime, ended, play
from harness.runtime.local import LocalRuntime
from harness.workloads.api.emit import read_events

SPEC = RunSpec(scenario="a99", profile=Profile.CPU, workload="noop", params={})
STARTED = Event(kind="started", at_s=0.0, payload={"device": "NVIDIA GB10", "facts": {}})


def test_runs_are_played_from_the_script(tmp_path: Path) -> None:
    def script(launch: Launch) -> RunOutcome:
        play(launch, [STARTED])
        return ended(Status.TIMED_OUT, "did not end within 1 s")

    left = Leftover(what="process 7", run_id="1f")
    runtime = FakeRuntime(script, problems=[HostError("no GPU")], leftovers=[left])
    launch = Launch(spec=SPEC, run_dir=tmp_path)
    with runtime:
        assert [str(each) for each in runtime.problems(SPEC)] == ["no GPU"]
        assert (runtime.reap(), runtime.reap()) == ((left,), ())
        assert runtime.run(launch).status is Status.TIMED_OUT
    assert runtime.launched == [launch]
    assert read_events(tmp_path / "events.jsonl") == (STARTED,)


def test_each_runtime_keeps_the_protocol() -> None:
    runtimes: list[Runtime] = [FakeRuntime(lambda _: ended()), LocalRuntime(), DockerRuntime()]
    assert [each.name for each in runtimes] == ["fake", "local", "docker"]
