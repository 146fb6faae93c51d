"""Read a file as text and refuse characters that no YAML file may hold, with their place."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from pathlib import Path

from harness.errors import InputError, Problem
from harness.reading import read_regular_file

_MAX_BYTES = 4 * 1024 * 1024
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")

# what YAML cannot hold, and the line breaks that editors do not count
_REFUSED = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_CONFLICT = re.compile(r"^(<{7}|\|{7}|>{7}) .*$", re.MULTILINE)


def text_of(path: Path) -> str:
    """Return the text of a file, without a byte order mark.

    Raises:
        InputError: it cannot be read, is too large to have been written by hand, or is not UTF-8.
    """
    try:
        content = read_regular_file(path, max_bytes=_MAX_BYTES)
    except OSError as error:
        said = f"{'' if error.errno == errno.EFBIG else 'cannot be read: '}{error.strerror}"
        raise InputError([Problem(message=said, path=path)]) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError([_not_utf_8(error, path)]) from None


def text_problems(text: str, path: Path) -> Iterator[Problem]:
    """Yield the characters of `text` that are refused: see `text_of` for the rest."""
    for marker in _CONFLICT.finditer(text):
        yield _at(marker.start(), text, path, "a merge conflict is not resolved", marker.group())
    if refused := _REFUSED.search(text):
        value = ascii(refused.group())
        yield _at(refused.start(), text, path, "character is not used here", value)


def _at(index: int, text: str, path: Path, message: str, value: str) -> Problem:
    line, column = place_of(index, text)
    return Problem(message=message, path=path, line=line, column=column, value=value)


def place_of(index: int, text: str) -> tuple[int, int]:
    """Return line and column, 1-based, of a character of `text`."""
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def _not_utf_8(error: UnicodeDecodeError, path: Path) -> Problem:
    content: bytes = error.object
    if content.startswith(_UTF_16):
        return Problem(message="is UTF-16: save it as UTF-8", path=path, line=1, column=1)
    before = content[: error.start].decode("utf-8-sig")
    line, column = place_of(len(before), before)
    return Problem(
        message="is not UTF-8",
        path=path,
        line=line,
        column=column,
        value=f"byte 0x{content[error.start]:02x}",
    )
