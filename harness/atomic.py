"""Files and folders that appear whole or not at all, and survive a power cut.

What is written lies beside its place under another name until all of it is on the disk. One rename
then puts it in its place, and the folder that holds the name is synced. A reader finds what was
there before or what is there now, never a part of either; a kill leaves a hidden name that nobody
reads. Files that only grow (events, trials) are no concern of this module.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.errors import HostError

_CWD = -100  # AT_FDCWD of Linux: paths are as any other program reads them
_EXCHANGE = 2  # RENAME_EXCHANGE
# file systems that sync no folders (some of network and container mounts) say one of these
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, and the folders above it.

    Raises:
        HostError: it cannot be written.
    """
    try:
        with new_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise unwritable(path, error) from None


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Give a path to write to, which becomes `path` when the block ends well.

    A file that is there keeps its permissions, and its owner where we may give it; a link keeps
    pointing to it. One that has several names is written in place, so that all of them show the new
    content, once the new content is on the disk beside it. Several processes may write the same
    file at once; the last rename wins.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        before = path.stat() if path.is_file() else None
        if before is not None and before.st_nlink > 1:
            sync(temporary)
            shutil.copyfile(temporary, path)
            sync(path)
            return
        if before is not None:
            with suppress(PermissionError):
                os.chown(temporary, before.st_uid, before.st_gid)
            temporary.chmod(before.st_mode & 0o7777)
        move(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which becomes `folder` when the block ends well.

    One process writes a folder at a time, and removes what a killed one left. A folder that was
    there is replaced at once where the file system can exchange two names; where it cannot, a kill
    between two renames leaves it under its other name, and the next writer puts it back.
    """
    new, old = (folder.with_name(f".{folder.name}.{end}") for end in ("new", "old"))
    if old.is_dir() and not folder.exists():
        old.rename(folder)
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        sync_tree(new)
        if not folder.exists():
            move(new, folder)
        elif _exchange(new, folder):
            sync(folder.parent)
        else:
            folder.rename(old)
            move(new, folder)
    finally:
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)


def move(source: Path, place: Path) -> None:
    """Rename a file or folder, with all that is in it on the disk before it has its new name."""
    sync_tree(source)
    source.rename(place)
    sync(place.parent)


def share(source: Path, place: Path) -> None:
    """Give a file that nobody changes a second name, or a copy where the disk has no such names."""
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)


def sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def unwritable(path: Path, error: OSError) -> HostError:
    """Return what to say where `path` cannot be written."""
    message = f"cannot write to {path}: {error.strerror or error}"
    return HostError(message, "name another place, or free the disk")


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where this system cannot."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    return bool(rename(_CWD, os.fsencode(one), _CWD, os.fsencode(other), _EXCHANGE) == 0)


def sync_tree(path: Path) -> None:
    """Wait until all of a folder, or a file, is on the disk."""
    for parent, _, names in os.walk(path):
        for name in names:
            if not (Path(parent) / name).is_symlink():
                sync(Path(parent) / name)
        sync(Path(parent))
    if path.is_file():
        sync(path)
