"""Text from runs, made harmless for the place it is shown in.

Names, causes and log lines come from programs that a benchmark runs, so they may hold terminal
escapes, markup or spreadsheet formulas. `plain` comes first everywhere: it drops what no table
should hold; the others then quote what their format would act on.
"""

from __future__ import annotations

import re
import unicodedata

# ECMA-48 sequences: CSI (colours, cursor), the string commands (OSC window title and links, DCS,
# SOS, PM, APC) up to their terminator, and two-character escapes
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f]).*?(?:\x07|\x1b\\|\x9c|$)"
    r"|\x1b[ -/]*[0-~]",
    re.DOTALL,
)
_SPACES = re.compile(r"\s")  # line and paragraph separators too
# other, control, surrogate, private use; format characters hold the bidirectional overrides
_UNSEEN = {"Cc", "Cs", "Co", "Cn", "Cf"}
_REPLACEMENT = "\ufffd"

_MARKDOWN = re.compile(r"[\\`*\[\]~|$!]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_MARKDOWN_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "{": "&#123;", "}": "&#125;"}
_MARKDOWN_LINE_START = re.compile(r"^(?:[#+=-]|\d+(?=[.)]))")
# the last four are the full-width forms, which spreadsheets read as the first four
_FORMULA_STARTS = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


def plain(text: str) -> str:
    """Return `text` on one line, without escapes, controls or direction overrides."""
    return " ".join(printable(text).split())


def printable(text: str) -> str:
    """Return `text` as `plain` does, but with its spaces as they are, as a line of a log needs."""
    if text.isprintable():  # nearly always: the rest is not printable
        return text
    spaced = _SPACES.sub(" ", _ESCAPES.sub("", text))
    return "".join(_seen(character) for character in spaced)


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


def _seen(character: str) -> str:
    return _REPLACEMENT if unicodedata.category(character) in _UNSEEN else character


def _escape_last(match: re.Match[str]) -> str:
    start = match.group()
    return f"{start}\\" if start[0].isdigit() else f"\\{start}"
