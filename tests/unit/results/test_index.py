"""The index of a store: quick to read, and never believed against the files."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness import atomic
from harness.errors import InputError
from harness.records import (
    FinishedRun,
    Measurement,
    Profile,
    RunOutcome,
    RunSpec,
    Segment,
    Status,
    StepTaken,
    Usage,
)
from harness.results import index as indexing
from harness.results.index import INDEX_FILE, WORTH_INDEXING
from harness.results.measured import measured
from harness.results.store import RunStore

FILES = ("spec.json", "outcome.json", "measurements.json", "environment.json")
NUM_RUNS = WORTH_INDEXING + 20
SPECS = [
    RunSpec(
        scenario="a99-example",
        profile=Profile.CPU,
        workload="noop",
        params={"index": n},
        seed=n % 2,
    )
    for n in range(NUM_RUNS)
]


def finished(spec: RunSpec) -> FinishedRun:
    n = spec.params["index"]
    return FinishedRun(
        spec=spec,
        outcome=RunOutcome(
            status=Status.FINISHED,
            runtime="local",
            device="no device",
            usage=Usage(wall_s=n / 7),
            segments=(Segment(began="", ended="", boot_id="", cause="SIGTERM", wall_s=n / 9),),
            steps=(StepTaken(name="train", key=f"k{n}", made_by="a99-example cpu 1"),),
        ),
        measurements=(
            Measurement(metric="noop.value", value=n, unit="1"),
            Measurement(metric="noop.value", value=n / 3, unit="1", where={"row": "ä", "at": n}),
            Measurement(metric="energy", value=None, unit="Wh", absent="no counter", count=n + 1),
        ),
        environment={"built": {"commit": "c0ffee"}, "seeds": {"run": spec.seed}},
    )


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store that nobody has read, to be copied."""
    store = RunStore(tmp_path_factory.mktemp("committed") / "store")
    with pytest.MonkeyPatch.context() as patch, store.locked("a99-example", Profile.CPU):
        patch.setattr(os, "fsync", lambda _: None)  # a power cut is no part of these tests
        for spec in SPECS:
            store.commit(store.stage(spec), finished(spec))
    return store.root


@pytest.fixture
def store(committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    """A store of runs that are old enough to be indexed; this file system's clock is fine."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(indexing, "_SETTLED_NS", 2 * 10**7)
    store = RunStore(shutil.copytree(committed, tmp_path / "store"))
    let_settle(store)
    return store


def let_settle(store: RunStore) -> None:
    """Wait until the newest file is older than a file system's clock could hide a change in."""
    newest = max(path.stat().st_ctime_ns for path in store.root.rglob("*.json"))
    time.sleep(max(0, newest + indexing._SETTLED_NS - time.time_ns()) / 1e9 + 0.01)


def read(store: RunStore) -> list[FinishedRun]:
    return store.runs("a99-example", Profile.CPU)


def num_from_index(store: RunStore) -> int:
    """Return how many runs the index answers for."""
    found = indexing.RunIndex(store.root, FILES).known(list(map(store.folder, SPECS)))
    return len(found)


def folder(store: RunStore, n: int = 7) -> Path:
    return store.folder(SPECS[n])


def test_runs_come_from_the_index_as_they_come_from_their_files(store: RunStore) -> None:
    first = read(store)
    assert (store.root / INDEX_FILE).is_file()
    assert num_from_index(store) == NUM_RUNS
    again = read(store)
    assert again == first
    assert first == again
    assert first == sorted(map(finished, SPECS), key=lambda r: (r.spec.point_id, r.spec.seed))
    assert store.load_each(SPECS) == {spec.run_id: finished(spec) for spec in SPECS}
    values = [each.value for run in again for each in measured(run, {"energy", "no.such"})]
    assert values == [None] * NUM_RUNS
    assert (again[3].measurements[0], len(again[3].measurements)) == (first[3].measurements[0], 3)


def test_a_small_store_has_no_index(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    with store.locked("a99-example", Profile.CPU):
        store.commit(store.stage(SPECS[0]), finished(SPECS[0]))
    assert read(store) == [finished(SPECS[0])]
    assert not (tmp_path / INDEX_FILE).exists()


def test_files_that_might_still_change_unseen_are_not_indexed(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "_SETTLED_NS", 3600 * 10**9)
    assert num_from_index(store) == num_from_index(store) == 0
    monkeypatch.setattr(indexing, "_SETTLED_NS", 2 * 10**7)
    later = time.time_ns() + 3600 * 10**9
    os.utime(folder(store) / "outcome.json", ns=(later, later))
    read(store)
    assert num_from_index(store) == NUM_RUNS - 1


@pytest.mark.parametrize("name", ["spec", "outcome", "measurements", "environment"])
def test_a_file_that_changed_is_read_again_whatever_its_date_says(
    store: RunStore, name: str
) -> None:
    """Same size, and its old date put back: the inode or the time of its status tells."""
    read(store)
    path = folder(store) / f"{name}.json"
    seen = path.stat()
    text = path.read_text(encoding="utf-8")
    old, new = {
        "spec": ('"replicate": 0', '"replicate": 0'),
        "outcome": ('"no device"', '"a device!"'),
        "measurements": ('"value": 7', '"value": 8'),
        "environment": ("c0ffee", "decade"),
    }[name]
    path.write_text(text.replace(old, new), encoding="utf-8")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert path.stat().st_size == seen.st_size
    assert num_from_index(store) == NUM_RUNS - 1
    changed = store.load_each(SPECS)[SPECS[7].run_id]
    if name != "spec":
        assert changed != finished(SPECS[7])
    assert changed == store.load(SPECS[7])


def test_a_run_that_is_gone_or_damaged_is_not_answered_from_the_index(store: RunStore) -> None:
    read(store)
    (folder(store) / "outcome.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"outcome.json:1:2: is damaged"):
        read(store)
    for path in folder(store).iterdir():
        path.unlink()
    folder(store).rmdir()
    assert len(read(store)) == NUM_RUNS - 1
    assert not store.has(SPECS[7])


def damage_anywhere(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for at in range(0, len(content), 64):
        content[at] ^= 0x5A
    path.write_bytes(content)


def damage_texts(path: Path) -> None:
    with sqlite3.connect(path) as index:
        index.execute("UPDATE runs SET measurements = replace(measurements, '7', '8')")
        index.execute("UPDATE runs SET stamp = stamp, outcome = replace(outcome, 'no d', 'on d')")


def damage_facts(path: Path) -> None:
    with sqlite3.connect(path) as index:
        index.execute("UPDATE facts SET text = replace(text, 'c0ffee', 'decade')")


def swap_runs(path: Path) -> None:
    with sqlite3.connect(path) as index:
        rows = index.execute("SELECT folder, checksum, spec FROM runs LIMIT 2").fetchall()
        for (to, *_), (_, checksum, spec) in zip(rows, reversed(rows), strict=True):
            values = (checksum, spec, to)
            index.execute("UPDATE runs SET checksum = ?, spec = ? WHERE folder = ?", values)


@pytest.mark.parametrize(
    "damage",
    [
        damage_anywhere,
        damage_texts,
        damage_facts,
        swap_runs,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a database, but longer than a header is" * 100),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: sqlite3.connect(path).execute("DROP TABLE facts"),
        lambda path: sqlite3.connect(path).execute("PRAGMA user_version = 7"),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
    ],
)
def test_a_damaged_index_changes_no_result_and_is_made_again(store: RunStore, damage) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001 - a way to damage a file
    expected = read(store)
    path = store.root / INDEX_FILE
    damage(path)
    assert read(store) == expected
    if path.is_dir():
        path.rmdir()
        read(store)
    assert read(store) == expected
    assert num_from_index(store) >= NUM_RUNS - 2  # two are not worth another index


def test_where_no_index_can_be_written_there_is_none(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(atomic, "new_file", refuse)
    assert len(read(store)) == NUM_RUNS
    assert not (store.root / INDEX_FILE).exists()


def test_new_runs_are_added_and_old_ones_kept(store: RunStore) -> None:
    read(store)
    more = [replace(spec, seed=5) for spec in SPECS]
    with store.locked("a99-example", Profile.CPU):
        for spec in more:
            store.commit(store.stage(spec), finished(spec))
    let_settle(store)
    assert len(read(store)) == 2 * NUM_RUNS
    assert num_from_index(store) == NUM_RUNS
    folders = [store.folder(spec) for spec in more]
    assert len(indexing.RunIndex(store.root, FILES).known(folders)) == NUM_RUNS


def test_many_processes_read_and_write_it_at_once(store: RunStore) -> None:
    code = (
        "import sys, json; from pathlib import Path; from harness.results.store import RunStore\n"
        "from harness.records import Profile\n"
        "store = RunStore(Path(sys.argv[1]))\n"
        "for _ in range(5):\n"
        "    runs = store.runs('a99-example', Profile.CPU)\n"
        "    (store.root / '.index.sqlite3').unlink(missing_ok=True)\n"
        "print(len(runs), sum(each.value for run in runs for each in list(run.measurements)[:1]))\n"
    )
    command = [sys.executable, "-c", code, str(store.root)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = {each.communicate()[0] for each in started}
    assert said == {f"{NUM_RUNS} {sum(range(NUM_RUNS))}\n"}
    assert [each.returncode for each in started] == [0] * 4
    assert [path.name for path in store.root.glob(".index*")] in ([], [INDEX_FILE])
    assert json.dumps([run.spec.seed for run in read(store)])
