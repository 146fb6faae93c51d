"""Index of the ids in a store's file, kept beside it, so that an append need not read it all.

The file is the truth. What is remembered says how far it goes and how the file looked there; where
the file looks otherwise, or the machine has been started again since (nothing here is synced), it
is made anew. Rows behind that place, from writers that know of no index, are read and added. All
of it happens under the store's exclusive lock.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

from harness.records import record

_FIRST_CELL = re.compile(rb"^[^\t\n]*", re.MULTILINE)
_END_BYTES = 256  # of the last bytes read, to recognise the file
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_IN_MEMORY = ":memory:"
_NAMES = ("size", "quotes", "inode", "changed_ns", "boot", "last")
_COLUMNS = ", ".join(_NAMES)
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS ids (id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen ({_COLUMNS});
"""


@record
class Seen:
    """How far the file has been read, and how it looked.

    Attributes:
        size: bytes of whole lines.
        quotes: how many of them are quotes; an odd number leaves one open.
        inode: of the file.
        changed_ns: when it was last changed; meaningful only if nothing was added since.
        boot: of the machine.
        last: the bytes before `size`.
    """

    size: int = 0
    quotes: int = 0
    inode: int = 0
    changed_ns: int = 0
    boot: str = ""
    last: bytes = b""


class Index:
    """The ids of one file; open it while the file is locked.

    Args:
        path: the indexed file; the index is beside it.
        file: that file, open for reading.
    """

    def __init__(self, path: Path, file: int) -> None:
        self._path = path.with_name(f"{path.name}.index")
        self._file = file
        self._boot = _BOOT.read_text(encoding="ascii").strip() if _BOOT.exists() else ""

    def __enter__(self) -> Self:
        try:
            self._connect(str(self._path))
        except sqlite3.Error:  # the file cannot be made, or is not a regular file
            self._connect(_IN_MEMORY)
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def look(self, *names: bytes) -> tuple[Seen, frozenset[bytes]]:
        """Read the rows added since the last time, by any process.

        Args:
            names: first cells as they are written.

        Returns:
            How far the file has been read, and which of the names begin a line of it.
        """
        try:
            return self._catch_up(), self._known(names)
        except sqlite3.Error:  # damaged, or no space for it: the row matters, the index does not
            self._start_anew(_IN_MEMORY)
            return self._catch_up(), self._known(names)

    def _known(self, names: Iterable[bytes]) -> frozenset[bytes]:
        ask = "SELECT 1 FROM ids WHERE id = ?"
        return frozenset(each for each in names if self._database.execute(ask, (each,)).fetchone())

    def _catch_up(self) -> Seen:
        row = self._database.execute(f"SELECT {_COLUMNS} FROM seen").fetchone()  # noqa: S608 - ours
        seen = Seen(**dict(zip(_NAMES, row, strict=True))) if row else Seen()
        status = os.fstat(self._file)
        if not self._stands(seen, status):
            self._start_anew(str(self._path))
            seen = Seen()
        added = os.pread(self._file, status.st_size - seen.size, seen.size)
        lines, end, _torn = added.rpartition(b"\n")
        if not end:
            return seen
        lines += end
        seen = Seen(
            size=seen.size + len(lines),
            quotes=seen.quotes + lines.count(b'"'),
            inode=status.st_ino,
            changed_ns=status.st_mtime_ns,
            boot=self._boot,
            last=(seen.last + lines[-_END_BYTES:])[-_END_BYTES:],
        )
        values = [getattr(seen, name) for name in _NAMES]
        self._database.execute("BEGIN")
        many = ((name,) for name in _FIRST_CELL.findall(lines))
        self._database.executemany("INSERT OR IGNORE INTO ids VALUES (?)", many)
        self._database.execute("DELETE FROM seen")
        self._database.execute("INSERT INTO seen VALUES (?, ?, ?, ?, ?, ?)", values)
        self._database.execute("COMMIT")
        return seen

    def _stands(self, seen: Seen, status: os.stat_result) -> bool:
        """Return whether the part of the file that was read is unchanged."""
        if not seen.size:
            return True
        if seen.size == status.st_size and seen.changed_ns != status.st_mtime_ns:
            return False
        same = (seen.inode, seen.boot) == (status.st_ino, self._boot)
        last = os.pread(self._file, len(seen.last), seen.size - len(seen.last))
        return same and seen.size <= status.st_size and last == seen.last

    def _start_anew(self, place: str) -> None:
        self._database.close()
        for name in (self._path.name, f"{self._path.name}-journal"):
            with suppress(OSError):
                self._path.with_name(name).unlink()
        self._connect(place)

    def _connect(self, place: str) -> None:
        self._database = sqlite3.connect(place, isolation_level=None)
        # a kill leaves a journal that the next opener rolls back; a power cut is known by the boot
        self._database.execute("PRAGMA journal_mode = PERSIST")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.executescript(_SCHEMA)
