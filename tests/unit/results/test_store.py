"""The store: whole runs or none, one owner at a time, failures kept beside."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import HostError, InputError
from harness.records import Finished, Measurement, Profile, RunOutcome, RunSpec, Status, Usage
from harness.results.selection import Reuse, owed, select
from harness.results.store import Store, load_run

SPEC = RunSpec(scenario="a99-example", profile=Profile.CPU, workload="noop", params={"index": 1})


def finished(spec: RunSpec = SPEC, status: Status = Status.FINISHED, value: float = 1) -> Finished:
    outcome = RunOutcome(
        status=status, runtime="local", device="no device", usage=Usage(wall_s=1.0), cause="why"
    )
    figure = Measurement(metric="noop.value", value=value, unit="1")
    return Finished(spec=spec, outcome=outcome, measurements=(figure,), environment={"kernel": "6"})


def put(store: Store, run: Finished) -> Path:
    with store.locked(run.spec.scenario, run.spec.profile):
        return store.commit(store.stage(run.spec), run)


def test_a_run_comes_back_as_it_went_in(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert not store.has(SPEC)
    place = put(store, finished())
    assert place == tmp_path / "a99-example" / "cpu" / SPEC.run_id
    assert store.has(SPEC)
    assert store.load(SPEC) == finished()
    assert store.runs("a99-example", Profile.CPU) == [finished()]
    assert store.profiles("a99-example") == [Profile.CPU]


def test_a_failed_run_is_kept_and_still_owed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, finished(status=Status.FAILED))
    put(store, finished(status=Status.TIMED_OUT))
    assert not store.has(SPEC)
    assert [each.outcome.status for each in store.failures(SPEC)] == [
        Status.FAILED,
        Status.TIMED_OUT,
    ]
    (state,) = owed(store, [SPEC])
    assert (state.reuse, state.reason) == (Reuse.OWED, "failed before: why")
    assert [each.outcome.status for each in select(store, [SPEC])] == [Status.TIMED_OUT]
    put(store, finished())
    assert [each.outcome.status for each in select(store, [SPEC])] == [Status.FINISHED]


def test_a_run_of_other_code_answers_for_the_point_and_the_plan_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    older = replace(SPEC, source="older")
    put(store, finished(older))
    (state,) = owed(store, [SPEC])
    assert (state.reuse, state.reason) == (Reuse.OWED, "the workload's code has changed")
    assert select(store, [SPEC]) == (finished(older),)
    other_seed = replace(SPEC, seed=1)
    assert select(store, [other_seed]) == ()


def test_what_a_killed_owner_staged_is_removed_and_never_counted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.locked(SPEC.scenario, SPEC.profile):
        staged = store.stage(SPEC)
    assert staged.is_dir()
    assert not store.has(SPEC)
    with store.locked(SPEC.scenario, SPEC.profile):
        assert not staged.exists()


def test_checkpoints_outlive_an_attempt_and_no_finished_run_holds_them(tmp_path: Path) -> None:
    store = Store(tmp_path)

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
        leave(staged)
        store.discard(staged)  # stopped by Ctrl-C
        staged = store.stage(SPEC)
        assert kept(staged)
        leave(staged)
        failed = store.commit(staged, finished(status=Status.FAILED))
        assert not (failed / "checkpoints").exists()
        staged = store.stage(SPEC)
        assert kept(staged)
        other = store.stage(replace(SPEC, seed=1))
        assert [path.name for path in other.iterdir()] == ["spec.json"]
        place = store.commit(staged, finished())
    assert not (place / "checkpoints").exists()
    assert not staged.exists()


def test_two_owners_at_once_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    code = (
        "import sys; from pathlib import Path; from harness.results.store import Store\n"
        "from harness.records import Profile\n"
        "with Store(Path(sys.argv[1])).locked('a99-example', Profile.CPU):\n"
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
    place = put(Store(tmp_path), finished())
    if content is None:
        (place / name).unlink()
    else:
        (place / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_run(place)


def test_a_run_of_another_schema_is_no_result_and_no_damage(tmp_path: Path) -> None:
    store, older = Store(tmp_path), replace(SPEC, schema_version=1)
    assert older.run_id != SPEC.run_id
    place = put(store, finished(older))
    assert not store.has(SPEC)
    assert store.runs("a99-example", Profile.CPU) == []
    assert store.profiles("a99-example") == []
    assert store.other_schemas("a99-example") == {1}
    assert store.other_schemas("a99-example", Profile.EVIDENCE) == set()
    (state,) = owed(store, [SPEC])
    assert (state.reuse, state.reason) == (
        Reuse.OWED,
        "the stored results are from an older harness (schema 1)",
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
        Store(tmp_path / "file" / "store").locked("a99-example", Profile.CPU),
    ):
        pass
