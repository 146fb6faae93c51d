"""Why something ended that could not say so: from records of a machine that are laid out here."""

from __future__ import annotations

import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.runtime.postmortem import Signs, killed_for_memory, signs_now, why_ended

BEGAN_S = 1_800_000_000.0
BOOT = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path / "proc/sys/kernel/random/boot_id", f"{BOOT}\n")
    put(tmp_path / "proc/vmstat", "pgfault 12\noom_kill 3\n")
    put(tmp_path / "proc/self/cgroup", "0::/user.slice\n")
    put(tmp_path / "sys/fs/cgroup/user.slice/memory.events", "low 0\noom_kill 1\n")
    return tmp_path


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def log(root: Path, *lines: tuple[float, str]) -> None:
    text = "".join(f"6,{at},{at_s * 1e6:.0f},-;{line}\n" for at, (at_s, line) in enumerate(lines))
    put(root / "dev/kmsg", text)


def before(root: Path) -> Signs:
    return replace(signs_now(root), monotonic_s=100.0)


def test_what_a_machine_says_of_itself(root: Path) -> None:
    signs = signs_now(root)
    assert (signs.boot_id, signs.oom_kills, signs.cgroup_oom_kills) == (BOOT, 3, 1)
    assert signs.monotonic_s <= time.monotonic()


def test_this_machine_can_be_asked() -> None:
    assert why_ended(signs_now(), time.time())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "Out of memory: Killed process 4711 (python3) total-vm:1kB",
            "killed while the kernel was out of memory: it killed python3 (4711)",
        ),
        (
            "Memory cgroup out of memory: Killed process 4712 (VLLM::EngineCor) total-vm:1kB",
            "killed while the kernel was out of memory: it killed VLLM::EngineCor (4712)",
        ),
        (
            "NVRM: Xid (PCI:000f:01:00): 79",
            "killed after a GPU fault in the kernel's log: NVRM: Xid (PCI:000f:01:00): 79",
        ),
        (
            "watchdog: BUG: soft lockup",
            "killed after the kernel's watchdog spoke: watchdog: BUG: soft lockup",
        ),
        ("usb 1-1: new device", "killed by a user or a program; the kernel names no reason"),
    ],
)
def test_the_kernel_s_log_names_the_cause(root: Path, line: str, said: str) -> None:
    log(root, (50.0, "Out of memory: Killed process 1 (earlier)"), (120.0, line))
    assert why_ended(before(root), BEGAN_S, root) == said


def test_counters_speak_where_the_log_may_not_be_read(root: Path) -> None:
    signs = before(root)
    put(root / "proc/vmstat", "oom_kill 5\n")
    said = "killed, and the kernel has killed 2 for lack of memory since"
    assert why_ended(signs, BEGAN_S, root) == said
    put(root / "sys/fs/cgroup/user.slice/memory.events", "oom_kill 2\n")
    assert "killed 1 for lack of memory" in why_ended(signs, BEGAN_S, root)


def restart(root: Path) -> None:
    put(root / "proc/sys/kernel/random/boot_id", f"{BOOT[::-1]}\n")


def login_record(kind: int, user: bytes, at_s: float) -> bytes:
    names = (b"~", b"~~", user, b"6.1")
    times = (int(at_s), 0)
    return struct.pack(
        "hi32s4s32s256shhiii4i20s", kind, 0, *names, 0, 0, 0, *times, 0, 0, 0, 0, b""
    )


def test_a_restart_without_a_shutdown_is_a_loss_of_power(root: Path) -> None:
    signs = before(root)
    restart(root)
    said = "the machine restarted without a shutdown: loss of power, a reset or a freeze"
    assert why_ended(signs, BEGAN_S, root) == said
    earlier = login_record(1, b"shutdown", BEGAN_S - 1)
    later_login = login_record(7, b"shutdown", BEGAN_S + 1)
    (root / "var/log").mkdir(parents=True)
    (root / "var/log/wtmp").write_bytes(earlier + later_login + b"torn")
    assert why_ended(signs, BEGAN_S, root) == said


def test_a_shutdown_is_told_from_it(root: Path) -> None:
    signs = before(root)
    restart(root)
    (root / "var/log").mkdir(parents=True)
    (root / "var/log/wtmp").write_bytes(login_record(1, b"shutdown", BEGAN_S + 60))
    assert why_ended(signs, BEGAN_S, root) == "the machine was shut down"


def test_a_crash_record_and_a_hardware_watchdog_are_named(root: Path) -> None:
    signs = before(root)
    restart(root)
    put(root / "sys/class/watchdog/watchdog0/bootstatus", "0\n")
    assert "loss of power" in why_ended(signs, BEGAN_S, root)
    put(root / "sys/class/watchdog/watchdog0/bootstatus", "32\n")
    assert why_ended(signs, BEGAN_S, root) == "the machine's hardware watchdog reset it"
    put(root / "sys/fs/pstore/dmesg-efi-1", "Kernel panic")
    assert "after a crash of its kernel" in why_ended(signs, BEGAN_S, root)


def test_a_machine_without_records_says_that_it_has_none(tmp_path: Path) -> None:
    signs = signs_now(tmp_path)
    assert signs.boot_id == "0" * 8
    assert "keeps no record" in why_ended(signs, BEGAN_S, tmp_path)


FIRST_NAMESPACE, OTHER_NAMESPACE = "pid:[4026531836]", "pid:[4026532000]"


@pytest.mark.parametrize(
    ("kills", "named", "namespace", "expected"),
    [
        (1, None, FIRST_NAMESPACE, False),  # none since: somebody's `kill -9`
        (2, None, FIRST_NAMESPACE, True),  # a log that we may not read names nobody
        (2, 4711, FIRST_NAMESPACE, True),
        (2, 9, FIRST_NAMESPACE, False),  # another process
        (2, 9, OTHER_NAMESPACE, True),  # by a number that is not ours
    ],
)
def test_a_process_is_killed_for_memory_where_the_kernel_killed_that_one(
    root: Path, kills: int, named: int | None, namespace: str, *, expected: bool
) -> None:
    (root / "proc/self/ns").mkdir(parents=True)
    (root / "proc/self/ns/pid").symlink_to(namespace)
    began = before(root)
    put(root / "sys/fs/cgroup/user.slice/memory.events", f"low 0\noom_kill {kills}\n")
    put(root / "proc/vmstat", "pgfault 12\noom_kill 44\n")  # of the whole machine
    if named is not None:
        log(root, (120.0, f"Out of memory: Killed process {named} (python3) total-vm:1kB"))
    assert killed_for_memory(4711, began, root) is expected
