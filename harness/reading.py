"""Read what a model, a server, an agent or a damaged disk says: a value, or why there is none.

JSON lets anybody write what Python's parser answers with five kinds of exception, or with a value
that breaks whoever uses it: a thousand brackets, a number of four hundred digits, NaN, half a
surrogate pair, a key twice. Here all of it is a `ValueError` that says what is wrong.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

MAX_BYTES = 64 * 2**20
MAX_DEPTH = 64
_MAX_DIGITS = 300  # below it every whole number is a finite float too
_SHOWN = 80
_HALF = re.compile("[\ud800-\udfff]")


def read_json(
    text: str | bytes,
    *,
    max_bytes: int = MAX_BYTES,
    mend: bool = False,
    as_python: bool = False,
    holds_paths: bool = False,
) -> Any:
    """Return the value of a JSON text that somebody else wrote.

    It has finite numbers, whole ones of less than 300 digits, at most `MAX_DEPTH` levels, each key
    once, and text that UTF-8 can hold.

    Args:
        text: UTF-8 where it is bytes.
        max_bytes: more is refused; of text, characters.
        mend: put U+FFFD in the place of half a surrogate pair, and do not refuse it, as for
            sentences that a model wrote.
        as_python: take numbers and keys as Python's own parser does: NaN and infinity, whole
            numbers of up to 4,300 digits, and a key twice, of which the last counts.
        holds_paths: leave half a surrogate pair as it is: so Python writes the bytes of a file's
            name that are not UTF-8.

    Raises:
        ValueError: one line that says why there is no such value; a `json.JSONDecodeError` where
            it is no JSON at all.
    """
    if len(text) > max_bytes:
        message = f"is longer than {max_bytes} bytes"
        raise ValueError(message)
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    try:
        value = (_AS_PYTHON if as_python else _DECODER).decode(text)
    except RecursionError:
        _refuse_depth()
    # most documents have fewer brackets than levels are allowed, and need no walk
    may_be_deep = text.count("[") + text.count("{") > MAX_DEPTH
    may_be_half = "\\ud" in text or "\\uD" in text or _HALF.search(text)
    if may_be_deep or (may_be_half and not holds_paths):
        return _checked(value, mend=mend, keep=holds_paths)
    return value


def objects_in(text: str, *, max_characters: int = 2**16) -> list[dict[str, Any]]:
    """Return the JSON objects that stand in a text, the outermost ones, in their order.

    Only the beginning of a longer text is read: looking for the end of each bracket takes time that
    grows with the square of the text.
    """
    text, found = text[:max_characters], []
    at = text.find("{")
    while at >= 0:
        try:
            value, end = _DECODER.raw_decode(text, at)
            found.append(_checked(value, mend=True))
        except (ValueError, RecursionError):
            end = at + 1
        at = text.find("{", end)
    return found


def read_regular_file(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a file; nothing but a file is waited for.

    Raises:
        OSError: it cannot be opened; it is a folder, a named pipe or a device; or it is larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "is not a file but a pipe, a socket or a device", str(path))
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"is larger than {max_bytes} bytes", str(path))
    return content


def shown(value: object) -> str:
    """Return the beginning of a value as Python writes it, for a message of one line."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _checked(value: Any, *, mend: bool, keep: bool = False) -> Any:
    """Return a decoded value, level by level: no recursion, however deep it is.

    Raises:
        ValueError: it is nested too deep, or a text in it is no Unicode.
    """
    top = [value]
    level: list[Any] = [top]
    for depth in range(MAX_DEPTH + 1):
        below: list[Any] = []
        is_deepest = depth == MAX_DEPTH  # above it empty ones are skipped: there may be millions
        for holder in level:
            if not keep:
                _mend(holder, mend=mend)
            values = holder.values() if isinstance(holder, dict) else holder
            below += [
                each for each in values if (each or is_deepest) and isinstance(each, (list, dict))
            ]
        if not below:
            break
        level = below
    else:
        _refuse_depth()
    return top[0]


def _mend(holder: dict[str, Any] | list[Any], *, mend: bool) -> None:
    """Replace half a surrogate pair in the texts that a value holds itself.

    Raises:
        ValueError: there is one in a key, or in any text where none is to be mended.
    """
    if isinstance(holder, dict) and any(map(_HALF.search, holder)):
        _refuse_half()
    items: Iterable[tuple[Any, Any]] = enumerate(holder)
    if isinstance(holder, dict):
        items = holder.items()
    halves = [key for key, each in items if isinstance(each, str) and _HALF.search(each)]
    if halves and not mend:
        _refuse_half()
    for key in halves:
        holder[key] = _HALF.sub("\ufffd", holder[key])


def _refuse_depth() -> NoReturn:
    message = f"is nested deeper than {MAX_DEPTH} levels"
    raise ValueError(message)


def _refuse_half() -> NoReturn:
    message = "holds half of a surrogate pair, which is no character"
    raise ValueError(message)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        message = f"key {shown(twice)} occurs twice"
        raise ValueError(message)
    return found


def _whole(digits: str) -> int:
    if len(digits) >= _MAX_DIGITS:
        message = f"a number of {len(digits)} digits is too long"
        raise ValueError(message)
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        message = f"{shown(digits)} is too large for a number"
        raise ValueError(message)
    return number


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is not a JSON number"
    raise ValueError(message)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_distinct,
    parse_constant=_refuse_constant,
    parse_float=_finite,
    parse_int=_whole,
)
_AS_PYTHON = json.JSONDecoder()
