"""The parts of a sandbox that need none: the filter of calls, control groups, messages."""

from __future__ import annotations

import errno
import io
import os
import re
import struct
import time
from pathlib import Path

import pytest

from harness.errors import HostError
from harness.records import from_json
from harness.runtime.container import DEADLINE_LABEL, OWNER_LABEL, RUN_LABEL
from harness.runtime.owner import this_process
from harness.runtime.processes import Mark
from harness.sandbox import seccomp
from harness.sandbox.base import SandboxUnavailable
from harness.sandbox.bubblewrap import Bubblewrap
from harness.sandbox.cgroups import NO_GROUP, GroupLimits, bounds, make_group
from harness.sandbox.commands import _Stream
from harness.sandbox.container_pool import _Frames, _labels
from harness.sandbox.limits import SandboxLimits, memory_bytes, workspace_bytes
from harness.sandbox.protocol import (
    Reader,
    SandboxOp,
    SandboxRequest,
    SandboxResponse,
    encode,
    join_files,
    read_message,
    split_files,
)
from harness.variables import RUN_VARIABLE

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOWED = 0x7FFF0000
REFUSED = 0x00050000


# --- the filter -----------------------------------------------------------------------------------


def verdict(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """What the kernel's packet machine says of a call; an interpreter of the four codes used."""
    given = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=iIQ6Q", number, architecture, 0, *given)
    instructions = list(struct.iter_unpack("=HBBI", program))
    loaded, at = 0, 0
    while True:
        code, if_true, if_false, operand = instructions[at]
        at += 1
        if code == 0x20:
            (loaded,) = struct.unpack_from("=I", data, operand)
        elif code == 0x06:
            return int(operand)
        else:
            holds = {0x15: loaded == operand, 0x35: loaded >= operand, 0x45: loaded & operand}[code]
            at += if_true if holds else if_false


@pytest.fixture(params=ARCHITECTURES)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def call(machine: str, name: str, *arguments: int) -> int:
    column = list(ARCHITECTURES).index(machine)
    number = seccomp._CALLS[name][column]
    return verdict(seccomp.program(machine), ARCHITECTURES[machine], number, *arguments)


def test_what_is_named_is_refused_and_all_else_is_allowed(machine: str) -> None:
    column = list(ARCHITECTURES).index(machine)
    named = {numbers[column] for numbers in seccomp._CALLS.values()}
    program = seccomp.program(machine)
    newest = seccomp._NEWEST
    for number in set(range(newest + 1)) - named:
        assert verdict(program, ARCHITECTURES[machine], number) == ALLOWED
    for number in (newest + 1, newest + 7, 1000):  # of kernels that nobody has looked at
        assert verdict(program, ARCHITECTURES[machine], number) == REFUSED | errno.ENOSYS
    asked_more = {rule.call for rule in seccomp.RULES if rule.when is not seccomp.When.ALWAYS}
    for name, numbers in seccomp._CALLS.items():
        if numbers[column] and name not in asked_more:
            error = errno.ENOSYS if name == "clone3" else errno.EPERM
            if name.endswith("xattr"):
                error = errno.EOPNOTSUPP
            assert call(machine, name) == REFUSED | error


def test_without_a_control_group_there_are_no_sockets(machine: str) -> None:
    column = list(ARCHITECTURES).index(machine)
    program = seccomp.program(machine, seccomp.RULES_WITHOUT_GROUP)
    for name in ("socket", "socketpair"):
        number = seccomp._CALLS[name][column]
        refused = verdict(program, ARCHITECTURES[machine], number, 1)
        assert refused == REFUSED | errno.EAFNOSUPPORT


@pytest.mark.parametrize(
    ("name", "allowed", "refused", "error"),
    [
        ("clone", (0x3D0F00,), (0x10000000,), errno.EPERM),  # a thread; a user namespace
        ("socket", (1,), (40,), errno.EAFNOSUPPORT),  # unix; to the hypervisor
        ("socket", (16,), (17,), errno.EAFNOSUPPORT),  # netlink; packet
        ("socketpair", (1,), (30,), errno.EAFNOSUPPORT),  # unix; to another machine of a cluster
        ("prlimit64", (0, 7), (1, 7), errno.EPERM),
        ("setpriority", (0, 0, 5), (0, 1, 5), errno.EPERM),
        ("setpriority", (0, 0, 5), (2, 0, 5), errno.EPERM),
        ("ioprio_set", (1, 0), (1, 1), errno.EPERM),
        ("ioprio_set", (1, 0), (3, 0), errno.EPERM),
        ("sched_setaffinity", (0,), (1,), errno.EPERM),
    ],
)
def test_some_calls_are_refused_by_their_arguments(
    machine: str, name: str, allowed: tuple[int, ...], refused: tuple[int, ...], error: int
) -> None:
    assert call(machine, name, *allowed) == ALLOWED
    assert call(machine, name, *refused) == REFUSED | error


def test_calls_of_another_architecture_are_refused(machine: str) -> None:
    program = seccomp.program(machine)
    assert verdict(program, 0x40000003, 1) == REFUSED | errno.EPERM  # 32-bit x86
    x32 = verdict(seccomp.program("x86_64"), ARCHITECTURES["x86_64"], 0x40000000 | 1)
    assert x32 == REFUSED | errno.ENOSYS


def test_a_machine_without_a_table_gets_no_sandbox() -> None:
    with pytest.raises(HostError, match="riscv64"):
        seccomp.program("riscv64")


@pytest.mark.parametrize(
    ("header", "column"),
    [("x86_64-linux-gnu/asm/unistd_64.h", 0), ("asm-generic/unistd.h", 1)],
)
def test_the_numbers_are_those_of_the_kernels_headers(header: str, column: int) -> None:
    file = Path("/usr/include", header)
    if not file.exists():
        pytest.skip(f"needs {file}: sudo apt-get install linux-libc-dev")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", file.read_text(encoding="ascii"))
    numbers = {name: int(number) for name, number in found}
    ours = {name: columns[column] for name, columns in seccomp._CALLS.items()}
    assert {name: numbers.get(name, 0) for name in ours} == ours


# --- control groups -------------------------------------------------------------------------------

GROUP_LIMITS = GroupLimits(memory_bytes=1000, processes=7, cpus=0.5)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "own"
    file.write_text("3:cpu,cpuacct:/a\n2:pids:/\n1:memory:/b/c\n0::/\n", encoding="utf-8")
    return file


def test_a_group_of_version_1_lies_below_the_own_one_in_each_tree(
    tmp_path: Path, own: Path
) -> None:
    for place in ("cpu/a", "pids", "memory/b/c"):
        (tmp_path / place).mkdir(parents=True)
    group = make_group(GROUP_LIMITS, tmp_path, own)
    assert group is not None
    group.add(12)
    (memory,) = (tmp_path / "memory/b/c").iterdir()
    assert _read(memory) == {"memory.limit_in_bytes": "1000", "cgroup.procs": "12"}
    (cpu,) = (tmp_path / "cpu/a").iterdir()
    assert _read(cpu)["cpu.cfs_quota_us"] == "50000"
    (pids,) = (tmp_path / "pids").iterdir()
    assert _read(pids) == {"pids.max": "7", "cgroup.procs": "12"}


def _version_2(folder: Path, controllers: str, *, writable: bool = True) -> Path:
    """Lay a group of version 2 out, as far as it is looked at."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup.controllers").touch()
    (folder / "cgroup.subtree_control").write_text(controllers, encoding="ascii")
    if writable:
        (folder / "cgroup.procs").touch()
    return folder


def test_a_group_of_version_2_is_one_folder(tmp_path: Path, own: Path) -> None:
    _version_2(tmp_path, "cpuset cpu io memory pids")
    group = make_group(GROUP_LIMITS, tmp_path, own)
    assert group is not None
    (folder,) = group.folders
    assert _read(folder) == {"memory.max": "1000", "pids.max": "7", "cpu.max": "50000 100000"}
    assert bounds(tmp_path, own) == "memory is bounded by a control group"


def test_a_users_group_lies_where_systemd_lets_it(tmp_path: Path) -> None:
    own = tmp_path / "own"
    user = "user.slice/user-1000.slice/user@1000.service"
    own.write_text(f"0::/{user}/app.slice/run-1.scope\n", encoding="utf-8")
    _version_2(tmp_path, "cpu memory pids", writable=False)
    _version_2(tmp_path / "user.slice", "cpu memory pids", writable=False)
    _version_2(tmp_path / user, "memory pids")
    _version_2(tmp_path / user / "app.slice", "memory")
    _version_2(tmp_path / user / "app.slice/run-1.scope", "")
    group = make_group(GROUP_LIMITS, tmp_path, own)
    assert group is not None
    (folder,) = group.folders
    assert folder.parent == tmp_path / user
    assert _read(folder) == {"memory.max": "1000", "pids.max": "7"}
    assert not group.has_cpu
    assert bounds(tmp_path, own) == "memory is bounded by a control group, processor time is not"


def test_without_rights_there_is_no_group(tmp_path: Path, own: Path) -> None:
    assert make_group(GROUP_LIMITS, tmp_path, own) is None  # no such trees
    _version_2(tmp_path, "memory")
    assert make_group(GROUP_LIMITS, tmp_path, own) is None
    _version_2(tmp_path, "memory pids cpu").joinpath("cgroup.procs").unlink()
    assert make_group(GROUP_LIMITS, tmp_path, own) is None
    assert bounds(tmp_path, own) == NO_GROUP


def test_groups_that_dead_owners_left_are_removed(tmp_path: Path, own: Path) -> None:
    _version_2(tmp_path, "cpu memory pids")
    dead, alive = tmp_path / "harness-sandbox-4194305-0", tmp_path / "harness-sandbox-1-0"
    dead.mkdir()
    alive.mkdir()
    make_group(GROUP_LIMITS, tmp_path, own)
    assert (dead.exists(), alive.exists()) == (False, True)


def _read(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text(encoding="ascii") for file in folder.iterdir()}


# --- messages -------------------------------------------------------------------------------------


def _sent(content: bytes) -> Reader:
    left = io.BytesIO(content)
    return left.read


def test_a_message_arrives_as_it_was_sent() -> None:
    workspace = {"a/b": b"1\0\n", "empty/": b"", "\udcff": b"2"}
    sizes, content = join_files(workspace)
    request = SandboxRequest(op=SandboxOp.MATERIALISE, sizes=sizes)
    header, blob = read_message(_sent(b"".join(encode(request, content))), 100)
    assert from_json(SandboxRequest, header) == request
    assert split_files(sizes, blob) == workspace


@pytest.mark.parametrize(
    "message",
    [
        struct.pack(">II", 2, 101) + b"{}" + bytes(101),  # more bytes than were asked for
        struct.pack(">II", 1 << 31, 0),
        struct.pack(">II", 3, 0) + b"{}x",
    ],
)
def test_a_message_that_cannot_be_one_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"message|data"):
        read_message(_sent(message), 100)


@pytest.mark.parametrize("header", [{"result": {"exit_code": "0"}}, {"paths": "x"}, {"more": 1}])
def test_an_answer_of_another_form_is_refused(header: object) -> None:
    with pytest.raises(ValueError, match="SandboxResponse"):
        from_json(SandboxResponse, header)


@pytest.mark.parametrize("sizes", [{"a": 3}, {"a": 5, "b": -1}, {"a": 2, "b": 3}])
def test_sizes_that_are_not_those_of_the_bytes_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="disagree"):
        split_files(sizes, b"1234")


def test_the_rest_of_an_output_is_read_although_its_other_end_is_open() -> None:
    """A command can send the descriptor to itself over a socket, where it stays open."""
    ours, theirs = os.pipe()
    os.write(theirs, b"said")
    assert _Stream(ours, 100).finish() == "said"
    os.close(theirs)


def test_an_attached_stream_is_taken_out_of_its_frames_wherever_it_is_cut() -> None:
    frames = [(1, b"out"), (2, b"err"), (1, b""), (1, b"put")]
    stream = b"".join(struct.pack(">BxxxL", kind, len(text)) + text for kind, text in frames)
    for cut in range(len(stream)):
        unwrapped = _Frames()
        assert unwrapped.unframe(stream[:cut]) + unwrapped.unframe(stream[cut:]) == b"output"
        assert unwrapped.last_words == "err"


# --- where there is no place for a sandbox --------------------------------------------------------


def test_without_bubblewrap_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name, **_: None)
    with pytest.raises(SandboxUnavailable, match="apt-get install bubblewrap"):
        Bubblewrap().open()


def test_a_container_is_labelled_as_the_run_that_it_belongs_to() -> None:
    mark = Mark(run_id="abc", owner=this_process())
    labels = _labels(mark.text)
    assert labels[RUN_LABEL] == "abc"
    assert labels[OWNER_LABEL] == mark.owner.token
    assert float(labels[DEADLINE_LABEL]) > time.time()
    assert RUN_VARIABLE == "HARNESS_RUN"


def test_a_sandbox_can_hold_full_disks_and_read_them_back() -> None:
    for limits in (
        SandboxLimits(),
        SandboxLimits(memory_mib=16),
        SandboxLimits(workspace_bytes=1 << 30),
    ):
        held = memory_bytes(limits)
        assert held >= limits.memory_mib << 20
        assert held >= workspace_bytes(limits) + 2 * limits.workspace_bytes
