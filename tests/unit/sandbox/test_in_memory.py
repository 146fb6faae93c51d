from __future__ import annotations

import pytest

from harness.errors import InputError
from harness.sandbox.base import Sandbox
from harness.sandbox.in_memory import MemorySandbox
from harness.sandbox.limits import MAX_LISTING_BYTES, CommandLimits, SandboxLimits

SEED = {"a.txt": b"one two one\n", "d/b.txt": b"b\n"}


def after(*commands: str) -> dict[str, bytes]:
    with MemorySandbox() as box:
        box.materialise(SEED)
        assert [box.run(command).exit_code for command in commands] == [0] * len(commands)
        return dict(box.snapshot())


def test_it_keeps_the_protocol() -> None:
    box: Sandbox = MemorySandbox()
    with box:
        box.materialise(SEED)
        box.run("rm a.txt")
        assert box.list() == ("d/b.txt",)
        box.reset()
        assert box.snapshot() == SEED
    assert box.list() == ()


@pytest.mark.parametrize(
    ("commands", "end"),
    [
        (("mkdir -p x/y",), {**SEED, "x/y/": b""}),
        (("mkdir -p d",), SEED),
        (("mkdir -p x", "mv a.txt x"), {"d/b.txt": b"b\n", "x/a.txt": SEED["a.txt"]}),
        (
            ("mkdir -p x", "mv a.txt d/b.txt x/"),
            {"d/": b"", "x/a.txt": SEED["a.txt"], "x/b.txt": b"b\n"},
        ),
        (("cp a.txt d/c.txt",), {**SEED, "d/c.txt": SEED["a.txt"]}),
        (("rm d/b.txt",), {"a.txt": SEED["a.txt"], "d/": b""}),
        (("echo 'x  y' > n", "echo z >> n"), {**SEED, "n": b"x  y\nz\n"}),
        (("sed -i 's/one/1/g' a.txt",), {**SEED, "a.txt": b"1 two 1\n"}),
    ],
)
def test_a_command_does_what_a_shell_does(commands: tuple[str, ...], end: dict[str, bytes]) -> None:
    assert after(*commands) == end


@pytest.mark.parametrize(
    "command",
    [
        *("mv x y", "rm d", "mv a.txt x/", "cp a.txt x/y", "echo x > x/y", "mkdir x", "cat x"),
        *("sed -n p a.txt", "echo 'x", "mv a.txt", "mkdir -p a.txt"),
    ],
)
def test_what_cannot_be_done_fails_and_changes_nothing(command: str) -> None:
    with MemorySandbox() as box:
        box.materialise(SEED)
        result = box.run(command)
        assert (result.exit_code, bool(result.stderr)) == (1, True)
        assert box.snapshot() == SEED


@pytest.mark.parametrize("command", ["", "wc a", "curl x"])
def test_what_it_does_not_know_is_not_found(command: str) -> None:
    assert MemorySandbox().run(command).exit_code == 127


def test_output_is_cut_where_the_limits_say() -> None:
    result = MemorySandbox().run("echo 12345", CommandLimits(output_bytes=3))
    assert (result.stdout, result.truncated) == ("123", True)


def test_a_workspace_that_cannot_be_is_refused() -> None:
    box = MemorySandbox()
    box.materialise(SEED)
    with pytest.raises(InputError):
        box.materialise({"../x": b""})
    assert box.snapshot() == SEED


def test_it_lists_as_a_shell_does() -> None:
    box = MemorySandbox()
    box.materialise({"a/b.txt": b"", "a/.c": b"", "d/": b"", "e": b""})
    assert box.run("ls").stdout == "a\nd\ne\n"
    assert box.run("ls a").stdout == "b.txt\n"
    assert box.run("ls d/").stdout == ""
    assert box.run("ls e").stdout == "e\n"
    assert box.run("ls nowhere").exit_code == 1


SMALL = SandboxLimits(workspace_bytes=1000, workspace_paths=5)


@pytest.mark.parametrize(
    "commands",
    [
        ["sed -i s/x/xxxxxxxxxx/g a"] * 4,
        ["echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx >> a"] * 50,
        [f"cp a copy{number}" for number in range(20)],
        ["mkdir -p " + " ".join(f"d{number}" for number in range(20))],
    ],
)
def test_no_command_makes_the_workspace_larger_than_its_limits(commands: list[str]) -> None:
    with MemorySandbox(SMALL) as box:
        box.materialise({"a": b"x" * 100})
        results = [box.run(command) for command in commands]
        assert "no space left" in results[-1].stderr
        held = box.snapshot()
        assert sum(map(len, held.values())) <= SMALL.workspace_bytes
        assert len(held) <= SMALL.workspace_paths
        assert sum(map(len, held)) <= MAX_LISTING_BYTES
        box.reset()
        assert box.snapshot() == {"a": b"x" * 100}


def test_paths_have_a_length_alone_and_together() -> None:
    with MemorySandbox(SandboxLimits(workspace_paths=1000)) as box:
        box.materialise(SEED)
        assert box.run(f"mv a.txt {'c' * 5000}").stderr == "file name too long\n"
        assert box.snapshot() == SEED  # a move that does not fit loses nothing
        results = [box.run(f"cp a.txt {'n' * 3900}{number}") for number in range(300)]
        assert "no space left" in results[-1].stderr
        assert sum(map(len, box.list())) <= MAX_LISTING_BYTES


def test_a_workspace_beyond_the_limits_is_refused() -> None:
    with MemorySandbox(SMALL) as box, pytest.raises(InputError, match="too large"):
        box.materialise({"a": b"x" * 1001})


def test_what_a_command_prints_is_bounded() -> None:
    with MemorySandbox() as box:
        box.materialise({"a": "\u00e4".encode() * 1_000_000})
        result = box.run("cat" + " a" * 900, CommandLimits(output_bytes=10))
        assert (result.stdout, result.truncated) == ("\u00e4" * 10, True)


@pytest.mark.parametrize("command", ["rm " + "a " * 2000, "echo " + "x" * 200_000])
def test_a_command_with_too_many_words_is_refused(command: str) -> None:
    with MemorySandbox() as box:
        box.materialise(SEED)
        assert box.run(command).exit_code == 126
        assert box.snapshot() == SEED
