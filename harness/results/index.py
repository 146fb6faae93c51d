"""The index of a store: the records of its runs in one file, so that reading thousands is quick.

The files of a run stay the truth. A row of the index counts only while each file that it was made
from is the same: inode, size, time of its content and of its status. What is doubtful is read from
the files: a run that changed, a row whose checksum is wrong, a file so new that the clock of a file
system might not show another change. An index that is damaged, or that other code wrote, is made
again; where none can be written (a read-only store), there is none. It may be deleted at any time.

It is replaced as a whole (`harness.atomic`) and never changed in place. So any number of processes
read it without a lock, and of two that write it the last wins: the other's runs are read from their
files once more.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import atomic, records, units
from harness.records import FinishedRun, RunOutcome, RunSpec, from_json, to_json
from harness.results import sound
from harness.results.measured import StoredMeasurements

if TYPE_CHECKING:
    import sqlite3

INDEX_FILE = ".index.sqlite3"
WORTH_INDEXING = 100  # fewer are read from their files about as fast
_SETTLED_NS = 2 * 10**9  # FAT's clock ticks every two seconds, no other file system's more slowly
_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS runs (
    folder TEXT PRIMARY KEY, checksum INTEGER, stamp TEXT, spec TEXT, outcome TEXT,
    measurements TEXT, environment TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (id INTEGER PRIMARY KEY, text TEXT UNIQUE);
"""


class RunIndex:
    """The index of one store.

    Args:
        root: the store's folder.
        files: the names of the files that a run's records are read from.
    """

    def __init__(self, root: Path, files: Sequence[str]) -> None:
        self._root, self._files = root, files
        self._path = root / INDEX_FILE
        self._stamps: dict[Path, str] = {}
        self._facts: dict[str, Any] = {}

    def known(self, folders: Sequence[Path]) -> dict[Path, FinishedRun]:
        """Return the runs that the index holds as their files are now."""
        import sqlite3  # noqa: PLC0415 - a small store has no index

        self._stamps = {folder: self._stamp(folder) for folder in folders}
        found: dict[Path, FinishedRun] = {}
        try:
            uri = f"{self._path.resolve().as_uri()}?mode=ro&immutable=1"
            with closing(sqlite3.connect(uri, uri=True)) as index:
                if not _is_ours(index):
                    return {}
                environments = _Environments(index)
                for folder, stamp in self._stamps.items():
                    row = index.execute(_SELECT, (self._key(folder),)).fetchone()
                    if row is None or row[1] != stamp or row[0] != _checksum(folder.name, row[1:]):
                        continue
                    environment = environments.of(row[5])
                    if stamp and environment is not None:
                        found[folder] = FinishedRun(
                            spec=from_json(RunSpec, json.loads(row[2])),
                            outcome=from_json(RunOutcome, json.loads(row[3])),
                            measurements=StoredMeasurements(row[4]),
                            environment=environment,
                        )
        except sqlite3.Error:  # absent or damaged: what was not found is read from the files
            pass
        return found

    def remember(self, runs: Mapping[Path, FinishedRun]) -> None:
        """Add runs that were read from their files after `known` was asked for them.

        A few are not worth a new index: they are read from their files again.
        """
        import sqlite3  # noqa: PLC0415 - a small store has no index

        settled = {folder: run for folder, run in runs.items() if self._stamps[folder]}
        if len(settled) < WORTH_INDEXING:
            return
        try:
            with atomic.new_file(self._path) as temporary:
                if self._path.is_file() and not self._add(settled, temporary, is_new=False):
                    temporary.unlink()
                if not temporary.exists():
                    self._add(settled, temporary, is_new=True)
        except (OSError, sqlite3.Error):  # read-only or full: there is no index
            return

    def _add(self, runs: Mapping[Path, FinishedRun], path: Path, *, is_new: bool) -> bool:
        """Write an index of `runs` and of what is known already; False where that is damaged."""
        import sqlite3  # noqa: PLC0415 - a small store has no index

        if not is_new:
            shutil.copyfile(self._path, path)
        try:
            with closing(sqlite3.connect(path)) as index, index:
                if not is_new and not _is_ours(index):
                    return False
                index.executescript(_TABLES)
                index.execute(f"PRAGMA user_version = {_VERSION}")
                environments = _Environments(index)
                for folder, run in runs.items():
                    texts = (
                        self._stamps[folder],
                        _compact(to_json(run.spec)),
                        _compact(to_json(run.outcome)),
                        StoredMeasurements.packed(run.measurements).text,
                        environments.add(run.environment),
                    )
                    row = (self._key(folder), _checksum(folder.name, texts), *texts)
                    index.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        except sqlite3.DatabaseError:
            if is_new:
                raise
            return False
        return True

    def packed(self, run: FinishedRun) -> FinishedRun:
        """Return a run that was read from its files as `known` gives it: small."""
        facts = {
            key: self._facts.setdefault(_compact(fact), fact)
            for key, fact in run.environment.items()
        }
        return replace(
            run, measurements=StoredMeasurements.packed(run.measurements), environment=facts
        )

    def _key(self, folder: Path) -> str:
        return str(folder.relative_to(self._root))

    def _stamp(self, folder: Path) -> str:
        """Return what changes with the files of a run; empty where a change might not show."""
        parts: list[int] = []
        try:
            for name in self._files:
                seen = os.stat(f"{folder}/{name}")  # noqa: PTH116 - thousands of them
                parts += (seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
        except OSError:  # reading it says why
            return ""
        newest = max(*parts[2::4], *parts[3::4])
        return " ".join(map(str, parts)) if newest < time.time_ns() - _SETTLED_NS else ""


class _Environments:
    """The environments in an index; what several runs have in common is there once."""

    def __init__(self, index: sqlite3.Connection) -> None:
        self._index = index
        self._facts: dict[int, Any] = {}
        self._known: dict[str, Mapping[str, Any]] = {}

    def add(self, environment: Mapping[str, Any]) -> str:
        """Return the row of an environment: key -> number and checksum of its fact."""
        row = {}
        for key, fact in environment.items():
            text = _compact(fact)
            self._index.execute("INSERT OR IGNORE INTO facts (text) VALUES (?)", (text,))
            found = self._index.execute("SELECT id FROM facts WHERE text = ?", (text,)).fetchone()
            row[key] = (found[0], _checksum(text))
        return _compact(row)

    def of(self, row: str) -> Mapping[str, Any] | None:
        """Return the environment of a row; None where a fact of it is damaged."""
        if row not in self._known:
            facts = {}
            for key, (number, checksum) in json.loads(row).items():
                if number not in self._facts:
                    select = "SELECT text FROM facts WHERE id = ?"
                    found = self._index.execute(select, (number,)).fetchone()
                    if found is None or _checksum(found[0]) != checksum:
                        return None
                    self._facts[number] = json.loads(found[0])
                facts[key] = self._facts[number]
            self._known[row] = facts
        return self._known[row]


_SELECT = (
    "SELECT checksum, stamp, spec, outcome, measurements, environment FROM runs WHERE folder = ?"
)


def _is_ours(index: sqlite3.Connection) -> bool:
    version: int = index.execute("PRAGMA user_version").fetchone()[0]
    return version == _VERSION


def _compact(document: object) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def _checksum(*texts: object) -> int:
    return zlib.crc32(repr(texts).encode(errors="surrogatepass"))


# of the code that checks, writes and reads the rows: another code makes the index again
_CODE = (records.__file__, units.__file__, sound.__file__, __file__)
_VERSION = zlib.crc32(b"".join(Path(file).read_bytes() for file in _CODE)) >> 1
