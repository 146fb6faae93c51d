"""What every sandbox owes to whoever runs an agent's commands in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.sandbox.base import TIMED_OUT, Sandbox, SandboxUnavailable
from harness.sandbox.container_pool import ContainerPool
from harness.sandbox.in_memory import MemorySandbox
from harness.sandbox.limits import CommandLimits
from harness.sandbox.supervised import SupervisedSandbox
from harness.sandbox.workspace import Workspace, WorkspaceOverflow

from .conftest import SANDBOXES, Factory, Marker, bubblewrap, factory_named

SEED: Workspace = {
    "notes/a.txt": b"first\nsecond\n",
    "notes/b.bin": bytes(range(256)),
    "empty/": b"",
    ".hidden": b"",
    "name with 'quotes' and\nnewline": b"x",
    "\u00fcber/\U0001f980.txt": "\u00e4".encode(),
}

IN_THE_BACKGROUND = (
    signal.SIGINT,
    signal.SIGHUP,
)  # what a shell's & and nohup make a process ignore


@pytest.fixture(params=["memory", *SANDBOXES])
def files(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Every sandbox, also the one without processes."""
    name: str = request.param
    with MemorySandbox() if name == "memory" else factory_named(name, request).make() as sandbox:
        yield sandbox


# --- files ----------------------------------------------------------------------------------------


def test_a_new_sandbox_is_empty(files: Sandbox) -> None:
    assert (files.list(), files.snapshot()) == ((), {})


def test_a_workspace_comes_back_as_it_was_put_there(files: Sandbox) -> None:
    files.materialise(SEED)
    assert files.snapshot() == SEED
    assert files.list() == tuple(sorted(SEED))


def test_materialising_leaves_nothing_of_what_was_there(files: Sandbox) -> None:
    files.materialise(SEED)
    files.materialise({"only": b"this"})
    assert files.snapshot() == {"only": b"this"}


def test_reset_brings_the_seed_back(files: Sandbox) -> None:
    files.materialise({"a.txt": b"a", "b/": b""})
    files.run("echo changed > a.txt")
    files.run(
        "rm b" if isinstance(files, MemorySandbox) else "rmdir b; mkdir -p c/d; ln -s a.txt l"
    )
    files.reset()
    assert files.snapshot() == {"a.txt": b"a", "b/": b""}


@pytest.mark.parametrize(
    "workspace",
    [
        {"/etc/passwd": b""},
        {"../outside": b""},
        {"a/../../outside": b""},
        {"a": b"", "a/b": b""},
        {"directory/": b"bytes"},
        {"nul\0": b""},
        {"": b""},
    ],
)
def test_an_impossible_workspace_is_refused_and_changes_nothing(
    files: Sandbox, workspace: Workspace
) -> None:
    files.materialise({"kept": b"1"})
    with pytest.raises(InputError):
        files.materialise(workspace)
    assert files.snapshot() == {"kept": b"1"}
    files.reset()
    assert files.snapshot() == {"kept": b"1"}


def test_a_workspace_beyond_the_limits_is_refused(sandbox: SupervisedSandbox) -> None:
    with pytest.raises(InputError, match="too large"):
        sandbox.materialise({"big": bytes((4 << 20) + 1)})
    with pytest.raises(InputError, match="too large"):
        sandbox.materialise({f"{number}": b"" for number in range(201)})


def test_the_largest_workspace_that_is_allowed_fits(sandbox: SupervisedSandbox) -> None:
    content = bytes((4 << 20) // 200)
    largest = {f"d{number}/file": content for number in range(200)}
    sandbox.materialise(largest)
    assert sandbox.snapshot() == largest


def test_links_read_as_the_files_inside_that_they_lead_to(sandbox: SupervisedSandbox) -> None:
    sandbox.materialise({"a.txt": b"a", "d/e.txt": b"e"})
    sandbox.run(
        "ln -s a.txt file; ln -s d directory; ln -s nowhere nothing; ln -s /etc/passwd outside"
    )
    sandbox.run("ln a.txt hard; ln -s loop loop; ln -s $PWD/a.txt d/full; ln -s ../a.txt d/up")
    links = dict.fromkeys(("file", "hard", "d/full", "d/up"), b"a")
    wanted = {"a.txt": b"a", "d/e.txt": b"e", **links}
    assert sandbox.snapshot() == wanted
    assert sandbox.list() == tuple(sorted(wanted))


def test_more_bytes_than_are_read_back_are_an_overflow(sandbox: SupervisedSandbox) -> None:
    sandbox.run("head -c 3000000 /dev/zero > a; ln -s a b")
    with pytest.raises(WorkspaceOverflow):
        sandbox.snapshot()
    sandbox.run("rm b")
    assert len(sandbox.snapshot()["a"]) == 3_000_000


def test_more_paths_than_are_read_back_are_an_overflow(sandbox: SupervisedSandbox) -> None:
    sandbox.run("touch $(seq 201)")
    for read in (sandbox.snapshot, sandbox.list):
        with pytest.raises(WorkspaceOverflow, match="more than 200 paths"):
            read()
    sandbox.run("rm 201")
    assert len(sandbox.list()) == len(sandbox.snapshot()) == 200


# --- commands -------------------------------------------------------------------------------------


def test_a_command_works_on_the_workspace(sandbox: SupervisedSandbox) -> None:
    sandbox.materialise({"a.txt": b"one\n"})
    result = sandbox.run("sed -i s/one/two/ a.txt && mkdir -p x/y && cat a.txt")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "two\n", "")
    assert sandbox.snapshot() == {"a.txt": b"two\n", "x/y/": b""}


def test_both_streams_and_the_exit_code_come_back(sandbox: SupervisedSandbox) -> None:
    result = sandbox.run("echo out; echo err >&2; exit 7")
    assert (result.exit_code, result.stdout, result.stderr) == (7, "out\n", "err\n")
    assert not result.timed_out
    assert not result.truncated
    assert 0 < result.wall_s < 10


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [
        ("true", 0),
        ("", 0),
        ("# nothing", 0),
        ("no-such-program", 127),
        ("if then fi (", 2),
        ("kill -9 $$", 128 + signal.SIGKILL),
        ("kill -SEGV $$", 128 + signal.SIGSEGV),
        ("exit 124", TIMED_OUT),
        ("exit 256", 0),
        ("touch script; chmod -x script; ./script", 126),
    ],
)
def test_exit_codes_are_a_shells(sandbox: SupervisedSandbox, command: str, exit_code: int) -> None:
    result = sandbox.run(command)
    assert (result.exit_code, result.timed_out) == (exit_code, False)


@pytest.mark.parametrize("command", ["echo \0", "echo \ud800", "echo " + "x" * (128 << 10)])
def test_a_text_that_no_shell_can_be_given_fails_as_a_command(
    sandbox: SupervisedSandbox, command: str
) -> None:
    result = sandbox.run(command)
    assert result.exit_code == 126
    assert "command" in result.stderr


def test_a_program_in_the_workspace_can_be_run(sandbox: SupervisedSandbox) -> None:
    sandbox.run("printf '#!/bin/sh\\necho ran' > program; chmod +x program")
    assert sandbox.run("./program").stdout == "ran\n"


def test_the_environment_is_fixed(sandbox: SupervisedSandbox) -> None:
    by_the_shell = ("PWD=", "SHLVL=", "_=")
    lines = [
        line for line in sandbox.run("env").stdout.split() if not line.startswith(by_the_shell)
    ]
    assert sorted(lines) == ["HOME=/workspace", "LANG=C.UTF-8", "PATH=/usr/bin:/bin"]
    assert sandbox.run("pwd; cd; pwd; date +%Z; umask").stdout.split() == [
        "/workspace",
        "/workspace",
        "UTC",
        "0022",
    ]


def test_standard_input_is_empty(sandbox: SupervisedSandbox) -> None:
    assert sandbox.run("cat; wc -c").stdout == "0\n"


def test_a_command_that_takes_too_long_is_ended(sandbox: SupervisedSandbox) -> None:
    began = time.monotonic()
    result = sandbox.run("echo begun; sleep 60; echo done", CommandLimits(timeout_s=0.3))
    assert (result.exit_code, result.timed_out, result.stdout) == (TIMED_OUT, True, "begun\n")
    assert time.monotonic() - began < 40


def test_output_is_kept_from_its_beginning(sandbox: SupervisedSandbox) -> None:
    result = sandbox.run("seq 1000; echo short >&2", CommandLimits(output_bytes=10))
    assert (result.stdout, result.stderr) == ("1\n2\n3\n4\n5\n", "short\n")
    assert result.truncated
    exact = sandbox.run("printf 0123456789", CommandLimits(output_bytes=10))
    assert (exact.stdout, exact.truncated) == ("0123456789", False)


def test_bytes_that_are_no_text_are_replaced(sandbox: SupervisedSandbox) -> None:
    assert sandbox.run(r"printf 'a\377b\000c'").stdout == "a\ufffdb\0c"


def test_a_command_starts_with_no_signal_blocked_or_ignored(sandbox: SupervisedSandbox) -> None:
    result = sandbox.run(
        "grep -E 'Sig(Blk|Ign)' /proc/self/status; yes | head -1; echo ${PIPESTATUS}"
    )
    assert result.stdout.split() == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16, "y", "141"]


def test_a_command_ignores_no_signal_that_the_harness_ignores(factory: Factory) -> None:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in IN_THE_BACKGROUND}
    try:
        with factory.make() as sandbox:
            ignored = sandbox.run("grep SigIgn /proc/self/status").stdout.split()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert ignored == ["SigIgn:", "0" * 16]


def test_nothing_but_the_workspace_outlives_a_command(sandbox: SupervisedSandbox) -> None:
    sandbox.run("touch /tmp/t /dev/shm/s kept; export VARIABLE=1; cd /tmp")
    assert sandbox.run("ls -A /tmp /dev/shm; echo $VARIABLE; pwd").stdout.split() == [
        "/dev/shm:",
        "/tmp:",
        "/workspace",
    ]
    assert sandbox.list() == ("kept",)


# --- the sandbox itself ---------------------------------------------------------------------------


def test_a_sandbox_that_is_not_there_says_so(factory: Factory) -> None:
    sandbox = factory.make()
    with pytest.raises(SandboxUnavailable):
        sandbox.run("true")
    with sandbox:
        sandbox.run("true")
    for use in (sandbox.list, sandbox.snapshot, sandbox.reset, lambda: sandbox.run("true")):
        with pytest.raises(SandboxUnavailable):
            use()
    sandbox.destroy()


def test_sandboxes_do_not_see_each_other(factory: Factory) -> None:
    with factory.make() as one, factory.make() as other:
        one.materialise({"one": b"1"})
        other.materialise({"other": b"2"})
        assert (one.list(), other.list()) == (("one",), ("other",))


def test_a_sandbox_is_new_although_its_place_was_used_before(factory: Factory) -> None:
    with factory.make() as sandbox:
        sandbox.materialise({"left": b"1"})
        sandbox.run("touch /tmp/left /dev/shm/left")
    with factory.make() as sandbox:
        assert sandbox.run("ls -A . /tmp /dev/shm | grep left").stdout == ""
        sandbox.reset()
        assert sandbox.list() == ()


def test_a_sandbox_that_somebody_else_ended_is_not_a_failed_command(
    factory: Factory, marker: Marker
) -> None:
    with factory.make() as sandbox:
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(sandbox.run, marker.sleep)
            os.kill(_keeper_of(_wait_for(marker)), signal.SIGKILL)
            with pytest.raises(SandboxUnavailable):
                running.result(timeout=120)
        with pytest.raises(SandboxUnavailable):
            sandbox.snapshot()
    with factory.make() as sandbox:
        assert sandbox.run("echo new").stdout == "new\n"


def test_destroying_a_sandbox_ends_what_runs_in_it(factory: Factory, marker: Marker) -> None:
    sandbox = factory.make().__enter__()
    sandbox.run(f"setsid {marker.sleep} & {marker.sleep} &")
    sandbox.destroy()
    assert marker.pids() == []
    sandbox.destroy()


OWNER = """
import sys
from harness.records import ImageRef
from harness.sandbox.bubblewrap import Bubblewrap
from harness.sandbox.container_pool import ContainerPool
image, command = sys.stdin.readline().strip(), sys.stdin.readline()
if image:
    with ContainerPool(ImageRef(name="sandbox", digest=image)) as pool, pool.make() as sandbox:
        sandbox.run(command)
else:
    with Bubblewrap().make() as sandbox:
        sandbox.run(command)
"""


def test_a_sandbox_ends_with_its_owner_however_that_ends(
    factory: Factory, marker: Marker, request: pytest.FixtureRequest
) -> None:
    is_pool = isinstance(factory, ContainerPool)
    image = request.getfixturevalue("sandbox_image").digest if is_pool else ""
    with subprocess.Popen([sys.executable, "-c", OWNER], stdin=subprocess.PIPE, text=True) as owner:
        assert owner.stdin is not None
        owner.stdin.write(f"{image}\nsetsid {marker.sleep} & {marker.sleep}\n")
        owner.stdin.flush()
        _wait_for(marker)
        owner.kill()
    deadline = time.monotonic() + 120
    while marker.pids() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert marker.pids() == []


PLAIN_USER = """
from harness.sandbox.bubblewrap import Bubblewrap
with Bubblewrap().make() as sandbox:
    sandbox.materialise({"a": b"1"})
    assert sandbox.run("id -u; chmod 0 a; ln -s $PWD/a b").stdout == "65534\\n"
    assert sandbox.run("setpriv --reuid 0 true; head -c 1G /dev/zero > fill").exit_code != 0
    sandbox.run("rm fill")
    assert sandbox.snapshot() == {"a": b"1", "b": b"1"}, sandbox.snapshot()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="every test of bubblewrap here is one")
def test_a_user_without_rights_can_make_a_sandbox(project_root: Path) -> None:
    bubblewrap()
    user = ["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups"]
    python = [*user, "/usr/bin/python3", "-B", "-c"]
    if subprocess.run(
        [*python, "import harness.records"], check=False, cwd=project_root
    ).returncode:
        pytest.skip("another user cannot read this checkout, or has no Python 3.11")
    subprocess.run([*python, PLAIN_USER], check=True, cwd=project_root)


def _wait_for(marker: Marker) -> int:
    """Return the process id of a command that carries `marker`, once it runs."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for pid in marker.pids():
            if Path(f"/proc/{pid}/comm").read_text(encoding="ascii") == "sleep\n":
                return pid
        time.sleep(0.02)
    pytest.fail("the command does not start")


def _keeper_of(pid: int) -> int:
    """Return the nearest ancestor that is a supervisor."""
    while b"sys.modules" not in Path(f"/proc/{pid}/cmdline").read_bytes():
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        pid = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid"))
    return pid
