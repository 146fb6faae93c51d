"""Text from runs, made harmless for the place it is shown in.

Names, causes and log lines come from programs that a benchmark runs, so they may hold terminal
escapes, markup or spreadsheet formulas. `plain` comes first everywhere: it drops what no table
should hold; the others then quote what their format would act on.
"""

from __future__ import annotations

import re

from harness.printable import plain, printable

__all__ = ["brief", "csv_text", "field", "markdown", "markdown_line", "plain", "printable"]

MAX_CHARS = 2000  # of a field that people read; JSON has all of it
_CSV_CHARS = 32_000  # a spreadsheet's cell holds 32,767
_BRIEF_CHARS = 200  # of what a line quotes
# `^` and `@` stand for a superscript and a citation in the Markdown of Quarto
_MARKDOWN = re.compile(r"[\\`*\[\]~|$!^]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|(?<![A-Za-z0-9])@")
_MARKDOWN_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "{": "&#123;", "}": "&#125;"}
_MARKDOWN_LINE_START = re.compile(r"^(?:[#+=:%-]|\d+(?=[.)]))")
# the last four are the full-width forms, which spreadsheets read as the first four
_FORMULA_STARTS = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


def brief(text: str) -> str:
    """Return the beginning of `text` on one line, for a message that quotes it."""
    return _cut(text, _BRIEF_CHARS)


def field(text: str) -> str:
    """Return `text` as `plain` does, with its end cut off where nobody would read it all."""
    return _cut(text, MAX_CHARS)


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return plain(text)
    return f"{plain(text[:most])}... ({len(text):,} characters)"


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
    shown = _cut(text, _CSV_CHARS)
    return f"'{shown}" if shown.startswith(_FORMULA_STARTS) else shown


def _escape_last(match: re.Match[str]) -> str:
    start = match.group()
    return f"{start}\\" if start[0].isdigit() else f"\\{start}"
