"""What an agent's command might use up or leave behind, and what must hold all the same.

Each test attacks one promise of docs/sandbox.md, on every backend; the `sandbox` fixture sees to it
that a sandbox works on after every one of them.
"""

from __future__ import annotations

import shlex
import textwrap
import time
from collections.abc import Iterator

import pytest

from harness.sandbox.base import CommandResult
from harness.sandbox.limits import CommandLimits
from harness.sandbox.supervised import SupervisedSandbox
from harness.sandbox.workspace import WorkspaceOverflow

from .conftest import SANDBOX_LIMITS, SANDBOXES, Marker, bubblewrap, factory_named

SHORT = CommandLimits(timeout_s=1.0)  # for what would never end
ENOUGH = CommandLimits(timeout_s=20.0)  # for what ends by itself, on a busy machine too
MIB = 1 << 20


def python(
    sandbox: SupervisedSandbox,
    program: str,
    limits: CommandLimits = CommandLimits(),  # noqa: B008 - frozen
) -> CommandResult:
    """Run a Python program as a command."""
    result = sandbox.run(f"python3 -c {shlex.quote(textwrap.dedent(program))}", limits)
    if result.exit_code == 127:
        pytest.skip("this sandbox has no python3: use a machine or an image that has one")
    return result


@pytest.fixture(params=[*SANDBOXES, "bubblewrap without groups"])
def held(request: pytest.FixtureRequest) -> Iterator[SupervisedSandbox]:
    """Sandboxes as in `sandbox`, and one that no control group holds."""
    alone = request.param == "bubblewrap without groups"
    factory = bubblewrap(use_groups=False) if alone else factory_named(request.param, request)
    with factory.make() as sandbox:
        yield sandbox
        assert sandbox.run("echo alive").stdout == "alive\n"


# --- processes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "{sleep} &",
        "nohup {sleep} & disown",
        "setsid {sleep} &",
        "(setsid setsid {sleep} > /dev/null 2>&1 < /dev/null &)",
        "trap '' TERM HUP INT; {sleep} & {sleep} &",
        "(trap '' TERM; {sleep} &) & exec true",
        "coproc {sleep}",
        "cat < <({sleep}) &",
    ],
)
def test_no_process_outlives_its_command(
    sandbox: SupervisedSandbox, marker: Marker, command: str
) -> None:
    began = time.monotonic()
    result = sandbox.run(f"echo begun; {command.format(sleep=marker.sleep)}")
    assert (result.stdout, result.timed_out) == ("begun\n", False)
    assert marker.pids() == []
    assert time.monotonic() - began < 40  # what it started would go on for longer


def test_no_process_outlives_its_time(sandbox: SupervisedSandbox, marker: Marker) -> None:
    command = f"trap '' TERM; setsid {marker.sleep} & {marker.sleep} & while :; do wait; done"
    assert sandbox.run(command, SHORT).timed_out
    assert marker.pids() == []


def test_nothing_is_written_after_a_command_has_ended(sandbox: SupervisedSandbox) -> None:
    sandbox.run("(setsid bash -c 'while :; do date +%N > beat; done' &); sleep 0.2")
    first = sandbox.snapshot()
    time.sleep(0.2)
    assert sandbox.snapshot() == first


@pytest.mark.parametrize("command", ["kill -STOP $$", "kill -STOP 0"])
def test_a_command_that_stops_itself_is_ended(sandbox: SupervisedSandbox, command: str) -> None:
    assert sandbox.run(command, CommandLimits(timeout_s=0.3)).timed_out


@pytest.mark.parametrize(
    "bomb",
    [
        "bomb() { bomb | bomb & }; bomb; sleep 60",
        "while :; do sleep 60 & done",
        "while :; do setsid setsid sleep 60 & done",
    ],
)
def test_a_fork_bomb_meets_a_limit(held: SupervisedSandbox, bomb: str, marker: Marker) -> None:
    result = held.run(f"{bomb} # {marker.word}", SHORT)
    assert result.timed_out or "fork" in result.stderr
    assert "Resource temporarily unavailable" in result.stderr


def test_children_that_nobody_waits_for_do_no_harm(held: SupervisedSandbox) -> None:
    result = python(
        held,
        """
        import os, time
        made = 0
        try:
            for made in range(10_000):
                if os.fork() == 0:
                    os._exit(0)
        except BlockingIOError:
            pass
        print(made < 1000)
        """,
        ENOUGH,
    )
    assert result.stdout == "True\n"


def test_orphans_that_end_free_their_place(sandbox: SupervisedSandbox) -> None:
    loop = "for i in $(seq 200); do (true &); done; sleep 0.1; (echo last)"
    assert sandbox.run(loop).stdout == "last\n"


def test_threads_count_as_processes(sandbox: SupervisedSandbox) -> None:
    result = python(
        sandbox,
        """
        import threading
        started = 0
        try:
            for started in range(1000):
                threading.Thread(target=threading.Event().wait, daemon=True).start()
        except RuntimeError:
            pass
        print(started, flush=True)
        __import__("os")._exit(0)
        """,
        ENOUGH,
    )
    assert int(result.stdout) <= SANDBOX_LIMITS.processes + 4


@pytest.mark.parametrize(
    "attempt",
    [
        "kill -9 1; kill -STOP 1; kill -INT 1; kill -SEGV 1; kill -CHLD 1",
        "prlimit --pid 1 --nofile=0 --cpu=0 --as=0",
        "renice -n 19 1; ionice -c 3 -p 1; chrt -i -p 0 1; taskset -p 0 1",
        "for fd in /proc/*/fd/*; do printf 'xxxxxxxx{}' > $fd; done",
        "cat /proc/1/mem /proc/1/environ /proc/1/fd/0 > copy",
        "while :; do kill -CHLD 1; done & sleep 0.3",
    ],
)
def test_what_runs_the_commands_is_out_of_their_reach(
    sandbox: SupervisedSandbox, attempt: str
) -> None:
    sandbox.materialise({"seed": b"1"})
    result = sandbox.run(f"({attempt}) > /dev/null 2>&1; rm -f copy; echo done", ENOUGH)
    assert result.exit_code == 0
    assert result.stdout.endswith("done\n")  # its own output it may write to, by any name
    assert sandbox.snapshot() == {"seed": b"1"}


# --- memory and time ------------------------------------------------------------------------------


def test_one_process_cannot_hold_too_much_memory(held: SupervisedSandbox) -> None:
    result = python(held, "a = bytearray(1 << 30); print('held it')", ENOUGH)
    assert result.stdout == ""
    assert result.exit_code in {1, 137}


def test_many_processes_cannot_hold_too_much_memory_together(held: SupervisedSandbox) -> None:
    hog = "import time; a = bytearray(b'x') * (40 << 20); time.sleep(5); print('kept')"
    many = f'for i in 1 2 3 4 5 6 7 8; do python3 -c "{hog}" & done; wait'
    result = held.run(many, CommandLimits(timeout_s=60.0))
    assert result.stdout.count("kept") < 8
    assert not result.timed_out


def test_files_in_memory_have_a_bound(sandbox: SupervisedSandbox) -> None:
    fill = "head -c 300M /dev/zero > {}/fill; stat -c %s {}/fill"
    for place in ("/tmp", "/dev/shm"):
        size = sandbox.run(fill.format(place, place)).stdout.strip() or "0"
        assert int(size) <= 64 * MIB
    assert sandbox.run("df --output=used /tmp /dev/shm | tail -2").stdout.split() == ["0", "0"]


def test_a_command_that_spins_is_ended(sandbox: SupervisedSandbox) -> None:
    result = sandbox.run("while :; do :; done & while :; do :; done", CommandLimits(timeout_s=0.5))
    assert result.timed_out


def test_no_core_is_dumped(sandbox: SupervisedSandbox) -> None:
    sandbox.run("ulimit -c unlimited; kill -SEGV $$")
    python(sandbox, "import ctypes; ctypes.string_at(0)")
    assert sandbox.list() == ()


# --- the disk -------------------------------------------------------------------------------------


def test_the_workspace_has_a_bound(sandbox: SupervisedSandbox) -> None:
    result = sandbox.run("head -c 100M /dev/zero > fill")
    assert result.exit_code != 0
    assert int(sandbox.run("stat -c %s fill").stdout) < 10 * MIB
    with pytest.raises(WorkspaceOverflow):
        sandbox.snapshot()
    sandbox.reset()
    assert sandbox.snapshot() == {}


def test_many_files_that_are_each_allowed_meet_the_bound(sandbox: SupervisedSandbox) -> None:
    result = sandbox.run("for i in $(seq 20); do head -c 1M /dev/zero > fill$i; done")
    assert "No space left" in result.stderr
    sandbox.reset()
    assert sandbox.run("head -c 1M /dev/zero > fits").exit_code == 0


def test_empty_files_meet_a_bound(sandbox: SupervisedSandbox) -> None:
    result = sandbox.run("seq 100000 | xargs touch")
    assert "No space left" in result.stderr
    with pytest.raises(WorkspaceOverflow):
        sandbox.snapshot()
    sandbox.reset()
    assert sandbox.list() == ()


def test_a_sparse_file_of_any_size_does_no_harm(sandbox: SupervisedSandbox) -> None:
    assert sandbox.run("truncate -s 8E huge; truncate -s 1T large").exit_code != 0
    sandbox.run("truncate -s 4500K some")
    with pytest.raises(WorkspaceOverflow):
        sandbox.snapshot()


def test_the_longest_names_come_back(sandbox: SupervisedSandbox) -> None:
    name = "n" * 255
    sandbox.run(f"mkdir {name}; touch {name}/{name}; touch {name}x")
    assert sandbox.list() == (f"{name}/{name}",)


def test_a_path_beyond_what_can_be_named_is_an_overflow_and_can_be_removed(
    sandbox: SupervisedSandbox,
) -> None:
    name = "n" * 250
    sandbox.run(f"for i in $(seq 20); do mkdir {name} && cd {name}; done; echo x > file")
    for read in (sandbox.snapshot, sandbox.list):
        with pytest.raises(WorkspaceOverflow):
            read()
    sandbox.reset()
    assert sandbox.list() == ()


def test_a_deep_directory_comes_back(sandbox: SupervisedSandbox) -> None:
    deep = "d/" * 600
    sandbox.run(f"mkdir -p {deep}; echo x > {deep}f; chmod 0 {deep}")
    assert sandbox.snapshot() == {f"{deep}f": b"x\n"}
    sandbox.reset()
    assert sandbox.list() == ()


def test_any_name_comes_back(sandbox: SupervisedSandbox) -> None:
    sandbox.run(
        r"""touch "$(printf 'a\nb')" "$(printf '\033[2J')" "$(printf '\377\376')" -- -rf '*' '~'"""
    )
    names = {"a\nb", "\x1b[2J", "\udcff\udcfe", "-rf", "*", "~"}
    assert set(sandbox.snapshot()) == names
    again = sandbox.snapshot()
    sandbox.materialise(again)
    assert sandbox.list() == tuple(sorted(names))


def test_modes_hide_nothing_and_keep_nothing(sandbox: SupervisedSandbox) -> None:
    sandbox.run("mkdir -p d/e; echo 1 > d/e/f; echo 2 > g; chmod 0 d/e/f g d/e d; chmod 0 . /tmp")
    assert sandbox.snapshot() == {"d/e/f": b"1\n", "g": b"2\n"}
    sandbox.run("chmod 0 d/e d g")
    sandbox.reset()
    assert sandbox.list() == ()


@pytest.mark.parametrize(
    "special",
    [
        "mkfifo special",
        "ln -s special special",
        "ln -s /dev/zero special",
        "ln -s /proc/self/fd/0 special; ln -s /dev/stdin other",
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"special\")'",
    ],
)
def test_what_is_no_file_blocks_nobody(sandbox: SupervisedSandbox, special: str) -> None:
    began = time.monotonic()
    assert sandbox.run(f"{special}; echo x > file").exit_code == 0
    assert sandbox.snapshot() == {"file": b"x\n"}
    assert sandbox.list() == ("file",)
    sandbox.reset()
    assert sandbox.run("ls -A").stdout == ""
    assert time.monotonic() - began < 40  # opening one of them blocks for ever


def test_a_pipe_that_nobody_writes_to_is_given_up(sandbox: SupervisedSandbox) -> None:
    assert sandbox.run("mkfifo p; cat p", CommandLimits(timeout_s=0.5)).timed_out


# --- output and what is inherited -----------------------------------------------------------------


@pytest.mark.parametrize("command", ["yes", "yes >&2", "cat /dev/zero", "tr '\\0' x < /dev/zero"])
def test_a_flood_of_output_is_cut_and_blocks_nothing(
    sandbox: SupervisedSandbox, command: str
) -> None:
    result = sandbox.run(command, CommandLimits(timeout_s=0.5, output_bytes=1000))
    assert (result.timed_out, result.truncated) == (True, True)
    assert len(result.stdout) + len(result.stderr) == 1000


def test_a_flood_that_ends_is_read_to_its_end(sandbox: SupervisedSandbox) -> None:
    result = sandbox.run("head -c 50M /dev/zero; echo end >&2", CommandLimits(output_bytes=10))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "\0" * 10, "end\n")


def test_terminal_escapes_are_text(sandbox: SupervisedSandbox) -> None:
    result = sandbox.run(r"printf '\033]0;title\007\033[2J\r'; echo x > /dev/tty")
    assert result.stdout == "\x1b]0;title\x07\x1b[2J\r"
    assert result.exit_code != 0


def test_nothing_can_be_typed_into_a_terminal(sandbox: SupervisedSandbox) -> None:
    program = "import fcntl; [fcntl.ioctl(fd, 0x5412, b'x') for fd in (0, 1, 2)]"
    assert python(sandbox, program).exit_code != 0


def test_a_command_inherits_three_descriptors(sandbox: SupervisedSandbox) -> None:
    listing = python(sandbox, "import os; print(sorted(os.listdir('/proc/self/fd')))").stdout
    assert listing == "['0', '1', '2', '3']\n"  # the fourth is the listing's own


def test_start_up_files_in_the_workspace_are_not_run(sandbox: SupervisedSandbox) -> None:
    names = (".bashrc", ".profile", ".bash_profile", ".bash_env", ".env", "sitecustomize.py")
    sandbox.materialise(dict.fromkeys(names, b"echo taken\n"))
    assert sandbox.run("echo mine").stdout == "mine\n"


def test_a_program_of_a_known_name_is_not_taken_from_the_workspace(
    sandbox: SupervisedSandbox,
) -> None:
    sandbox.run(
        "for name in bash ls find chmod env; do printf '#!/bin/sh\\necho taken' > $name; done"
    )
    sandbox.run("chmod +x *")
    assert "taken" not in sandbox.run("ls; env").stdout
    sandbox.reset()
    assert sandbox.list() == ()


def test_shared_memory_and_queues_do_not_outlive_a_command(sandbox: SupervisedSandbox) -> None:
    sandbox.run("ipcmk -M 4096; ipcmk -Q; ipcmk -S 1; touch /dev/mqueue/left")
    assert "0x" not in sandbox.run("ipcs").stdout
    assert sandbox.run("ls -A /dev/mqueue 2> /dev/null").stdout == ""
