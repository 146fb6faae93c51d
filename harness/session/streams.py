"""Standard output and error that decide nothing: a run goes on, whatever becomes of its lines.

A terminal may know ASCII alone, a log may be on a full disk, a reader may have left, and a stream
may be closed before we start. None of it is a reason to end a run that takes hours. What has not
been shown is said at the end, by the exit code too.
"""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class _Descriptor(io.FileIO):
    """Writes to a descriptor until that fails; then it takes what it is given and drops it.

    Attributes:
        failure: why it no longer writes; None while it does, and where the reader has left, who
            has read what it wanted.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._drops = False
        self.failure: OSError | None = None

    def write(self, data: Buffer) -> int:
        left = memoryview(data).cast("B")
        while left and not self._drops:
            try:
                left = left[os.write(self.fileno(), left) :]
            except BlockingIOError:  # another program made the terminal or the pipe non-blocking
                select.select([], [self.fileno()], [])
            except BrokenPipeError:
                self._drops = True
            except OSError as error:
                self._drops, self.failure = True, error
        return memoryview(data).nbytes


class Streams:
    """The two guarded streams."""

    def __init__(self, out: _Descriptor, err: _Descriptor) -> None:
        self._out, self._err = out, err

    @property
    def lost(self) -> str:
        """Say why standard output is incomplete; empty where it is whole or nobody reads it."""
        sys.stdout.flush()
        return self._out.failure.strerror or "" if self._out.failure else ""


@contextmanager
def guarded() -> Iterator[Streams]:
    """Make the process's standard streams such that writing to them never fails, for a while.

    A character that a stream's encoding lacks is written as its escape. A descriptor that is closed
    becomes the null device, so that no file we open takes its number.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # the lowest free number is what `open` gives
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003
    raw_out, raw_err = _Descriptor(1), _Descriptor(2)
    before = sys.stdout, sys.stderr
    # a test or a notebook has put its own in their place, which it reads
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(raw_out, before[0], is_line_buffered=raw_out.isatty())
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(raw_err, before[1], is_line_buffered=True)
    try:
        yield Streams(raw_out, raw_err)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _text(raw: _Descriptor, before: TextIO | None, *, is_line_buffered: bool) -> TextIO:
    if before is not None:
        before.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=before.encoding if before is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=is_line_buffered,
    )
