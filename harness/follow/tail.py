"""Reading files that are still being written: whole lines only, whatever a cut left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_CHUNK = 4 * 2**20


class Tail:
    """Yields the lines that were appended to a file since it was asked last.

    A torn last line is left for the next time; NUL bytes, which a power cut leaves, are dropped. A
    file that has become shorter is another file, and is read from its beginning.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._rest = b""
        self._identity = -1

    def new(self) -> Iterator[str]:
        """Yield the new whole lines; none where there is no file."""
        try:
            with self.path.open("rb") as file:
                state = os.fstat(file.fileno())
                if state.st_size < self._offset or state.st_ino != self._identity:
                    self._offset, self._rest, self._identity = 0, b"", state.st_ino
                file.seek(self._offset)
                while chunk := file.read(_CHUNK):
                    self._offset += len(chunk)
                    *lines, self._rest = (self._rest + chunk).split(b"\n")
                    for line in lines:
                        yield line.replace(b"\0", b"").decode(errors="replace")
        except OSError:
            return


def last_lines(path: Path, count: int, most_bytes: int = 64 * 2**10) -> list[str]:
    """Return the last lines of a log; none where there is no file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most_bytes))
            text = file.read().replace(b"\0", b"").decode(errors="replace")
    except OSError:
        return []
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-count:]
