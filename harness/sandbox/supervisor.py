"""The first process of a box: does what the harness asks, and ends all that a command started.

When it ends, however it ends, the kernel ends the rest of the box; and it ends when its standard
input does, which the harness holds. Its source, with that of the few modules it needs, comes over
that input too (`link`): the box may be a container that has Python and nothing of the harness.
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
from harness.sandbox.mounts import WORKSPACE, Place
from harness.sandbox.protocol import (
    Answer,
    Deed,
    Request,
    joined,
    packed,
    parted,
    received,
)
from harness.sandbox.workspace import (
    WorkspaceOverflow,
    list_tree,
    read_tree,
    write_tree,
)

_ANY_BLOB = 1 << 32
_FRAMES = 10_000  # a path has at most 2048 parts, and walking each takes a few frames
_ANYBODY = 0o1777  # as /tmp
_NO_SETUID_NO_DEVICES, _BIND = 2 | 4, 4096  # linux/mount.h

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (*[ctypes.c_char_p] * 3, ctypes.c_ulong, ctypes.c_char_p)


class _BrokenError(Exception):
    """The box cannot do what it was asked, for no fault of the command."""


def main() -> None:
    """Serve until the harness is gone."""
    assert os.getpid() == 1, "everything else would be ended"
    sys.setrecursionlimit(_FRAMES)
    os.umask(0o022)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the only one Python would let through to it
    hide_this_process()
    keeper = _Keeper(from_json(Place, received(_read, 0)[0]))
    while True:
        header, blob = received(_read, _ANY_BLOB)
        for part in packed(*keeper.answer(from_json(Request, header), blob)):
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


class _Keeper:
    """Does what a box is asked to."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._root = Path(WORKSPACE)
        for disk in place.disks:
            options = f"size={disk.size_bytes},nr_inodes={disk.inodes},mode={_ANYBODY:o}"
            _mount("tmpfs", disk.path, "tmpfs", _NO_SETUID_NO_DEVICES, options)
        if place.base:
            _mount("/proc", f"{place.base}/proc", "", _BIND, "")
        for path, text in place.files.items():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(text, encoding="utf-8")
        self._commands = Commands(place)

    def answer(self, request: Request, blob: bytes) -> tuple[Answer, bytes]:
        """Do what is asked, and say what came of it."""
        try:
            return self._done(request, blob)
        except WorkspaceOverflow as error:
            return Answer(overflow=str(error)), b""
        except (_BrokenError, NoShellError, InputError, OSError) as error:
            return Answer(broken=str(error)), b""

    def _done(self, request: Request, blob: bytes) -> tuple[Answer, bytes]:
        match request.deed:
            case Deed.MATERIALISE:
                _empty(Path(f"{self._place.base}{WORKSPACE}"))
                with self._inside(), _as_user(self._place.user):
                    write_tree(self._root, parted(request.sizes or {}, blob))
                return Answer(), b""
            case Deed.RUN:
                try:
                    result = self._commands.run(request.command, request.limits)
                finally:
                    for disk in self._place.disks:  # a command that owns one can shut itself out
                        Path(disk.path).chmod(_ANYBODY)
                    for folder in self._place.scratch:
                        _empty(Path(folder))
                return Answer(result=result), b""
            case Deed.LIST:
                with self._inside(), _readable(self._root):
                    return Answer(paths=list_tree(self._root)), b""
            case Deed.SNAPSHOT:
                with self._inside(), _readable(self._root):
                    found = read_tree(
                        self._root, max_bytes=request.max_bytes, max_paths=request.max_paths
                    )
                sizes, content = joined(found)
                return Answer(sizes=sizes), content

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """See the disks where a command sees them, and nothing of the machine."""
        if not self._place.base:
            yield
            return
        outside = os.open("/", os.O_PATH)
        os.chroot(self._place.base)
        try:
            yield
        finally:
            os.fchdir(outside)
            os.chroot(".")
            os.close(outside)


def _mount(source: str, path: str, kind: str, flags: int, options: str) -> None:
    Path(path).mkdir(parents=True, exist_ok=True)
    names = (text.encode() for text in (source, path, kind))
    check_call(_libc.mount(*names, flags, options.encode()), "mount")


@contextmanager
def _as_user(user: int | None) -> Iterator[None]:
    """Make what is made here belong to a command's user."""
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
    """Let everything below `root` be read, whatever modes an agent gave it."""
    if os.geteuid() != 0:
        _open_up(root)
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        message = "the workspace holds a path longer than the system can name"
        raise WorkspaceOverflow(message) from None


def _empty(folder: Path) -> None:
    """Remove everything below a directory, however deep and whatever its modes.

    Raises:
        _BrokenError: something is left.
    """
    for prepare in (None, _open_up):
        if not any(folder.iterdir()):
            return
        if prepare is not None:
            prepare(folder)
        _spawn("find", str(folder), "-mindepth", "1", "-delete")
    if left := [*folder.iterdir()]:
        message = f"{str(left[0])!r} cannot be removed"
        raise _BrokenError(message)


def _open_up(folder: Path) -> None:
    modes = ("-exec", "chmod", "-R", "u+rwX", "--", "{}", "+")
    _spawn("find", str(folder), "-mindepth", "1", "-maxdepth", "1", *modes)


def _spawn(*argv: str) -> None:
    """Run a program of the machine's to its end; what it says is dropped."""
    silent = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in (0, 1, 2)]
    pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=silent)
    os.waitpid(pid, 0)
