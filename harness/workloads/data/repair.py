"""Mending text that was decoded wrongly: what NeMo Curator's UnicodeReformatter asks of ftfy.

How it departs from ftfy: mojibake is looked for in whole lines only, in the two encodings that make
most of it, and a line that can be read again as UTF-8 counts as mojibake without a look at how
plausible its letters are. ftfy also mends fragments, bytes that were lost, and five more encodings.
Entities, terminal escapes, C1 controls, surrogates and control characters are mended alike.
"""

from __future__ import annotations

import html
import html.entities
import operator
import re
from itertools import accumulate

_ENTITY = re.compile(r"&#?[0-9A-Za-z]{1,24};")
_TERMINAL_ESCAPE = re.compile(r"\x1b\[[\d;]*[a-zA-Z]")
_C1_CONTROL = re.compile(r"[\x80-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]")
_CONTROL_CLASS = r"\x00-\x08\x0b\x0e-\x1f\x7f\u206a-\u206f\ufeff\ufff9-\ufffc"
_CONTROL = re.compile(f"[{_CONTROL_CLASS}]")
_C1_CODES = range(0x80, 0xA0)


def _windows_1252() -> dict[int, int]:
    """Return character -> byte of Windows-1252; its five empty places hold the C1 control."""
    characters = [bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in _C1_CODES]
    return {ord(each): byte for each, byte in zip(characters, _C1_CODES, strict=True)}


_TO_BYTE = _windows_1252()
_FROM_BYTE = {byte: character for character, byte in _TO_BYTE.items()}
# a first byte of UTF-8 and one that follows it, each read as a separate character
_MISREAD = "[\xc2-\xf4][\x80-\xbf" + re.escape("".join(map(chr, _TO_BYTE))) + "]"
_SUSPECT = re.compile(f"[&\x80-\x9f\ud800-\udfff{_CONTROL_CLASS}]|{_MISREAD}")


def repair(text: str) -> str:
    """Return the text, repaired line by line until nothing changes.

    As in ftfy, entities are left alone from the first line on that has a literal ``<``: that text
    is HTML, and means them.
    """
    if not _SUSPECT.search(text):
        return text
    lines = text.split("\n")
    is_html = accumulate(("<" in line for line in lines), operator.or_)
    return "\n".join(
        _mended(line, entities=not markup) for line, markup in zip(lines, is_html, strict=True)
    )


def _mended(line: str, *, entities: bool) -> str:
    before = None
    while line != before:
        before = line
        if entities:
            line = _ENTITY.sub(_unescape, line)
        line = _TERMINAL_ESCAPE.sub("", line)
        if not line.isascii():
            line = _read_again(line)
            line = _C1_CONTROL.sub(lambda found: chr(_FROM_BYTE[ord(found.group())]), line)
            line = _SURROGATE.sub(_joined, line)
        line = _CONTROL.sub("", line)
    return line


def _unescape(entity: re.Match[str]) -> str:
    name = entity.group()
    if name.startswith("&#") or name[1:] in html.entities.html5:
        return html.unescape(name)
    lower = name.lower()[1:]
    return html.entities.html5.get(lower, name).upper() if name.isupper() else name


def _read_again(line: str) -> str:
    """Return what a line says that was UTF-8 and was read as Latin-1 or Windows-1252."""
    for encoded in (line, line.translate(_TO_BYTE)):
        try:
            return encoded.encode("latin-1").decode("utf-8")
        except UnicodeError:
            continue
    return line


def _joined(surrogates: re.Match[str]) -> str:
    return surrogates.group().encode("utf-16", "surrogatepass").decode("utf-16", "replace")
