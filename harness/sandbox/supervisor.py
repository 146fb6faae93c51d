"""The supervisor: process 1 of a sandbox. It serves requests and ends all that a command started.

When it ends, however it ends, the kernel ends the rest of the sandbox. It ends when its standard
input closes, whose other end the harness holds. Its source, with that of the few modules it needs,
comes over that input too (`channel`): the sandbox may be a container with Python and no harness.
"""

from __future__ import annotations

import ctypes
import os
import signal
import stat
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
from harness.sandbox.config import WORKSPACE, Disk, SupervisorConfig
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
_WORLD_WRITABLE = 0o1777  # as /tmp
_NO_SETUID_NO_DEVICES = 2 | 4  # linux/mount.h
_DETACH = 2  # umount2(2): at once; the kernel frees it when nothing uses it any more
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OWNERS = 0o700

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (*[ctypes.c_char_p] * 3, ctypes.c_ulong, ctypes.c_char_p)


class _BrokenError(Exception):
    """The sandbox cannot do what it was asked, and can be used no more."""


def main() -> None:
    """Serve until the harness is gone."""
    assert os.getpid() == 1, "everything else would be ended"
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
        self._untouched: dict[str, int] = {}  # when each disk was new: nobody can set that time
        for disk in config.disks:
            self._mount(disk)
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
                self._renew(f"{self._config.root}{WORKSPACE}")
                with self._chrooted(), _as_user(self._config.user):
                    write_tree(self._root, split_files(request.sizes or {}, blob))
                return SandboxResponse(), b""
            case SandboxOp.RUN:
                try:
                    result = self._commands.run(request.command, request.limits)
                finally:
                    if self._config.disks:  # its owner may have shut itself out
                        Path(f"{self._config.root}{WORKSPACE}").chmod(_WORLD_WRITABLE)
                    for folder in self._config.scratch:
                        self._renew(folder)
                return SandboxResponse(result=result), b""
            case SandboxOp.LIST:
                with self._chrooted(), _readable(self._root):
                    return SandboxResponse(
                        paths=list_tree(self._root, max_paths=request.max_paths)
                    ), b""
            case SandboxOp.SNAPSHOT:
                with self._chrooted(), _readable(self._root):
                    found = read_tree(
                        self._root, max_bytes=request.max_bytes, max_paths=request.max_paths
                    )
                sizes, content = join_files(found)
                return SandboxResponse(sizes=sizes), content

    def _renew(self, folder: str) -> None:
        """Make a directory as new: its file system, where that is ours; else what it holds.

        Raises:
            _BrokenError: something is left.
        """
        disk = next((each for each in self._config.disks if each.path == folder), None)
        if disk is None:
            _empty(Path(folder))
        elif Path(folder).stat().st_ctime_ns != self._untouched[folder]:
            check_call(_libc.umount2(folder.encode(), _DETACH), "umount2")
            self._mount(disk)

    def _mount(self, disk: Disk) -> None:
        Path(disk.path).mkdir(parents=True, exist_ok=True)
        options = f"size={disk.size_bytes},nr_inodes={disk.inodes},mode={_WORLD_WRITABLE:o}"
        names = (b"tmpfs", disk.path.encode(), b"tmpfs")
        check_call(_libc.mount(*names, _NO_SETUID_NO_DEVICES, options.encode()), "mount")
        self._untouched[disk.path] = Path(disk.path).stat().st_ctime_ns

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
    """Make everything below `root` readable, whatever modes the model gave it.

    Raises:
        WorkspaceOverflow: the kernel cannot read it all the same.
    """
    try:
        if os.geteuid() != 0:
            for folder, name, facts, is_left in _walk(root):
                if not is_left:
                    _make_accessible(folder, name, facts)
        yield
    except OSError as error:
        message = f"the workspace cannot be read: {error.strerror}"
        raise WorkspaceOverflow(message) from None


def _empty(root: Path) -> None:
    """Remove everything below a directory, however deep and whatever the modes.

    Raises:
        _BrokenError: something is left.
    """
    try:
        for folder, name, facts, is_left in _walk(root):
            if is_left:
                os.rmdir(name, dir_fd=folder)
            elif stat.S_ISDIR(facts.st_mode):
                _make_accessible(folder, name, facts)
            else:
                os.unlink(name, dir_fd=folder)
    except OSError as error:
        message = f"{root} cannot be emptied: {error.strerror}"
        raise _BrokenError(message) from error


def _make_accessible(folder: int, name: str, facts: os.stat_result) -> None:
    """Give its owner all rights to a file or a directory; a link is neither, and has no modes."""
    mode = facts.st_mode
    if (stat.S_ISDIR(mode) or stat.S_ISREG(mode)) and mode & _OWNERS != _OWNERS:
        os.chmod(name, stat.S_IMODE(mode) | _OWNERS, dir_fd=folder)


def _walk(root: Path) -> Iterator[tuple[int, str, os.stat_result, bool]]:
    """Yield everything below a directory; a directory twice, before and after what it holds.

    Each comes as the descriptor of the directory that holds it, its name there, and whether it is
    left. Links are not followed. Nothing else may be at work, and one descriptor is open at a time:
    a tree may be deeper than any path is long.
    """
    here = os.open(root, _DIRECTORY)
    above: list[tuple[str, os.stat_result]] = []
    names = [_names_in(here)]
    try:
        while True:
            name = next(names[-1], None)
            if name is not None:
                facts = os.stat(name, dir_fd=here, follow_symlinks=False)
                yield here, name, facts, False
                if stat.S_ISDIR(facts.st_mode):
                    here = _changed(here, name)
                    above.append((name, facts))
                    names.append(_names_in(here))
            elif above:
                names.pop()
                here = _changed(here, "..")
                yield here, *above.pop(), True
            else:
                return
    finally:
        os.close(here)


def _changed(here: int, name: str) -> int:
    """Open a directory beside another one, and close that."""
    there = os.open(name, _DIRECTORY, dir_fd=here)
    os.close(here)
    return there


def _names_in(folder: int) -> Iterator[str]:
    with os.scandir(folder) as entries:
        return iter([entry.name for entry in entries])
