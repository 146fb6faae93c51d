"""Finished steps: whole or not there, found by what decides them, refused where damaged."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from harness.artefacts import Artefact, ArtefactStore, Cost, DamagedError, StepSpec
from harness.errors import HostError, InputError

SPEC_OF_TASKS = StepSpec(name="tasks", decides={"seed": 42}, reads={}, place={}, source="s")


def asked(**changes: Any) -> StepSpec:
    known = {name: getattr(SPEC_OF_TASKS, name) for name in ("name", "decides", "reads", "place")}
    return StepSpec(**{**known, "source": SPEC_OF_TASKS.source, **changes})


def make(
    store: ArtefactStore, spec: StepSpec = SPEC_OF_TASKS, files: Mapping[str, str] | None = None
) -> Artefact:
    with store.locked(spec.key, lambda: None):
        new = store.begin(spec.key)
        for name, text in (files or {"a.txt": "one", "sub/b.txt": "two"}).items():
            path = new / "files" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        (new / "events.jsonl").write_text("{}\n", encoding="utf-8")
        return store.finish(
            new,
            Artefact(
                spec=spec,
                code=("harness.workloads.noop",),
                made_by="a99 cpu 0123",
                made_at="2026-01-01T00:00:00+00:00",
                device="no device",
                cost=Cost(wall_s=1.5),
                facts={"sync_s": [0.25]},
            ),
        )


def test_a_step_comes_back_as_it_was_made(tmp_path: Path) -> None:
    store = ArtefactStore(tmp_path / "store")
    assert store.keys() == []
    assert store.find(SPEC_OF_TASKS.key) is None
    made = make(store)
    assert store.find(SPEC_OF_TASKS.key) == made
    assert store.keys() == [SPEC_OF_TASKS.key] == [made.key]
    assert (store.files(made.key) / "sub/b.txt").read_text(encoding="utf-8") == "two"
    assert set(made.files) == {"a.txt", "sub/b.txt"}


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "others"},
        {"decides": {"seed": 43}},
        {"reads": {"tasks": "0" * 64}},
        {"place": {"device": "NVIDIA GB10"}},
        {"source": "t"},
    ],
)
def test_all_that_decides_a_step_is_in_its_address(changes: dict[str, Any]) -> None:
    assert asked(**changes).key != SPEC_OF_TASKS.key
    assert asked().key == SPEC_OF_TASKS.key
    is_about_what_answers = set(changes) <= {"place", "source"}
    assert (asked(**changes).identity == SPEC_OF_TASKS.identity) is is_about_what_answers


def test_what_a_later_step_reads_is_content_alone(tmp_path: Path) -> None:
    one, two = (make(ArtefactStore(tmp_path / name)) for name in ("one", "two"))
    other = make(ArtefactStore(tmp_path / "three"), files={"a.txt": "one", "sub/b.txt": "three"})
    assert one.digest() == two.digest() != other.digest()
    assert one.digest("a.txt") == other.digest("a.txt")
    assert one.digest("sub") != other.digest("sub")
    with pytest.raises(ValueError, match="no file below 'su'"):
        one.digest("su")


def bits_flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def zeroed(path: Path) -> None:
    size = path.stat().st_size
    os.truncate(path, size // 2)
    os.truncate(path, size)


@pytest.mark.parametrize("damage", [bits_flipped, cut, zeroed, Path.unlink])
@pytest.mark.parametrize(
    "name", ["artefact.json", "events.jsonl", "manifest.json", "files/a.txt", "files/sub/b.txt"]
)
def test_damage_of_any_file_is_noticed(tmp_path: Path, name: str, damage: Any) -> None:
    store = ArtefactStore(tmp_path)
    key = make(store).key
    damage(tmp_path / key / name)
    with pytest.raises(DamagedError):
        store.find(key)
    make(store)  # over it
    assert store.find(key) is not None


def test_what_was_not_made_is_noticed(tmp_path: Path) -> None:
    store = ArtefactStore(tmp_path)
    key = make(store).key
    (tmp_path / key / "files/more").write_text("", encoding="utf-8")
    with pytest.raises(DamagedError, match="is not in the manifest"):
        store.find(key)
    (tmp_path / key / "files/more").unlink()
    (tmp_path / key).rename(tmp_path / ("0" * 24))
    with pytest.raises(DamagedError, match="is the record of another step"):
        store.find("0" * 24)


def test_a_killed_maker_leaves_nothing_but_what_the_next_goes_on_with(tmp_path: Path) -> None:
    store = ArtefactStore(tmp_path)
    new = store.begin("k", keeps=("log",))
    for name in ("log", "half"):
        (new / "files" / name).write_text(name, encoding="utf-8")
    (new / "files" / "folder").mkdir()
    (new / "files" / "folder" / "log").write_text("another", encoding="utf-8")
    (new / "manifest.json").write_text("{", encoding="utf-8")
    assert store.keys() == []
    assert store.unfinished() == [new]
    again = store.begin("k", keeps=("log",))
    assert [path.name for path in again.rglob("*") if path.is_file()] == ["log"]
    store.clear(new)
    assert store.unfinished() == []


def test_one_makes_and_the_other_waits(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from harness.artefacts import ArtefactStore\n"
        "with ArtefactStore(Path(sys.argv[1])).locked('k', lambda: None):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    store, waits = ArtefactStore(tmp_path), threading.Event()
    store.begin("k")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert store.unfinished() == []  # it is being made

        def wait() -> None:
            with store.locked("k", waits.set):
                pass

        waiter = threading.Thread(target=wait)
        waiter.start()
        assert waits.wait(60)
        other.kill()  # the kernel gives the lock back
        waiter.join(60)
        assert not waiter.is_alive()


def test_a_full_disk_leaves_nothing_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ArtefactStore(tmp_path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            make(store)
    assert store.find(SPEC_OF_TASKS.key) is None
    make(store)
    assert store.find(SPEC_OF_TASKS.key) is not None


def test_a_store_that_cannot_be_written_to_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    store = ArtefactStore(tmp_path / "file" / "store")
    with pytest.raises(HostError, match="cannot write"), store.locked("k", lambda: None):
        pass
    with pytest.raises(HostError, match="cannot write"):
        store.begin("k")


# --- carrying -------------------------------------------------------------------------------------


def test_steps_are_carried_to_another_store(tmp_path: Path) -> None:
    here, there = ArtefactStore(tmp_path / "here"), ArtefactStore(tmp_path / "there")
    one, two = make(here), make(here, asked(name="demonstrations"))
    here.export([one.key, two.key], tmp_path / "steps.tar")
    first = (tmp_path / "steps.tar").read_bytes()
    here.export([one.key, two.key], tmp_path / "steps.tar")
    assert (tmp_path / "steps.tar").read_bytes() == first
    make(there)
    new, known = there.take_in(tmp_path / "steps.tar")
    assert ([each.key for each in new], known) == ([two.key], 1)
    assert there.find(two.key) == two
    assert [path.name for path in there.root.iterdir() if path.name.startswith(".import")] == []


def test_a_damaged_step_is_not_carried(tmp_path: Path) -> None:
    here, there = ArtefactStore(tmp_path / "here"), ArtefactStore(tmp_path / "there")
    key = make(here).key
    here.export([key], tmp_path / "steps.tar")
    zeroed(here.root / key / "files/a.txt")
    with pytest.raises(DamagedError):
        here.export([key], tmp_path / "other.tar")
    assert not (tmp_path / "other.tar").exists()
    content = bytearray((tmp_path / "steps.tar").read_bytes())
    content[content.index(b"one")] ^= 1
    (tmp_path / "steps.tar").write_bytes(content)
    with pytest.raises(DamagedError, match=r"a\.txt"):
        there.take_in(tmp_path / "steps.tar")
    assert there.keys() == []


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    "info",
    [
        member("/etc/passwd"),
        member("key/../../out"),
        member(".locks/key"),
        member("alone"),
        member("key/link", tarfile.SYMTYPE, "/etc/passwd"),
        member("key/link", tarfile.LNKTYPE, "/etc/passwd"),
        member("key/device", tarfile.CHRTYPE),
        member("key/folder", tarfile.DIRTYPE),
    ],
    ids=lambda info: info.name,
)
def test_an_archive_of_something_else_is_refused(tmp_path: Path, info: tarfile.TarInfo) -> None:
    store = ArtefactStore(tmp_path / "store")
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        tar.addfile(info)
    with pytest.raises(InputError, match="holds something else"):
        store.take_in(tmp_path / "bad.tar")
    assert store.keys() == []
    assert {path.name for path in tmp_path.iterdir()} == {"store", "bad.tar"}


@pytest.mark.parametrize("content", [b"", b"no archive", b"\0" * 10240])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.tar").write_bytes(content)
    store = ArtefactStore(tmp_path / "store")
    if content.startswith(b"\0"):  # an empty archive
        assert store.take_in(tmp_path / "bad.tar") == ([], 0)
        return
    with pytest.raises(InputError, match="is no archive of steps"):
        store.take_in(tmp_path / "bad.tar")


def test_an_archive_that_is_cut_anywhere_gives_nothing_half(tmp_path: Path) -> None:
    here = ArtefactStore(tmp_path / "here")
    keys = [make(here, asked(name=name)).key for name in "ab"]
    here.export(keys, tmp_path / "steps.tar")
    whole, chance = (tmp_path / "steps.tar").read_bytes(), random.Random(1)  # noqa: S311 - no secret
    for _ in range(30):
        there = ArtefactStore(tmp_path / "there")
        at = chance.randrange(len(whole))
        zeros = chance.random() < 0.5
        (tmp_path / "cut.tar").write_bytes(whole[:at] + bytes(len(whole) - at if zeros else 0))
        with suppress(InputError):
            there.take_in(tmp_path / "cut.tar")
        every = there.keys()
        for key in every:
            assert there.find(key) is not None
        shutil.rmtree(there.root)


def test_the_record_of_a_step_can_be_read_by_a_person(tmp_path: Path) -> None:
    made = make(ArtefactStore(tmp_path))
    document = json.loads((tmp_path / made.key / "artefact.json").read_text(encoding="utf-8"))
    assert document["spec"]["decides"] == {"seed": 42}
    assert document["cost"]["wall_s"] == 1.5
