"""A workspace as a value, each path with its bytes, and how it is written to and read from disk.

Paths are relative, with ``/``. A directory that holds nothing is a path that ends in ``/``, with no
bytes; any other directory is known by what lies below it. A workspace's sorted paths are therefore
the listing that an agent is shown (article 32, section "The sandbox").

A link to a regular file inside the workspace reads as that file. Any other link (out of the
workspace, to a directory, to nothing), and whatever is neither file, directory nor link, is left
out: nothing outside is ever read, and no pipe is ever waited for. Links are followed beneath the
workspace by the kernel (openat2(2), RESOLVE_BENEATH and RESOLVE_NO_MAGICLINKS) or, where it cannot,
part by part.

Reading is bounded in bytes, in paths, in the length of the paths and in processor time: whatever an
agent has left, it is read back or it is a `WorkspaceOverflow`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Self

from harness.errors import HarnessError, InputError, Problem
from harness.sandbox.limits import (
    MAX_LISTING_BYTES,
    MAX_NAME_BYTES,
    MAX_PATH_BYTES,
    MAX_WORKSPACE_BYTES,
    MAX_WORKSPACE_PATHS,
    READING_S,
    SandboxLimits,
)

_OPENAT2 = 437  # the number of the call, on every machine
_BENEATH, _NO_MAGICLINKS = 0x08, 0x02  # linux/openat2.h
# a pipe is not waited for, and no terminal becomes this process's
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MAX_LINKS = 40  # that the kernel follows on one way, and we too
_MAX_PARTS = 100_000  # of one way, all its links resolved; 40 links of 4095 bytes have fewer
_TRIES = 16
_CHUNK_BYTES = 1 << 20

Workspace = Mapping[str, bytes]


class WorkspaceOverflow(HarnessError):  # noqa: N818 - a state, not a mistake
    """A model left more in its workspace than is read back; its rollout failed with this cause."""


def path_problem(path: str) -> str:
    """Return why `path` cannot name a file of a workspace; empty when it can."""
    parts = path.removesuffix("/").split("/")
    if not path or "\0" in path:
        return "path is empty or holds a NUL"
    if path.startswith("/"):
        return "path is absolute"
    if any(part in {"", ".", ".."} for part in parts):
        return "path is not in its shortest form, or leaves the workspace"
    try:
        names = [len(os.fsencode(part)) for part in parts]
    except UnicodeEncodeError:
        return "path is not text"
    if max(names) > MAX_NAME_BYTES or sum(names) + len(names) > MAX_PATH_BYTES:
        return f"path has more than {MAX_PATH_BYTES} bytes, or {MAX_NAME_BYTES} in one name"
    return ""


def workspace_problems(workspace: Workspace) -> Iterator[Problem]:
    """Yield every reason why `workspace` cannot be laid out as files, and read back."""
    if (size := sum(len(os.fsencode(path)) for path in workspace if not path_problem(path))) > (
        MAX_LISTING_BYTES
    ):
        allowed = f"{MAX_LISTING_BYTES} bytes of paths"
        yield Problem(message="the paths are too long together", value=f"{size}", allowed=allowed)
    for path, content in workspace.items():
        if message := path_problem(path):
            yield Problem(message=message, key=path or "''")
        elif path.endswith("/") and content:
            yield Problem(message="a directory holds bytes", key=path)
        for above in _above(path):
            if above in workspace:
                is_empty = above.endswith("/")
                message = "lies in an empty directory" if is_empty else "lies below a file"
                yield Problem(message=message, key=path, value=above)


def seed_problems(workspace: Workspace, limits: SandboxLimits) -> Iterator[Problem]:
    """Yield every reason why a sandbox of these limits cannot begin with `workspace`."""
    yield from workspace_problems(workspace)
    size = sum(map(len, workspace.values()))
    if size > limits.workspace_bytes or len(workspace) > limits.workspace_paths:
        yield Problem(
            message="the workspace is too large",
            value=f"{size} bytes in {len(workspace)} paths",
            allowed=f"{limits.workspace_bytes} bytes in {limits.workspace_paths} paths",
        )


def _above(path: str) -> Iterator[str]:
    """Yield what `path` excludes: each directory above it, as a file and as an empty directory."""
    if path.endswith("/"):
        yield path[:-1]
    for parent in list(PurePosixPath(path).parents)[:-1]:
        yield str(parent)
        yield f"{parent}/"


def write_tree(root: Path, workspace: Workspace) -> None:
    """Lay `workspace` out in the directory `root`, which exists and is empty.

    Raises:
        InputError: a path leaves the workspace, or is both a file and a directory.
    """
    if problems := tuple(workspace_problems(workspace)):
        raise InputError(problems)
    for path, content in workspace.items():
        place = root / path
        if path.endswith("/"):
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def read_tree(
    root: Path,
    *,
    max_bytes: int = MAX_WORKSPACE_BYTES,
    max_paths: int = MAX_WORKSPACE_PATHS,
) -> Workspace:
    """Return what lies in the directory `root`; nothing may be writing there meanwhile.

    Raises:
        WorkspaceOverflow: more bytes or paths than allowed, paths that are too long, links that
            take too long to follow, or what cannot be read.
    """
    workspace: dict[str, bytes] = {}
    left = max_bytes
    with _Tree(root) as tree:
        for path, size in tree.entries(max_paths):
            left -= size
            if left < 0:
                message = f"the workspace holds more than {max_bytes} bytes"
                raise WorkspaceOverflow(message)
            workspace[path] = b"" if path.endswith("/") else tree.content(path, size)
    return dict(sorted(workspace.items()))


def list_tree(root: Path, *, max_paths: int = MAX_WORKSPACE_PATHS) -> tuple[str, ...]:
    """Return the sorted paths that `read_tree` would return, without reading any file.

    Raises:
        WorkspaceOverflow: as `read_tree`, but for the bytes.
    """
    with _Tree(root) as tree:
        return tuple(sorted(path for path, _ in tree.entries(max_paths)))


def is_there(workspace: Workspace, path: str) -> bool:
    """Whether a file or a directory of this name exists."""
    name = path.removesuffix("/")
    below = f"{name}/"
    return name in workspace or any(each.startswith(below) for each in workspace)


class _Tree:
    """A directory that an agent has filled, open to be read within bounds."""

    def __init__(self, root: Path) -> None:
        self._place = root.resolve().parts

    def __enter__(self) -> Self:
        self._root = os.open(Path(*self._place), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._began_s = time.thread_time()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._root)

    def entries(self, max_paths: int) -> Iterator[tuple[str, int]]:
        """Yield every regular file and empty directory, with its size in bytes."""
        folders, num_paths = [""], 0
        # of the paths that are yielded, and of the folders still to be read: each of those holds a
        # longer path that is not yielded yet, so what could be laid out can be read back
        num_bytes = 0
        while folders:
            folder = folders.pop()
            num_bytes -= _num_bytes(folder)
            is_empty = True
            for name, facts in self._names(folder):
                is_empty = False
                path = f"{folder}{name}"
                size = self._size(path, facts)
                if stat.S_ISDIR(facts.st_mode):
                    path = f"{path}/"
                    folders.append(path)
                    num_bytes += _num_bytes(path)
                elif size is not None:
                    num_paths, num_bytes = num_paths + 1, num_bytes + _num_bytes(path)
                self._require_within(num_paths, max_paths, path, num_bytes)
                if size is not None:
                    yield path, size
            if is_empty and folder:
                num_paths, num_bytes = num_paths + 1, num_bytes + _num_bytes(folder)
                self._require_within(num_paths, max_paths, folder, num_bytes)
                yield folder, 0

    def content(self, path: str, size: int) -> bytes:
        """Return the bytes of a file, which are `size`."""
        found = self._open(path)
        if found is None:
            message = f"the workspace holds what cannot be read: {path[:80]!r}"
            raise WorkspaceOverflow(message)
        content = bytearray()
        try:
            while len(content) < size and (chunk := os.read(found, _CHUNK_BYTES)):
                content += chunk
        finally:
            os.close(found)
        return bytes(content[:size])

    def _names(self, folder: str) -> Iterator[tuple[str, os.stat_result]]:
        try:
            opened = os.open(
                folder or ".", _FLAGS | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._root
            )
            try:
                with os.scandir(opened) as entries:
                    for entry in entries:
                        yield entry.name, entry.stat(follow_symlinks=False)
            finally:
                os.close(opened)
        except OSError as error:  # what a model made unreadable is refused, not skipped
            message = f"the workspace holds a directory that cannot be read: {error.strerror}"
            raise WorkspaceOverflow(message) from error

    def _size(self, path: str, facts: os.stat_result) -> int | None:
        """Bytes of a regular file, or of the one inside that a link leads to; else None."""
        if stat.S_ISREG(facts.st_mode):
            return facts.st_size
        if not stat.S_ISLNK(facts.st_mode) or (behind := self._open(path)) is None:
            return None
        try:
            facts = os.fstat(behind)
        finally:
            os.close(behind)
        return facts.st_size if stat.S_ISREG(facts.st_mode) else None

    def _open(self, path: str) -> int | None:
        """Open what a path leads to beneath the root; None where it leads out, or to nothing."""
        problem: int | None = None
        for _ in range(_TRIES):
            try:
                return _open_beneath(self._root, path)
            except OSError as error:
                problem = error.errno
            if problem != errno.EAGAIN:  # somebody renamed or mounted something, anywhere
                break
        # out and, maybe, in again; or a kernel or a filter without the call
        if problem not in {errno.EXDEV, errno.EAGAIN, errno.ENOSYS, errno.EPERM}:
            return None
        resolved = self._resolved(path)
        if resolved is None:
            return None
        try:
            return os.open(resolved, _FLAGS | os.O_NOFOLLOW, dir_fd=self._root)
        except OSError:
            return None

    def _resolved(self, path: str) -> str | None:
        """Follow the links of a path by hand; return where in the tree it leads, without links.

        The path of the root itself has no links, and a way may pass through it, as commands write
        ``/workspace/file`` in a link. Whatever else is outside is never looked at.
        """
        at = list(self._place)  # from the machine's root
        left = path.split("/")[::-1]
        num_links = 0
        for _ in range(_MAX_PARTS):
            if not left:
                return self._inside(at)
            name = left.pop()
            if name in {"", "."}:
                continue
            if name == "..":
                at = at[:-1] or at
                continue
            at.append(name)
            inside = self._inside(at)
            if inside is None and tuple(at) != self._place[: len(at)]:
                return None  # neither in the tree nor on the way to it
            if not inside:
                continue
            try:
                mode = os.stat(inside, dir_fd=self._root, follow_symlinks=False).st_mode
                target = os.readlink(inside, dir_fd=self._root) if stat.S_ISLNK(mode) else None
            except OSError:
                return None
            if target is not None:
                num_links += 1
                at = at[:1] if target.startswith("/") else at[:-1]
                left += target.split("/")[::-1]
            if num_links > _MAX_LINKS or (left and not stat.S_ISDIR(mode) and target is None):
                return None
        return None

    def _inside(self, at: list[str]) -> str | None:
        depth = len(self._place)
        return "/".join(at[depth:]) if tuple(at[:depth]) == self._place else None

    def _require_within(self, num_paths: int, max_paths: int, path: str, num_bytes: int) -> None:
        message = ""
        if num_paths > max_paths:
            message = f"the workspace holds more than {max_paths} paths"
        elif _num_bytes(path) > MAX_PATH_BYTES:
            message = f"the workspace holds a path of more than {MAX_PATH_BYTES} bytes"
        elif num_bytes > MAX_LISTING_BYTES:
            message = f"the paths of the workspace take more than {MAX_LISTING_BYTES} bytes"
        elif time.thread_time() - self._began_s > READING_S:
            message = f"reading the workspace takes more than {READING_S:g} s of a processor"
        if message:
            raise WorkspaceOverflow(message)


def _num_bytes(path: str) -> int:
    return len(os.fsencode(path))


def _open_beneath(root: int, path: str) -> int:
    """Open a path whose links all lead beneath `root`.

    Raises:
        OSError: EXDEV where one leads out, even if it comes in again; ENOSYS where the kernel does
            not have the call.
    """
    if not sys.platform.startswith("linux"):
        raise OSError(errno.ENOSYS, "openat2")
    # struct open_how: flags, mode, resolve
    how = (ctypes.c_uint64 * 3)(_FLAGS, 0, _BENEATH | _NO_MAGICLINKS)
    name = ctypes.c_char_p(os.fsencode(path))
    opened = _libc.syscall(
        ctypes.c_long(_OPENAT2),
        ctypes.c_long(root),
        name,
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )
    if opened < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(opened)


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
