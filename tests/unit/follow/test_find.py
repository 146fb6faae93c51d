"""Which runs are at work, and what became of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.follow.find import RunState, at_work, changed_at, earlier, ended, is_held, newest
from harness.follow.watching import Watched, quiet_limit_s, staged
from harness.records import Limits, Status
from harness.results.store import RunStore
from tests.unit.follow.conftest import MakeRun, finish, held, line, spec


def test_a_run_is_at_work_while_its_harness_holds_the_lock(store: RunStore, begin: MakeRun) -> None:
    folder = begin()
    with held(store, spec()):
        (found,) = at_work(store)
        assert (found.state, found.folder, found.spec) == (RunState.RUNNING, folder, spec())
    (left,) = at_work(store, "a99-example")
    assert left.state is RunState.LEFT
    assert at_work(store, "a98-other") == []


def test_reading_a_lock_does_not_take_it(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    assert is_held(path) is False
    path.touch()
    assert is_held(path) is False
    store = RunStore(tmp_path)
    with held(store, spec()):
        lock = tmp_path / ".staging" / "a99-example.cpu.lock"
        assert is_held(lock) is True
        assert is_held(lock) is True


def test_a_damaged_spec_is_passed_over(store: RunStore, begin: MakeRun) -> None:
    folder = begin()
    (folder / "spec.json").write_text("{", encoding="utf-8")
    assert at_work(store) == []


@pytest.mark.parametrize(
    ("status", "state"),
    [(Status.FINISHED, RunState.FINISHED), (Status.FAILED, RunState.FAILED)],
)
def test_how_a_run_ended_is_found_in_the_store(
    store: RunStore, begin: MakeRun, status: Status, state: RunState
) -> None:
    folder = begin()
    assert ended(store, spec()) is None
    finish(store, folder, spec(), status)
    found = ended(store, spec())
    assert found is not None
    assert found.state is state
    assert found.folder.is_dir()
    last = newest(store)
    assert last is not None
    assert (last.state, last.folder) == (state, found.folder)
    assert staged(store, spec()) is None


def test_the_time_left_is_learned_from_finished_runs_of_the_cell(
    store: RunStore, begin: MakeRun
) -> None:
    lines = [line(0, "train", 0, 4), line(90, "train", 4, 4)]
    for seed in (1, 2):
        finish(store, begin(spec(seed), lines), spec(seed))
    begin(spec(3), [line(0, "train", 0, 4), line(20, "train", 1, 4)])
    assert len(earlier(store, spec(3))) == 2
    (run,) = at_work(store)
    watched = Watched(run, store)
    seen = watched.look()
    assert seen.left is not None
    assert seen.left.whole


def test_telemetry_is_no_sign_of_life(begin: MakeRun) -> None:
    folder = begin()
    for each in folder.iterdir():
        os.utime(each, (5.0, 5.0))
    (folder / "telemetry.csv").write_text("", encoding="utf-8")
    assert changed_at(folder) == 5.0
    (folder / "rollouts.jsonl").write_text("", encoding="utf-8")
    assert changed_at(folder) > 5.0


def test_somebody_is_told_of_silence_well_before_the_run_is_ended() -> None:
    assert quiet_limit_s(spec(limits=Limits(stall_s=1800.0))) == 600.0
    assert quiet_limit_s(spec(limits=Limits(stall_s=60.0))) == 60.0
