"""The append-only store: whole rows, durable, from many processes at once.

A row is one line, written by one call under a lock on the file itself and synced before `append`
returns. A process killed in between leaves at most a last line without an end; no reader counts
it and the next writer cuts it off. Whole lines are never changed.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import InputError, Problem
from harness.workloads.lineage.history import History
from harness.workloads.lineage.sheet import line_of, rows_of
from harness.workloads.lineage.text import escape
from harness.workloads.lineage.trial import PRETRAINING, Layout, Trial, cells_of, trial_of

_FIRST_CELL = re.compile(rb"^[^\t\n]*", re.MULTILINE)


class Store:
    """A search's trials in one file; one object for each thread or process that uses it.

    Args:
        path: the file; the first append makes it.
        layout: its columns.
    """

    def __init__(self, path: Path, layout: Layout = PRETRAINING) -> None:
        self.layout = layout
        self._path = path
        self._forget()

    def history(self) -> History:
        """Return every trial so far, others' too, in the order of their rows.

        Raises:
            InputError: the file has other columns, or cannot be split into rows.
        """
        if self._path.exists():
            with _locked(self._path, os.O_RDONLY, fcntl.LOCK_SH) as file:
                self._catch_up(file)
        for line, cells in rows_of(b"".join(self._unread), self._path, self._num_lines_read + 1):
            self._take(line, cells)
        self._num_lines_read += sum(lines.count(b"\n") for lines in self._unread)
        self._unread.clear()
        return self._history

    def damage(self) -> tuple[Problem, ...]:
        """Return the rows that are no trials, and are not counted as any, of those read so far."""
        return tuple(self._damage)

    def append(self, trial: Trial) -> None:
        """Write one trial; when this returns it survives a power cut.

        Raises:
            InputError: the trial cannot be written so that it reads back the same, its id is
                taken, its parent is not in the store, the file is not of this layout, or another
                program left a quote open in it.
        """
        line = line_of(cells_of(trial, self.layout))
        is_new = not self._path.exists()
        with _locked(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, fcntl.LOCK_EX) as file:
            self._catch_up(file)
            self._require_place(trial)
            if os.fstat(file).st_size > self._size:
                os.ftruncate(file, self._size)  # the last line of a writer that was killed
            _write(file, line if self._size else line_of(self.layout.columns) + line)
            os.fsync(file)
            self._catch_up(file)
        if is_new:
            _sync_folder(self._path.parent)

    def _forget(self) -> None:
        self._size = 0  # bytes of whole lines seen
        self._first_cells: set[bytes] = set()
        self._num_quotes = 0
        self._unread: list[bytes] = []
        self._num_lines_read = 0
        self._history = History(self.layout)
        self._damage: list[Problem] = []

    def _catch_up(self, file: int) -> None:
        """See the whole lines that were added since the last time; `history` will read them."""
        size = os.fstat(file).st_size
        if size < self._size:  # another file has taken its place
            self._forget()
        added, end, _torn = os.pread(file, size - self._size, self._size).rpartition(b"\n")
        lines = added + end
        if lines and not self._size:
            self._require_layout(lines.partition(b"\n")[0] + b"\n")
        self._size += len(lines)
        self._num_quotes += lines.count(b'"')
        self._first_cells.update(_FIRST_CELL.findall(lines))
        self._unread.append(lines)

    def _take(self, line: int, cells: list[str]) -> None:
        if tuple(cells) == self.layout.columns:  # writers without a lock may repeat the header
            return
        try:
            self._history.add(trial_of(cells, self.layout))
        except ValueError as error:
            self._damage.append(Problem(message=str(error), path=self._path, line=line))

    def _require_layout(self, header: bytes) -> None:
        if header != line_of(self.layout.columns):
            message = f"has other columns: {header[:200]!r}"
            raise InputError([Problem(message=message, path=self._path, line=1)])

    def _require_place(self, trial: Trial) -> None:
        """Refuse a taken id, a parent that is not there, and a file that a row could vanish in."""
        name, parent = (line_of([escape(text)])[:-1] for text in (trial.exp_id, trial.parent_exp))
        if name in self._first_cells:
            raise InputError([Problem(message="the id is taken", key="exp_id", value=trial.exp_id)])
        if trial.parent_exp and parent not in self._first_cells:
            message = "the parent is not in the store"
            raise InputError([Problem(message=message, key="parent_exp", value=trial.parent_exp)])
        if self._num_quotes % 2:
            raise InputError([Problem(message="a quote is never closed", path=self._path)])


@contextmanager
def _locked(path: Path, flags: int, lock: int) -> Iterator[int]:
    file = os.open(path, flags | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, lock)
        yield file
    finally:
        os.close(file)  # and with it the lock


def _write(file: int, line: bytes) -> None:
    while line:
        line = line[os.write(file, line) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
