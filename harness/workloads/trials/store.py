"""The append-only store: whole rows, durable, from many processes at once.

A row is one line, written by one call under a lock on the file itself and synced before `append`
returns. A process killed in between leaves at most a last line without an end; no reader counts
it and the next writer cuts it off. Whole lines are never changed.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.atomic import sync
from harness.errors import InputError, Problem
from harness.workloads.trials.escape import escape
from harness.workloads.trials.history import History
from harness.workloads.trials.index import Index
from harness.workloads.trials.trial import PRETRAINING, Layout, Trial, cells_of, trial_of
from harness.workloads.trials.tsv import line_of, rows_of


class TrialStore:
    """A search's trials in one file; one object for each thread or process that uses it.

    Args:
        path: the file; the first append makes it.
        layout: its columns.
    """

    def __init__(self, path: Path, layout: Layout = PRETRAINING) -> None:
        self.layout = layout
        self._path = path
        self._header = line_of(layout.columns)
        self._forget()

    def history(self) -> History:
        """Return every trial so far, others' too, in the order of their rows.

        Raises:
            InputError: the file has other columns, or cannot be split into rows.
        """
        if not self._path.exists():
            return self._history
        with _locked(self._path, os.O_RDONLY, fcntl.LOCK_SH) as file:
            self._require_layout(file)
            size = os.fstat(file).st_size
            if size < self._size:  # another file has taken its place
                self._forget()
            added, end, _torn = os.pread(file, size - self._size, self._size).rpartition(b"\n")
            lines = added + end
        for line, cells in rows_of(lines, self._path, self._num_lines + 1):
            if tuple(cells) == self.layout.columns:  # writers without a lock may repeat the header
                continue
            try:
                self._history.add(trial_of(cells, self.layout))
            except ValueError as error:
                self._damage.append(Problem(message=str(error), path=self._path, line=line))
        self._size += len(lines)
        self._num_lines += lines.count(b"\n")
        return self._history

    def damage(self) -> tuple[Problem, ...]:
        """Return the rows read so far that are not trials; they are not counted."""
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
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        with (
            _locked(self._path, flags, fcntl.LOCK_EX) as file,
            Index(self._path, file) as index,
        ):
            self._require_layout(file)
            size = self._place(index, trial)
            if os.fstat(file).st_size > size:
                os.ftruncate(file, size)  # the last line of a writer that was killed
            left = line if size else self._header + line
            while left:
                left = left[os.write(file, left) :]
            os.fsync(file)
            index.look()
        if is_new:
            sync(self._path.parent)

    def _forget(self) -> None:
        self._size = 0  # bytes of whole lines read, and how many lines they are
        self._num_lines = 0
        self._history = History(self.layout)
        self._damage: list[Problem] = []

    def _require_layout(self, file: int) -> None:
        """Refuse a file whose first line is whole and another."""
        begin = os.pread(file, len(self._header), 0)
        first, end, _ = begin.partition(b"\n")
        if begin != self._header and (end or len(begin) == len(self._header)):
            message = f"has other columns: {(first + end)[:200]!r}"
            raise InputError([Problem(message=message, path=self._path, line=1)])

    def _place(self, index: Index, trial: Trial) -> int:
        """Return where the trial's row belongs, bytes from the start.

        Raises:
            InputError: the id is taken, the parent is not there, or the row could vanish in the
                text of another.
        """
        name, parent = (line_of([escape(text)])[:-1] for text in (trial.exp_id, trial.parent_exp))
        seen, known = index.look(name, parent)
        if name in known:
            raise InputError([Problem(message="the id is taken", key="exp_id", value=trial.exp_id)])
        if trial.parent_exp and parent not in known:
            message = "the parent is not in the store"
            raise InputError([Problem(message=message, key="parent_exp", value=trial.parent_exp)])
        if seen.quotes % 2:
            raise InputError([Problem(message="a quote is never closed", path=self._path)])
        return seen.size


@contextmanager
def _locked(path: Path, flags: int, lock: int) -> Iterator[int]:
    file = os.open(path, flags | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, lock)
        yield file
    finally:
        os.close(file)  # and with it the lock
