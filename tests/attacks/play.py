"""Plays an attack against a sandbox, and says what it came to: escapes, stalls, what was left.

An escape: the attack says that it has got what it may not have, or what a folder of this machine
holds is seen, or that folder is changed, or a process of the attack outlives its command. A stall:
a command takes longer than its limit, or reading back or resetting longer than `FILES_S`, or the
sandbox is lost. What is left: anything that can be listed of a sandbox that was reset and is not so
in one that nobody has used: files, modes, owners, attributes, flags, times, processes, limits.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.records import record
from harness.sandbox.base import Sandbox, SandboxUnavailable
from harness.sandbox.in_memory import MemorySandbox
from harness.sandbox.limits import CommandLimits
from harness.sandbox.workspace import WorkspaceOverflow
from tests.attacks.commands import Attack

SEED = {"notes/a.txt": b"one\n", "b.txt": b"two\n", "empty/": b""}
AFTER_S = 10.0  # beyond a command's own limit, on a busy machine
FILES_S = 60.0  # listing, reading back, resetting: what `supervised` waits for at most

# prints all that can be listed, a line each; Python, as not every image has getfattr and lsattr
_LISTING = r"""
import array, fcntl, os, resource, stat, sys
began = float(sys.argv[1])
def facts(path):
    found = os.lstat(path)
    kind = found.st_mode
    attributes = []
    if not stat.S_ISLNK(kind):
        for name in os.listxattr(path):
            attributes.append((name, os.getxattr(path, name)))
    flags = array.array("L", [0])
    if stat.S_ISDIR(kind) or stat.S_ISREG(kind):
        try:
            file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                fcntl.ioctl(file, 0x80086601, flags)
            finally:
                os.close(file)
        except OSError as error:
            flags[0] = error.errno
    size = found.st_size if stat.S_ISREG(kind) else 0
    # a time from before the reset is the work of whoever used the sandbox before
    old = [each < began - 1 for each in (found.st_mtime, found.st_atime, found.st_ctime)]
    print(path.encode(errors="surrogateescape"), oct(kind), found.st_uid, found.st_gid, size,
          attributes, flags[0], old if path.startswith("/workspace") else "")
for root in ("/workspace", "/tmp", "/dev/shm", "/dev/mqueue"):
    if os.path.isdir(root):
        facts(root)
        for folder, folders, files in os.walk(root):
            for name in sorted(folders + files):
                facts(os.path.join(folder, name))
        disk = os.statvfs(root)
        print(root, disk.f_blocks - disk.f_bfree, disk.f_files - disk.f_ffree)
print(sorted(os.environ.items()), os.getcwd(), oct(os.umask(0)))
for name in sorted(dir(resource)):
    if name.startswith("RLIMIT_"):
        print(name, resource.getrlimit(getattr(resource, name)))
print("processes", len([name for name in os.listdir("/proc") if name.isdigit()]))
for name in ("Uid", "Gid", "CapEff", "NoNewPrivs", "Seccomp", "SigBlk", "SigIgn"):
    print([line for line in open("/proc/self/status") if line.startswith(name)])
for name in ("unix", "tcp", "tcp6", "udp", "raw"):
    lines = open("/proc/net/" + name).read().splitlines()
    print(name, len([line for line in lines[1:] if "note" in line or "10E1" in line]))
print(open("/proc/sysvipc/shm").read(), open("/proc/sysvipc/sem").read())
"""
_LONG = CommandLimits(timeout_s=30.0)


@record
class Outcome:
    """What an attack came to: each tuple is empty where the sandbox held."""

    escapes: tuple[str, ...] = ()
    stalls: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def held(self) -> bool:
        """Whether nothing of it succeeded."""
        return not (self.escapes or self.stalls or self.left)


@record
class Machine:
    """What of this machine an attack must not reach: files with a secret."""

    folder: Path
    secret: str

    @property
    def facts(self) -> tuple[object, ...]:
        """All that an attack could change."""
        files = sorted(self.folder.rglob("*"))
        return tuple(
            (str(each), each.lstat().st_mode, each.lstat().st_mtime_ns, each.lstat().st_nlink)
            for each in (self.folder, *files)
        )


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """Lay out what must not be reached; root also gets a folder of the name that sandboxes use."""
    # the same for tests at work side by side, as the namesake is
    secret = hashlib.sha256(f"{__file__} {os.getuid()}".encode()).hexdigest()
    folder.chmod(0o755)
    (folder / "secret").write_text(secret)
    os.environ["HARNESS_ATTACK_TOKEN"] = secret
    namesake, is_new = Path("/workspace"), not Path("/workspace").exists()
    file = namesake / "harness-attack-secret"
    if os.geteuid() == 0:
        namesake.mkdir(exist_ok=True)
        file.write_text(secret)
        file.chmod(0o600)
    try:
        yield Machine(folder=folder, secret=secret)
    finally:
        del os.environ["HARNESS_ATTACK_TOKEN"]
        if os.geteuid() == 0:
            file.unlink(missing_ok=True)
            if is_new:
                with suppress(OSError):  # somebody else uses it
                    namesake.rmdir()


def listing(sandbox: Sandbox, began: float) -> tuple[str, ...]:
    """Return all that can be listed of a sandbox, a line each."""
    if isinstance(sandbox, MemorySandbox):
        return tuple(map(repr, sandbox.snapshot().items()))
    result = sandbox.run(f"python3 -c {shlex.quote(_LISTING)} {began}", _LONG)
    assert result.exit_code == 0, result.stderr
    return tuple(result.stdout.splitlines())


def unused(make: Callable[[], Sandbox]) -> tuple[str, ...]:
    """Return all that can be listed of a sandbox that nobody has used."""
    with make() as sandbox:
        began = time.time()
        sandbox.materialise(SEED)
        return listing(sandbox, began)


def play(attack: Attack, sandbox: Sandbox, target: Machine, before: tuple[str, ...]) -> Outcome:
    """Play an attack in a sandbox that is open, and was reset by whoever used it.

    Args:
        attack: the attack.
        sandbox: an open sandbox, of whose use nothing is left.
        target: what must not be reached.
        before: what is listed of a sandbox of the same kind that nobody has used.
    """
    played = _Played(target)
    try:
        sandbox.materialise(SEED)
        for command in attack.commands:
            played.command(sandbox, command, attack.timeout_s)
        played.reading("list", sandbox.list)
        played.reading("snapshot", sandbox.snapshot)
        began = time.time()
        played.reading("reset", sandbox.reset)
        after = listing(sandbox, began)
    except SandboxUnavailable as error:
        played.stalls.append(f"the sandbox is lost: {error}")
        return played.outcome
    played.left += [f"was: {line}" for line in before if line not in after]
    played.left += [f"is: {line}" for line in after if line not in before]
    return played.outcome


class _Played:
    """What is found while an attack is played."""

    def __init__(self, target: Machine) -> None:
        self._target = target
        self._facts = target.facts
        self._word = f"3600.{secrets.randbelow(10**12):012}"
        self.escapes: list[str] = []
        self.stalls: list[str] = []
        self.left: list[str] = []

    @property
    def outcome(self) -> Outcome:
        if self._target.facts != self._facts:
            self.escapes.append("files of the machine are changed")
        return Outcome(
            escapes=tuple(self.escapes), stalls=tuple(self.stalls), left=tuple(self.left)
        )

    def command(self, sandbox: Sandbox, command: str, timeout_s: float) -> None:
        """Give one command, and look at what it did."""
        text = command.replace("{sleep}", f"sleep {self._word}")
        text = text.replace("{canary}", str(self._target.folder))
        began = time.monotonic()
        result = sandbox.run(text, CommandLimits(timeout_s=timeout_s))
        if (took := time.monotonic() - began) > timeout_s + AFTER_S:
            self.stalls.append(f"a command took {took:.1f} s, limit {timeout_s:g}")
        seen = result.stdout + result.stderr
        if self._target.secret in seen:
            self.escapes.append("a command saw the secret")
        if "ESCAPED" in result.stdout:
            self.escapes.append(result.stdout[:200])
        if alive := [each.name for each in Path("/proc").iterdir() if self._is_left(each.name)]:
            self.escapes.append(f"processes outlive their command: {alive}")

    def reading(self, what: str, read: Callable[[], object]) -> None:
        """Read back or reset, and look at what that shows."""
        began = time.monotonic()
        try:
            shown = repr(read())
        except WorkspaceOverflow:
            shown = ""
        if (took := time.monotonic() - began) > FILES_S:
            self.stalls.append(f"{what} took {took:.1f} s")
        if self._target.secret in shown:
            self.escapes.append(f"{what} shows the secret")

    def _is_left(self, pid: str) -> bool:
        try:
            return (
                pid.isdigit() and self._word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
            )
        except OSError:  # it has just ended
            return False
