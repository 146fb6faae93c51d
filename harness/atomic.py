"""Files and folders that appear whole or not at all, and survive a power cut.

What is written lies beside its place under another name until all of it is on the disk. One rename
then puts it in its place, and the folder that holds the name is synced. A reader finds what was
there before or what is there now, never a part of either; a kill leaves a hidden name that nobody
reads. Files that only grow (events, trials) are no concern of this module.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import HostError


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

    Several processes may write the same file at once; the last rename wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        move(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which becomes `folder` when the block ends well.

    One process writes a folder at a time, and removes what a killed one left. A folder that was
    there is replaced; killed between the two renames, neither is there.
    """
    new, old = (folder.with_name(f".{folder.name}.{end}") for end in ("new", "old"))
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        sync_tree(new)
        if folder.exists():
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
    finally:
        os.close(descriptor)


def unwritable(path: Path, error: OSError) -> HostError:
    """Return what to say where `path` cannot be written."""
    message = f"cannot write to {path}: {error.strerror}"
    return HostError(message, "name another place, or free the disk")


def sync_tree(path: Path) -> None:
    """Wait until all of a folder, or a file, is on the disk."""
    for parent, _, names in os.walk(path):
        for name in names:
            sync(Path(parent) / name)
        sync(Path(parent))
    if path.is_file():
        sync(path)
