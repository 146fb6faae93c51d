"""The trajectory file as it is written: one record a line, each on the disk before the next begins.

A kill loses at most the line that was being written. Opening the file again cuts that off, and the
loop continues after the last complete iteration. The published loop continues after the largest
number it finds, a pause's too, so it skips the iteration that it paused before; here a pause counts
as none (article 22, "Trajectory schema").
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from harness.appended import end_of_whole
from harness.errors import InputError, Problem
from harness.records import to_json
from harness.workloads.autoresearch.trajectory import (
    RENAMED,
    STAMP,
    Header,
    Trajectory,
    TrajectoryRecord,
    read_trajectory,
)

_IN_FILE = {name: in_file for in_file, name in RENAMED.items()}


class Journal:
    """One loop's trajectory; use it as a context manager.

    Args:
        path: the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        content = self._path.read_bytes()
        whole = end_of_whole(content)
        if whole < len(content):
            os.ftruncate(self._file, whole)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def resume(self, settings: str) -> Trajectory | None:
        """Return the existing content; None if there is none.

        Raises:
            InputError: a line is damaged, or the file is of a loop with other settings.
        """
        if not os.fstat(self._file).st_size:
            return None
        found = read_trajectory(self._path)
        if found.header.settings != settings:
            problem = Problem(message="is of a loop with other settings", path=self._path, line=1)
            raise InputError([problem])
        return found

    def write(self, entry: Header | TrajectoryRecord) -> None:
        """Append one record; when this returns it survives a power cut."""
        document = {_IN_FILE.get(name, name): value for name, value in to_json(entry).items()}
        line = json.dumps(document).encode() + b"\n"
        while line:
            line = line[os.write(self._file, line) :]
        os.fsync(self._file)


def stamp() -> str:
    """Return the time as records give it: UTC, whole seconds."""
    return datetime.now(UTC).strftime(STAMP)
