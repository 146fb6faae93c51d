"""The store: whole runs or none, one owner at a time, failures kept beside."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import harness.results.store
from harness.errors import HostError, InputError
from harness.records import (
    FinishedRun,
    HostLog,
    HostProbe,
    Measurement,
    ProbeMoment,
    Profile,
    RunOutcome,
    RunSpec,
    Segment,
    Status,
    Usage,
)
from harness.results.selection import Reuse, pending, select
from harness.results.store import RunStore, load_run, segment_folders

SPEC = RunSpec(scenario="a99-example", profile=Profile.CPU, workload="noop", params={"index": 1})


def finished(
    spec: RunSpec = SPEC, status: Status = Status.FINISHED, value: float = 1
) -> FinishedRun:
    outcome = RunOutcome(
        status=status, runtime="local", device="no device", usage=Usage(wall_s=1.0), cause="why"
    )
    figure = Measurement(metric="noop.value", value=value, unit="1")
    return FinishedRun(
        spec=spec, outcome=outcome, measurements=(figure,), environment={"kernel": "6"}
    )


def put(store: RunStore, run: FinishedRun) -> Path:
    with store.locked(run.spec.scenario, run.spec.profile):
        return store.commit(store.stage(run.spec), run)


def test_a_run_comes_back_as_it_went_in(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    assert not store.has(SPEC)
    place = put(store, finished())
    assert place == tmp_path / "a99-example" / "cpu" / SPEC.run_id
    assert store.has(SPEC)
    assert store.load(SPEC) == finished()
    assert store.runs("a99-example", Profile.CPU) == [finished()]
    assert store.profiles("a99-example") == [Profile.CPU]


def test_a_failed_run_is_kept_and_still_owed(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    put(store, finished(status=Status.FAILED))
    put(store, finished(status=Status.TIMED_OUT))
    assert not store.has(SPEC)
    assert [each.outcome.status for each in store.failures(SPEC)] == [
        Status.FAILED,
        Status.TIMED_OUT,
    ]
    (state,) = pending(store, [SPEC])
    assert (state.reuse, state.reason) == (Reuse.PENDING, "failed before: why")
    assert [each.outcome.status for each in select(store, [SPEC])] == [Status.TIMED_OUT]
    put(store, finished())
    assert [each.outcome.status for each in select(store, [SPEC])] == [Status.FINISHED]


def test_failed_attempts_are_looked_for_once_however_many_runs_are_owed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(tmp_path)
    put(store, finished(status=Status.FAILED))
    looks: list[Path] = []
    look = harness.results.store._attempts

    def counted(profile: Path) -> list[tuple[Path, Path]]:
        looks.append(profile)
        return look(profile)

    monkeypatch.setattr(harness.results.store, "_attempts", counted)
    owed = [SPEC, *(replace(SPEC, seed=SPEC.seed + n) for n in range(1, 50))]
    assert [state.reason for state in pending(store, owed)] == ["failed before: why", *[""] * 49]
    assert len(select(store, owed)) == 1
    assert len(looks) == 2


def test_a_run_of_other_code_answers_for_the_point_and_the_plan_says_so(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    older = replace(SPEC, source="older")
    put(store, finished(older))
    (state,) = pending(store, [SPEC])
    assert (state.reuse, state.reason) == (Reuse.PENDING, "the workload's code has changed")
    assert select(store, [SPEC]) == (finished(older),)
    other_seed = replace(SPEC, seed=1)
    assert select(store, [other_seed]) == ()


def test_what_a_killed_owner_staged_is_kept_and_never_counted(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    with store.locked(SPEC.scenario, SPEC.profile):
        staged = store.stage(SPEC)
        for name in ("segment.json", "events.jsonl", "telemetry.csv", "half-written.bin"):
            (staged / name).write_text(f"first {name}", encoding="utf-8")
    assert not store.has(SPEC)
    assert store.runs(SPEC.scenario, SPEC.profile) == []
    assert store.staged(SPEC.scenario, SPEC.profile) == [(SPEC, staged)]
    with store.locked(SPEC.scenario, SPEC.profile):
        assert store.stage(SPEC) == staged
    assert {path.name for path in staged.iterdir()} == {"spec.json", "segments"}
    (segment,) = segment_folders(staged)
    assert {path.name: path.read_text("utf-8") for path in segment.iterdir()} == {
        name: f"first {name}" for name in ("segment.json", "events.jsonl", "telemetry.csv")
    }


def test_a_run_that_goes_on_keeps_the_ledger_that_it_began_with(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    began, later = (replace(SPEC, ledger={"loss": mark}) for mark in ("before", "after"))
    store.stage(began)
    staged = store.stage(later)
    assert store.staged(SPEC.scenario, SPEC.profile) == [(began, staged)]
    store.forget(staged)
    assert store.stage(later) == staged
    assert store.staged(SPEC.scenario, SPEC.profile) == [(later, staged)]


def test_a_plan_says_that_a_run_goes_on(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.stage(SPEC)
    (state,) = pending(store, [SPEC])
    assert state.reuse is Reuse.PENDING
    assert state.reason == "was ended half-way: goes on behind its last step"


def test_a_move_of_a_segment_that_was_cut_goes_on(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    staged = store.stage(SPEC)
    (staged / "segments" / "1").mkdir(parents=True)
    (staged / "segments" / "1" / "events.jsonl").write_text("moved", encoding="utf-8")
    (staged / "segment.json").write_text("record", encoding="utf-8")
    (staged / "telemetry.csv").write_text("not yet", encoding="utf-8")
    store.stage(SPEC)
    (segment,) = segment_folders(staged)
    assert {path.name for path in segment.iterdir()} == {
        "events.jsonl",
        "segment.json",
        "telemetry.csv",
    }


def test_checkpoints_outlive_an_attempt_and_no_finished_run_holds_them(tmp_path: Path) -> None:
    store = RunStore(tmp_path)

    def leave(staged: Path) -> None:
        (staged / "checkpoints").mkdir(exist_ok=True)
        (staged / "checkpoints" / "last").write_text("step 7", encoding="utf-8")
        (staged / "half").mkdir()
        (staged / "half" / "events.jsonl").touch()

    def kept(staged: Path) -> bool:
        names = {path.name for path in staged.iterdir()}
        return names == {"spec.json", "checkpoints"} and (staged / "checkpoints/last").exists()

    with store.locked(SPEC.scenario, SPEC.profile):
        leave(store.stage(SPEC))  # and is killed
    with store.locked(SPEC.scenario, SPEC.profile):
        staged = store.stage(SPEC)
        assert kept(staged)
        leave(staged)  # stopped by Ctrl-C
        staged = store.stage(SPEC)
        assert kept(staged)
        leave(staged)
        failed = store.commit(staged, finished(status=Status.FAILED), goes_on=True)
        assert not (failed / "checkpoints").exists()
        staged = store.stage(SPEC)
        assert kept(staged)
        other = store.stage(replace(SPEC, seed=1))
        assert [path.name for path in other.iterdir()] == ["spec.json"]
        place = store.commit(staged, finished())
    assert not (place / "checkpoints").exists()
    assert not staged.exists()


def test_a_failed_attempt_that_left_nothing_is_no_segment_of_the_next(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    staged = store.stage(SPEC)
    (staged / "segment.json").write_text("record", encoding="utf-8")
    store.commit(staged, finished(status=Status.FAILED))
    assert not staged.exists()
    staged = store.stage(SPEC)
    (staged / "segment.json").write_text("record", encoding="utf-8")
    place = store.commit(staged, finished(status=Status.FAILED), goes_on=True)
    assert (place / "segment.json").exists()
    assert [path.name for path in segment_folders(store.stage(SPEC))] == ["1"]


def test_a_finished_run_that_cannot_be_put_in_its_place_is_kept_and_named(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    staged = store.stage(SPEC)
    assert not store.store_ended(SPEC)
    place = store.folder(SPEC)
    place.parent.parent.mkdir(parents=True)
    place.parent.write_text("a file where a folder must be", encoding="utf-8")
    with pytest.raises(HostError, match="it is kept in") as error:
        store.commit(staged, finished())
    assert str(staged) in str(error.value)
    place.parent.unlink()
    assert store.store_ended(SPEC)
    assert store.load(SPEC) == finished()
    assert not store.store_ended(SPEC)


def test_where_a_finished_run_could_not_be_put_is_known_before_it_begins(tmp_path: Path) -> None:
    (tmp_path / "a99-example").mkdir()
    (tmp_path / "a99-example" / "cpu").write_text("a file", encoding="utf-8")
    with (
        pytest.raises(HostError, match=r"cannot write to .*cpu"),
        RunStore(tmp_path).locked("a99-example", Profile.CPU),
    ):
        pass


def test_two_owners_at_once_are_refused(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    code = (
        "import sys; from pathlib import Path; from harness.results.store import RunStore\n"
        "from harness.records import Profile\n"
        "with RunStore(Path(sys.argv[1])).locked('a99-example', Profile.CPU):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with (
            pytest.raises(HostError, match="another harness"),
            store.locked("a99-example", Profile.CPU),
        ):
            pass
        with store.locked("a99-example", Profile.EVIDENCE):
            pass
        other.kill()
    with store.locked("a99-example", Profile.CPU):  # a killed owner holds nothing
        pass


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("outcome.json", "{", r"outcome.json:1:2: is damaged"),
        ("outcome.json", '{"status": "finnished"}', "is damaged"),
        ("measurements.json", '[{"metric": 3}]', "is damaged"),
        ("spec.json", None, "cannot be read"),
    ],
)
def test_a_damaged_file_is_named(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    place = put(RunStore(tmp_path), finished())
    if content is None:
        (place / name).unlink()
    else:
        (place / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_run(place)


def test_a_run_of_another_schema_is_no_result_and_no_damage(tmp_path: Path) -> None:
    store, older = RunStore(tmp_path), replace(SPEC, schema_version=1)
    assert older.run_id != SPEC.run_id
    place = put(store, finished(older))
    assert not store.has(SPEC)
    assert store.runs("a99-example", Profile.CPU) == []
    assert store.profiles("a99-example") == []
    assert store.other_schemas("a99-example") == {1}
    assert store.other_schemas("a99-example", Profile.EVIDENCE) == set()
    (state,) = pending(store, [SPEC])
    assert (state.reuse, state.reason) == (
        Reuse.PENDING,
        "what is stored is of an older harness (schema 1)",
    )
    assert select(store, [SPEC]) == ()
    with pytest.raises(InputError, match=r"was stored by an older harness \(schema 1\)"):
        load_run(place)
    put(store, finished())
    assert store.runs("a99-example", Profile.CPU) == [finished()]
    assert store.profiles("a99-example") == [Profile.CPU]


def test_a_store_that_cannot_be_written_to_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with (
        pytest.raises(HostError, match="cannot write"),
        RunStore(tmp_path / "file" / "store").locked("a99-example", Profile.CPU),
    ):
        pass


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("spec.json", "position", 0),
        ("outcome.json", "host.host_temperature_c", 1e19),
        ("outcome.json", "host.probes[0].gpu_clock_mhz", -1.0),
        ("outcome.json", "host.probes[0].cores", -1),
        ("outcome.json", "host.probes[0].at", "yesterday"),
        ("outcome.json", "shared_with", -1),
    ],
)
def test_a_turn_or_a_machine_that_cannot_have_been_is_damage(
    tmp_path: Path, file: str, key: str, value: object
) -> None:
    whole = finished()
    probe = HostProbe(
        when=ProbeMoment.BEFORE,
        at="2026-05-01T17:00:00+00:00",
        device="NVIDIA GB10",
        took_s=10.0,
        gpu_clock_mhz=2418.0,
        cores=20,
    )
    host = HostLog(probes=(probe,), host_temperature_c=44.5)
    place = put(RunStore(tmp_path), replace(whole, outcome=replace(whole.outcome, host=host)))
    assert load_run(place).outcome.host == host
    document = json.loads((place / file).read_text(encoding="utf-8"))
    holder, *names = document, *key.replace("[0]", ".0").split(".")
    for name in names[:-1]:
        holder = holder[int(name) if name.isdigit() else name]
    holder[names[-1]] = value
    (place / file).write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(key)):
        load_run(place)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"boot_id": "c{fe"}, "is no id of a boot"),
        ({"began": "yesterday"}, "is no time"),
        ({"wall_s": -1.0}, "is out of range"),
        ({"steps": -1}, "is below 0"),
    ],
)
def test_a_segment_that_cannot_have_been_is_damage(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    began, boot = "2026-05-01T17:00:00+00:00", "9f0e2f5c-4f0a-4c27-8d0e-1d2f3a4b5c6d"
    whole = finished()
    segment = Segment(began=began, ended=began, boot_id=boot)
    outcome = replace(whole.outcome, segments=(segment,))
    store = RunStore(tmp_path)
    place = put(store, replace(whole, outcome=outcome))
    assert load_run(place).outcome == outcome
    document = json.loads((place / "outcome.json").read_text(encoding="utf-8"))
    document["segments"][0] |= change
    (place / "outcome.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match=said):
        load_run(place)
