"""A gzipped tar file whose bytes follow from its files, and that opens as nothing but files.

Members stand in order of their paths and carry neither owner nor time. Whoever opens such a file
may have been given it by anybody, so it is bounded before it is trusted: no links, devices or
folders, no path that leaves the folder it is opened in, no more members and bytes than
`MAX_MEMBERS` and `MAX_BYTES`, whatever the headers say.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO, NoReturn

from harness.errors import InputError, Problem
from harness.reading import shown

MAX_ARCHIVE_BYTES = 256 * 2**20
MAX_BYTES = 512 * 2**20  # unpacked: the members, and what tar writes between them
MAX_MEMBERS = 100_000
_MAX_PATH = 240  # characters; an extended header could give megabytes
_LEVEL = 9
_CHUNK = 2**20


def pack(files: Mapping[str, Path | bytes], archive: Path) -> None:
    """Write `files` (path in the archive -> file or content) to `archive`; same files, same bytes.

    Raises:
        OSError: a file cannot be read, or the archive cannot be written.
    """
    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path, content in sorted(files.items()):
            member = tarfile.TarInfo(path)
            if isinstance(content, bytes):
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            else:
                with content.open("rb") as file:
                    member.size = content.stat().st_size
                    tar.addfile(member, file)


def unpack(archive: Path, folder: Path, *, max_bytes: int = MAX_BYTES) -> dict[str, str]:
    """Write the files of an archive below an empty `folder`, and return path -> sha256 of each.

    Args:
        archive: from anybody.
        folder: empty.
        max_bytes: an archive that unpacks to more is refused.

    Raises:
        InputError: it is cut, damaged, larger than the bounds, or holds anything but files.
        OSError: the disk is full.
    """
    found: dict[str, str] = {}
    try:
        if archive.stat().st_size > MAX_ARCHIVE_BYTES:
            _refuse(archive, f"is larger than {MAX_ARCHIVE_BYTES} bytes")
        with _Bounded(archive, max_bytes) as bounded:
            with tarfile.open(fileobj=bounded, mode="r|") as tar:
                for member in tar:
                    path = _safe(member, archive)
                    if path in found:
                        _refuse(archive, "holds a file twice", shown(path))
                    if len(found) >= MAX_MEMBERS:
                        _refuse(archive, f"holds more than {MAX_MEMBERS} files")
                    if member.size > max_bytes:
                        _refuse(archive, f"holds a file of {member.size} bytes", shown(path))
                    content = tar.extractfile(member)
                    assert content is not None, "a regular file has content"
                    found[path] = _write(content, folder / path)
            while bounded.read(_CHUNK):  # to the end, where gzip's checksum and length stand
                pass
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        _refuse(archive, "holds a file and a folder of one name", shown(Path(error.filename).name))
    except (FileNotFoundError, PermissionError) as error:
        _refuse(archive, f"cannot be read: {error.strerror}")
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        _refuse(archive, f"is cut or damaged: {error}")
    return found


def sha256(path: Path) -> str:
    """Return the sha256 of a file, in hex.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _safe(member: tarfile.TarInfo, archive: Path) -> str:
    """Return a member's path; refuse what is no file, or lies elsewhere."""
    path = PurePosixPath(member.name)
    is_inside = path.parts and not path.is_absolute() and ".." not in path.parts
    is_plain = member.name == str(path) and member.name.isprintable() and "\\" not in member.name
    if not member.isreg() or member.sparse is not None:
        _refuse(archive, "holds something that is no file", shown(member.name))
    if not is_inside or not is_plain or len(member.name) > _MAX_PATH:
        _refuse(archive, "holds a path that leads elsewhere", shown(member.name))
    return member.name


def _write(content: IO[bytes], place: Path) -> str:
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("x+b") as file:
        shutil.copyfileobj(content, file, _CHUNK)
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Bounded(gzip.GzipFile):
    """A file of which no more than so many bytes are read: a bomb ends here."""

    def __init__(self, archive: Path, most: int) -> None:
        super().__init__(archive, "rb")
        self._archive, self._left = archive, most

    def read(self, size: int | None = -1) -> bytes:
        read = super().read(size)
        self._left -= len(read)
        if self._left < 0:
            _refuse(self._archive, "unpacks to more than is allowed")
        return read


def _refuse(archive: Path, message: str, value: str = "") -> NoReturn:
    raise InputError([Problem(message=message, path=archive, value=value)])
