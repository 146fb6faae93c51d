"""Text that cannot break a line, a column or a prompt: a reversible escape.

Characters that end a line somewhere, are not seen, reorder what is seen or have no UTF-8 form are
written ``␛{hex}``; so is the introducer itself. Everything else stays as it is, so that quotes,
backslashes and ordinary text look the same to readers that do not know this escape.
"""

from __future__ import annotations

import re

_INTRODUCER = "\u241b"  # SYMBOL FOR ESCAPE
_HARMFUL = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters: tabs, every end of line but two, terminal codes
    "\u2028\u2029"  # those two
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # right-to-left and back
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u206a-\u206f"
    "\u3164\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"  # not seen
    "\ufe00-\ufe0d\U000e0000-\U000e0fff"  # tags and selectors, which can spell a hidden text
    "\ud800-\udfff"  # half characters, and undecodable bytes as Python keeps them
    f"{_INTRODUCER}]"
)
_ESCAPED = re.compile(rf"{_INTRODUCER}\{{([0-9a-f]{{1,6}})\}}")


def escape(text: str) -> str:
    """Return `text` on one line, without invisible characters; `unescape` reverses it."""
    return _HARMFUL.sub(lambda found: f"{_INTRODUCER}{{{ord(found.group()):x}}}", text)


def unescape(text: str) -> str:
    """Return the original text; sequences that `escape` never writes stay as they are."""
    return _ESCAPED.sub(_decoded, text) if _INTRODUCER in text else text


def shorten(text: str, length: int) -> str:
    """Return the escaped text, cut to `length` characters with an ellipsis as its last."""
    line = escape(text)
    return line if len(line) <= length else f"{line[: length - 1]}…"


def _decoded(found: re.Match[str]) -> str:
    code = int(found.group(1), 16)
    character = chr(code) if code <= 0x10FFFF else ""  # noqa: PLR2004 - the last of Unicode
    return character if escape(character) == found.group() else found.group()
