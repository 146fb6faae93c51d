"""The supervisor: process 1 of a sandbox. It serves requests and ends all that a command started.

When it ends, however it ends, the kernel ends the rest of the sandbox. It ends when its standard
input closes, whose other end the harness holds. Its source, with that of the few modules it needs,
comes over that input too (`channel`): the sandbox may be a container with Python and no harness.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import InputError
from harness.records import from_json
from harness.sandbox.commands import (
    Commands,
    NoShellError,
    check_call,
    hide_this_process,
)
from harness.sandbox.config import WORKSPACE, SupervisorConfig
from harness.sandbox.protocol import (
    SandboxOp,
    SandboxRequest,
    SandboxResponse,
    encode,
    join_files,
    read_message,
    split_files,
)
from harness.sandbox.workspace import (
    WorkspaceOverflow,
    list_tree,
    read_tree,
    write_tree,
)

_ANY_BLOB = 1 << 32
_FRAMES = 10_000  # a path has at most 2048 parts, and walking each takes a few frames
_WORLD_WRITABLE = 0o1777  # as /tmp
_NO_SETUID_NO_DEVICES, _BIND = 2 | 4, 4096  # linux/mount.h

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (*[ctypes.c_char_p] * 3, ctypes.c_ulong, ctypes.c_char_p)


class _BrokenError(Exception):
    """The sandbox cannot do what it was asked, for no fault of the command."""


def main() -> None:
    """Serve until the harness is gone."""
    assert os.getpid() == 1, "everything else would be ended"
    sys.setrecursionlimit(_FRAMES)
    os.umask(0o022)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the only one Python would let through to it
    hide_this_process()
    supervisor = _Supervisor(from_json(SupervisorConfig, read_message(_read, 0)[0]))
    while True:
        header, blob = read_message(_read, _ANY_BLOB)
        for part in encode(*supervisor.respond(from_json(SandboxRequest, header), blob)):
            left = memoryview(part)
            while left:
                left = left[os.write(1, left) :]


def _read(size: int) -> bytes:
    content = bytearray()
    while len(content) < size:
        chunk = os.read(0, min(size - len(content), 1 << 20))
        if not chunk:
            raise SystemExit  # the harness is gone
        content += chunk
    return bytes(content)


class _Supervisor:
    """Executes the requests of one sandbox."""

    def __init__(self, config: SupervisorConfig) -> None:
        self._config = config
        self._root = Path(WORKSPACE)
        for disk in config.disks:
            options = f"size={disk.size_bytes},nr_inodes={disk.inodes},mode={_WORLD_WRITABLE:o}"
            _mount("tmpfs", disk.path, "tmpfs", _NO_SETUID_NO_DEVICES, options)
        if config.root:
            _mount("/proc", f"{config.root}/proc", "", _BIND, "")
        for path, text in config.files.items():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(text, encoding="utf-8")
        self._commands = Commands(config)

    def respond(self, request: SandboxRequest, blob: bytes) -> tuple[SandboxResponse, bytes]:
        """Execute a request and return the response with the bytes behind it."""
        try:
            return self._execute(request, blob)
        except WorkspaceOverflow as error:
            return SandboxResponse(overflow=str(error)), b""
        except (_BrokenError, NoShellError, InputError, OSError) as error:
            return SandboxResponse(error=str(error)), b""

    def _execute(self, request: SandboxRequest, blob: bytes) -> tuple[SandboxResponse, bytes]:
        match request.op:
            case SandboxOp.MATERIALISE:
                _empty(Path(f"{self._config.root}{WORKSPACE}"))
                with self._chrooted(), _as_user(self._config.user):
                    write_tree(self._root, split_files(request.sizes or {}, blob))
                return SandboxResponse(), b""
            case SandboxOp.RUN:
                try:
                    result = self._commands.run(request.command, request.limits)
                finally:
                    for disk in self._config.disks:  # its owner may have shut itself out
                        Path(disk.path).chmod(_WORLD_WRITABLE)
                    for folder in self._config.scratch:
                        _empty(Path(folder))
                return SandboxResponse(result=result), b""
            case SandboxOp.LIST:
                with self._chrooted(), _readable(self._root):
                    return SandboxResponse(paths=list_tree(self._root)), b""
            case SandboxOp.SNAPSHOT:
                with self._chrooted(), _readable(self._root):
                    found = read_tree(
                        self._root, max_bytes=request.max_bytes, max_paths=request.max_paths
                    )
                sizes, content = join_files(found)
                return SandboxResponse(sizes=sizes), content

    @contextmanager
    def _chrooted(self) -> Iterator[None]:
        """Change root to where a command sees the disks, and nothing else of the machine."""
        if not self._config.root:
            yield
            return
        real_root = os.open("/", os.O_PATH)
        os.chroot(self._config.root)
        try:
            yield
        finally:
            os.fchdir(real_root)
            os.chroot(".")
            os.close(real_root)


def _mount(source: str, path: str, kind: str, flags: int, options: str) -> None:
    Path(path).mkdir(parents=True, exist_ok=True)
    names = (text.encode() for text in (source, path, kind))
    check_call(_libc.mount(*names, flags, options.encode()), "mount")


@contextmanager
def _as_user(user: int | None) -> Iterator[None]:
    """Create files as a command's user."""
    if user is None:
        yield
        return
    os.setegid(user)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@contextmanager
def _readable(root: Path) -> Iterator[None]:
    """Make everything below `root` readable, whatever modes the model gave it."""
    if os.geteuid() != 0:
        _make_accessible(root)
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        message = "the workspace holds a path longer than the system can name"
        raise WorkspaceOverflow(message) from None


def _empty(folder: Path) -> None:
    """Remove everything below a directory, however deep and whatever the modes.

    Raises:
        _BrokenError: something is left.
    """
    for prepare in (None, _make_accessible):
        if not any(folder.iterdir()):
            return
        if prepare is not None:
            prepare(folder)
        _spawn("find", str(folder), "-mindepth", "1", "-delete")
    if left := [*folder.iterdir()]:
        message = f"{str(left[0])!r} cannot be removed"
        raise _BrokenError(message)


def _make_accessible(folder: Path) -> None:
    modes = ("-exec", "chmod", "-R", "u+rwX", "--", "{}", "+")
    _spawn("find", str(folder), "-mindepth", "1", "-maxdepth", "1", *modes)


def _spawn(*argv: str) -> None:
    """Run a program of the machine to its end; its output is dropped."""
    silent = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in (0, 1, 2)]
    pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=silent)
    os.waitpid(pid, 0)
