"""The rows of a tab-separated file, read so that a killed writer's last line counts nowhere."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from harness.errors import InputError, Problem

_END_MARK = "\u241c"  # a row that no writer of these files writes


def rows_of(lines: bytes, path: Path, first: int = 1) -> list[tuple[int, list[str]]]:
    """Split whole lines into (line, cells); a quoted cell may hold tabs and ends of line.

    Bytes that are not UTF-8 are kept, as the half characters that Python has for them.

    Raises:
        InputError: an end of line inside an unquoted cell, or an unclosed quote: rows
            after it cannot be told from its text.
    """
    text = lines.decode("utf-8", errors="surrogateescape") + _END_MARK
    reader = csv.reader(io.StringIO(text, newline="\n"), delimiter="\t")
    rows = []
    try:
        begin = first
        for cells in reader:
            if cells:  # an empty line is not a row
                rows.append((begin, cells))
            begin = first + reader.line_num
    except csv.Error as error:
        line = first + reader.line_num - 1
        raise InputError([Problem(message=str(error), path=path, line=line)]) from None
    line, last = rows.pop()
    if last != [_END_MARK]:
        raise InputError(
            [Problem(message="opens a quote that is never closed", path=path, line=line)]
        )
    return rows


def line_of(cells: Sequence[str]) -> bytes:
    """Return the cells as one line, quoted as `rows_of` and any other csv reader expects."""
    written = io.StringIO(newline="\n")
    csv.writer(written, delimiter="\t", lineterminator="\n").writerow(cells)
    return written.getvalue().encode("utf-8", errors="surrogateescape")
