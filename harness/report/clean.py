"""Text from runs, made harmless for the place it is shown in.

Names, causes and log lines come from programs that a benchmark runs, so they may hold terminal
escapes, markup or spreadsheet formulas. `plain` comes first everywhere: it drops what no table
should hold; the others then quote what their format would act on.
"""

from __future__ import annotations

import re

from harness.printable import plain, printable

__all__ = ["csv_text", "markdown", "markdown_line", "plain", "printable"]

_MARKDOWN = re.compile(r"[\\`*\[\]~|$!]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_MARKDOWN_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "{": "&#123;", "}": "&#125;"}
_MARKDOWN_LINE_START = re.compile(r"^(?:[#+=-]|\d+(?=[.)]))")
# the last four are the full-width forms, which spreadsheets read as the first four
_FORMULA_STARTS = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


def markdown(text: str) -> str:
    """Return `text` so that Markdown shows it as it is, within a line or a table cell."""
    quoted = _MARKDOWN.sub(r"\\\g<0>", plain(text))
    return "".join(_MARKDOWN_ENTITIES.get(character, character) for character in quoted)


def markdown_line(text: str) -> str:
    """Return `text` for the start of a Markdown line, where ``#`` and ``1.`` mean something."""
    quoted = markdown(text)
    return _MARKDOWN_LINE_START.sub(_escape_last, quoted)


def csv_text(text: str) -> str:
    """Return `text` so that no spreadsheet takes it for a formula (a leading apostrophe)."""
    shown = plain(text)
    return f"'{shown}" if shown.startswith(_FORMULA_STARTS) else shown


def _escape_last(match: re.Match[str]) -> str:
    start = match.group()
    return f"{start}\\" if start[0].isdigit() else f"\\{start}"
