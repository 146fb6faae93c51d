"""The small parts: owners, marks, environments, logs, frames and the watch."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.artefacts import ArtefactStore
from harness.records import Limits
from harness.runtime import environ, owner, processes
from harness.runtime.base import RunStopReason
from harness.runtime.frames import Frames
from harness.runtime.logs import BoundedLog
from harness.runtime.processes import mark_of
from harness.runtime.watch import RunWatch
from harness.workloads.api.emit import EventWriter


def test_an_owner_survives_its_token() -> None:
    me = owner.this_process()
    assert owner.parse(me.token) == me
    assert (me.is_here, me.is_dead, me.pid) == (True, False, os.getpid())


@pytest.mark.parametrize("token", ["", "x", "0123abcd.1.2", "0123abcd.1.2.3.4", "zzzzzzzz.1.2.3"])
def test_no_owner(token: str) -> None:
    assert owner.parse(token) is None


def test_a_pid_that_is_used_again_is_another_owner() -> None:
    me = owner.this_process()
    assert replace(me, started=me.started + 1).is_dead
    assert replace(me, pid=2**22 + 1).is_dead


def test_of_another_boot_or_namespace_nothing_is_said() -> None:
    me = owner.this_process()
    for elsewhere in (replace(me, boot="ffffffff"), replace(me, namespace=1)):
        assert (elsewhere.is_here, elsewhere.is_dead) == (False, False)


@pytest.fixture
def no_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system without /proc; what was read of ours is forgotten before and after."""
    monkeypatch.setattr(owner, "_PROC", tmp_path / "proc")
    owner.boot_id.cache_clear()
    yield
    owner.boot_id.cache_clear()


@pytest.mark.usefixtures("no_proc")
def test_without_proc_an_owner_is_known_by_its_pid_alone_and_never_dead() -> None:
    me = owner.this_process()
    assert (me.boot, me.pid) == ("00000000", os.getpid())
    assert owner.parse(me.token) == me
    for other in (me, replace(me, pid=2**22 + 1), replace(me, boot="0123abcd")):
        assert (other.is_here, other.is_dead) == (False, False)


def test_without_proc_no_process_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def scandir(path: str) -> None:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert list(processes.marked()) == []


def test_an_unmarked_process_has_no_mark() -> None:
    assert mark_of(1) is None
    assert mark_of(2**22 + 1) is None


@pytest.mark.parametrize(
    "name",
    [
        *("HF_TOKEN", "OPENAI_API_KEY", "NGC_APIKEY", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD"),
        *("GOOGLE_APPLICATION_CREDENTIALS", "api_key", "HF_AUTH", "WANDB_API_KEY", "NGC_KEY"),
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert environ.looks_secret(name)


@pytest.mark.parametrize("name", ["HF_HOME", "TOKENIZERS_PARALLELISM", "KEYBOARD", "OMP_SCHEDULE"])
def test_names_of_no_secrets(name: str) -> None:
    assert not environ.looks_secret(name)


def test_what_is_passed_on() -> None:
    given = {
        "PATH": "/bin",
        "PATHOLOGY": "x",
        "HOME": "/h",
        "HF_HOME": "/hf",
        "HF_TOKEN": "t",
        "HARNESS_CHAT_API_KEY": "k",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "0",
        "PYTHONPATH": "/x",
        "FOO": "1",
    }
    assert sorted(environ.host_environment(given)) == [
        *("CUDA_VISIBLE_DEVICES", "HARNESS_CHAT_API_KEY", "HF_HOME", "HOME", "OMP_NUM_THREADS"),
        "PATH",
    ]
    assert sorted(environ.container_environment(given)) == [
        *("HARNESS_CHAT_API_KEY", "OMP_NUM_THREADS"),
    ]


def test_a_short_log_is_kept_whole(tmp_path: Path) -> None:
    with BoundedLog(tmp_path / "log", limit_bytes=10) as log:
        log.write(b"12345")
        log.write(b"67890")
    assert (tmp_path / "log").read_bytes() == b"1234567890"
    assert log.tail() == ("1234567890",)


def test_a_long_log_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    with BoundedLog(tmp_path / "log", limit_bytes=10) as log:
        log.write(b"begin\n")
        log.write(b"x" * 200_000)
        log.write(b"\nend\n")
    text = (tmp_path / "log").read_text(encoding="utf-8")
    assert text.startswith("begin\nxxxx\n[harness: the limit of 10 bytes is reached; ")
    assert text.endswith("xxx\nend\n")
    left_out = int(text.partition("reached; ")[2].partition(" ")[0])
    assert text.count("x") + left_out == 200_000
    assert log.tail(1) == ("end",)


def test_a_log_that_is_no_text_has_a_tail(tmp_path: Path) -> None:
    with BoundedLog(tmp_path / "log") as log:
        log.write(b"\xff\xfe\n" * 300)
    assert len(log.tail()) == 100


@pytest.mark.parametrize("size", [1, 3, 8, 11, 1000])
def test_frames_may_be_torn_anywhere(size: int) -> None:
    stream = b"".join(
        bytes([kind, 0, 0, 0]) + len(text).to_bytes(4, "big") + text
        for kind, text in ((1, b"out one"), (2, b"err"), (1, b""), (1, b" and two"), (2, b"or"))
    )
    out, err = bytearray(), bytearray()
    frames = Frames({Frames.STDOUT: out.extend, Frames.STDERR: err.extend})
    for start in range(0, len(stream), size):
        frames.feed(stream[start : start + size])
    assert (bytes(out), bytes(err)) == (b"out one and two", b"error")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


def reasons(held: RunWatch, now: list[float], seconds: int) -> list[RunStopReason | None]:
    found = []
    for _ in range(2 * seconds):
        now[0] += 0.5
        found.append(held.reason())
    return found


def test_a_run_that_writes_is_not_stalled_and_one_that_does_not_is(
    now: list[float], tmp_path: Path
) -> None:
    held = RunWatch(Limits(stall_s=10.0), tmp_path)
    for _ in range(5):
        assert set(reasons(held, now, 9)) == {None}
        with (tmp_path / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write("{}\n")
    assert set(reasons(held, now, 9)) == {None}
    held.alive()  # output came
    assert set(reasons(held, now, 9)) == {None}
    (tmp_path / "telemetry.csv").write_text("written by the harness", encoding="utf-8")
    assert reasons(held, now, 1) == [None, RunStopReason.STALL]


def test_what_a_run_writes_for_a_step_is_a_sign_of_life(now: list[float], tmp_path: Path) -> None:
    run_dir, store = tmp_path / "run", ArtefactStore(tmp_path / "store")
    run_dir.mkdir()
    held = RunWatch(Limits(stall_s=10.0), run_dir, artefacts_dir=store.root)
    with EventWriter(run_dir / "events.jsonl", ()) as emit:
        emit.step_begun("one", "key", keeps=True)
    assert set(reasons(held, now, 9)) == {None}
    step = store.begin("key")  # a folder alone is nothing
    (step / "files" / "rollouts.jsonl").write_text("{}\n", encoding="utf-8")
    assert set(reasons(held, now, 9)) == {None}
    with (step / "files" / "rollouts.jsonl").open("a", encoding="utf-8") as file:
        file.write("{}\n")
    assert set(reasons(held, now, 9)) == {None}
    (store.root / "finished").mkdir()
    (store.root / "finished" / "file").write_text("of another run", encoding="utf-8")
    assert RunStopReason.STALL in reasons(held, now, 10)


def test_the_step_of_a_run_beside_it_is_no_sign_of_life(now: list[float], tmp_path: Path) -> None:
    store = ArtefactStore(tmp_path / "store")
    store.make_folder()
    watched = {}
    for name in ("alive", "stalled"):
        (tmp_path / name).mkdir()
        watched[name] = RunWatch(Limits(stall_s=10.0), tmp_path / name, artefacts_dir=store.root)
        with EventWriter(tmp_path / name / "events.jsonl", ()) as emit:
            emit.step_begun("step", f"key-of-{name}", keeps=False)
        store.begin(f"key-of-{name}")
    found: dict[str, set[RunStopReason | None]] = {"alive": set(), "stalled": set()}
    for second in range(30):
        (store.unfinished_folder("key-of-alive") / "files" / str(second)).touch()
        for name, held in watched.items():
            found[name].add(held.reason())
        now[0] += 1.0
    assert found == {"alive": {None}, "stalled": {None, RunStopReason.STALL}}


def test_a_pause_of_the_machine_is_no_stall(now: list[float], tmp_path: Path) -> None:
    held = RunWatch(Limits(stall_s=10.0), tmp_path)
    now[0] += 3600
    assert set(reasons(held, now, 8)) == {None}


def test_the_watch_waits_for_the_next_look_or_the_end(now: list[float], tmp_path: Path) -> None:
    looks: list[float] = []
    used = [0.5]
    held = RunWatch(
        Limits(timeout_s=1.7, memory_gib=1.0),
        tmp_path,
        memory_gib=lambda: used[0],
        each_look=lambda: looks.append(now[0]),
    )
    assert (held.wait_s(), held.reason()) == (0.5, None)
    now[0] = 100.5
    assert held.reason() is None
    used[0] = 1.01
    assert held.reason() is None  # looked at a moment ago
    now[0] = 101.0
    assert held.reason() is None  # a program may just be starting, which counts twice
    now[0] = 101.5
    assert held.reason() is RunStopReason.MEMORY
    assert looks == [100.5, 101.0, 101.5]
    now[0] = 101.7
    assert (held.wait_s(), held.reason()) == (0.0, RunStopReason.TIME)


def test_memory_is_read_more_often_once_half_of_it_is_used(
    now: list[float], tmp_path: Path
) -> None:
    """Reading it walks over all processes of the machine."""
    used, read_at = [0.1], list[float]()

    def memory_gib() -> float:
        read_at.append(now[0])
        return used[0]

    held = RunWatch(Limits(memory_gib=1.0), tmp_path, memory_gib=memory_gib)
    for used[0], seconds in ((0.1, 6), (0.6, 3)):
        for _ in range(2 * seconds):
            now[0] += 0.5
            assert held.reason() is None
    assert read_at == [100.5, 102.5, 104.5, 106.5, 107.0, 107.5, 108.0, 108.5, 109.0]


@pytest.mark.parametrize(
    "name",
    ["HF_TOKEN", "HF_PAT", "HF_SECRETKEY", "HF_SECRET_KEY", "HF_PASS", "HF_CREDS", "CUDA_API_KEY"],
)
def test_no_variable_that_is_named_a_secret_reaches_a_run(name: str) -> None:
    assert environ.looks_secret(name)
    assert environ.host_environment({name: "value"}) == {}


@pytest.mark.parametrize("address", ["https://me:pass@mirror.example/x", "http://token@host"])
def test_no_password_in_an_address_reaches_a_run(address: str) -> None:
    assert environ.host_environment({"HF_ENDPOINT": address}) == {}
    plain = {"HF_ENDPOINT": "https://mirror.example/a@b", "LD_LIBRARY_PATH": "/lib", "PATH": "/bin"}
    assert environ.host_environment(plain) == plain
