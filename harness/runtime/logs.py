"""The standard output and error of a run: kept in a file, never without bound."""

from __future__ import annotations

from pathlib import Path
from typing import Self

LIMIT_BYTES = 8 * 2**20  # 100,000 lines; a training loop that prints every step stays far below
_TAIL_BYTES = 64 * 2**10
TAIL_LINES = 100


class BoundedLog:
    """Writes a stream to a file: its beginning up to a limit, then one line that says so, its end.

    Args:
        path: the file; one that is there is replaced.
        limit_bytes: how much of the beginning is kept.
    """

    def __init__(self, path: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self._path = path
        self._limit = limit_bytes
        self._kept = 0
        self._cut = 0
        self._recent = b""

    def __enter__(self) -> Self:
        self._file = self._path.open("wb", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._cut:
            self._file.write(self._notice())
        self._file.close()

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the stream."""
        kept = chunk[: self._limit - self._kept]
        if kept:
            self._file.write(kept)
        self._kept += len(kept)
        self._cut += len(chunk) - len(kept)
        self._recent = (self._recent + chunk)[-_TAIL_BYTES:]

    def tail(self, num_lines: int = TAIL_LINES) -> tuple[str, ...]:
        """Return the last lines; bytes that are not UTF-8 are replaced."""
        return tuple(self._recent.decode(errors="replace").splitlines()[-num_lines:])

    def _notice(self) -> bytes:
        end = self._recent[-min(self._cut, _TAIL_BYTES) :]
        left_out = self._cut - len(end)
        line = (
            f"\n[harness: the limit of {self._limit} bytes is reached; {left_out} bytes left out]\n"
        )
        return line.encode() + end
