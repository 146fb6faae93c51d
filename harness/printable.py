"""Text from elsewhere, made harmless for a terminal.

Names, causes and log lines come from programs that a benchmark runs, so they may hold escapes that
set a window's title, write to the clipboard or clear the screen.
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


def plain(text: str) -> str:
    """Return `text` on one line, without escapes, controls or direction overrides."""
    return " ".join(printable(text).split())


def printable(text: str) -> str:
    """Return `text` as `plain` does, but with its spaces as they are, as a line of a log needs."""
    if text.isprintable():  # nearly always: the rest is not printable
        return text
    spaced = _SPACES.sub(" ", _ESCAPES.sub("", text))
    return "".join(_seen(character) for character in spaced)


def printable_lines(text: str) -> str:
    """Return `text` with each of its lines as `printable` gives it."""
    return "\n".join(map(printable, text.split("\n")))


def _seen(character: str) -> str:
    return _REPLACEMENT if unicodedata.category(character) in _UNSEEN else character
