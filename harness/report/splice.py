"""Tables inside an article, between markers that stay there.

::

    <!-- harness:a19 cells cpu -->
    ... replaced by the table ...
    <!-- /harness -->

A marker is alone on its line and names a scenario, what to show and a profile. Markers inside
fenced code are examples, and left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from harness import atomic
from harness.errors import InputError, Problem, unknown
from harness.reading import read_regular_file
from harness.records import Profile, record
from harness.report.cells import cells_table, rows_tables
from harness.report.dossier import ScenarioReport
from harness.report.ledger import ledger_table
from harness.report.render import render_markdown

_COMMENT = re.compile(r"\s*<!--\s*(/?\s*harness\b.*?)\s*-->\s*")
_OPENING = re.compile(r"harness:(\S+)\s+(\S+)\s+(\S+)")
_CLOSING = re.compile(r"/\s*harness")
_FENCE = re.compile(r"\s*(`{3,}|~{3,})(.*)")
_WANTED = "harness:SCENARIO TABLE PROFILE, or /harness"


class Shown(StrEnum):
    """What a marker asks for."""

    CELLS = "cells"
    ROWS = "rows"
    LEDGER = "ledger"


@record
class Marker:
    """A pair of markers.

    Attributes:
        scenario: as written: a scenario's id, or its part before the first dash.
        line: of the opening marker, 1-based.
        end: of the closing marker.
    """

    scenario: str
    shown: Shown
    profile: Profile
    line: int
    end: int


Words = tuple[str, str, str]  # scenario, what to show, profile: as written

# the Markdown for a marker, or None to leave the text as it is
Fill = Callable[[Marker], str | None]


def block(dossier: ScenarioReport, shown: Shown) -> str:
    """Return the Markdown that a marker stands for."""
    if shown is Shown.CELLS:
        return render_markdown(cells_table(dossier), level=None)
    if shown is Shown.LEDGER:
        return render_markdown(ledger_table(dossier), level=None)
    return "\n".join(render_markdown(table, level=None) for table in rows_tables(dossier))


def find_markers(article: Path) -> tuple[Marker, ...]:
    """Return every pair of markers in an article.

    Raises:
        InputError: the file cannot be read, has no marker, or has one that is misspelt, unclosed,
            stray or there twice; all of them, with their lines.
    """
    return _markers(article, _read(article))


def splice(article: Path, fill: Fill) -> bool:
    """Put the tables into an article, whole or not at all; an unchanged file stays untouched.

    Returns:
        Whether the article changed.

    Raises:
        InputError: see `find_markers`.
    """
    text = _read(article)
    lines = _lines(text)
    for marker in reversed(_markers(article, text)):  # from the end: earlier lines keep their place
        new = _block_lines(marker, fill, _ending(text))
        if new is not None:
            lines[marker.line : marker.end - 1] = [new]
    filled = "".join(lines)
    if filled != text:
        atomic.write_text(article, filled)
    return filled != text


def stale(article: Path, fill: Fill) -> tuple[Marker, ...]:
    """Return the markers whose tables are out of date; changes nothing.

    Raises:
        InputError: see `find_markers`.
    """
    text = _read(article)
    lines = _lines(text)
    return tuple(
        marker
        for marker in _markers(article, text)
        if (new := _block_lines(marker, fill, _ending(text))) is not None
        and "".join(lines[marker.line : marker.end - 1]) != new
    )


def _block_lines(marker: Marker, fill: Fill, ending: str) -> str | None:
    """Return the text between two markers: the table with a blank line on each side."""
    markdown = fill(marker)
    return None if markdown is None else f"\n{markdown}\n".replace("\n", ending)


def _ending(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _read(article: Path) -> str:
    try:
        return read_regular_file(article).decode("utf-8")  # as bytes: line ends are the author's
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        message = "is not UTF-8"
    raise InputError([Problem(message=message, path=article)])


def _markers(article: Path, text: str) -> tuple[Marker, ...]:
    pairs, problems = _pairs(article, text)
    markers: dict[Words, Marker] = {}
    for line, end, words in pairs:
        if found := [*_word_problems(article, line, words)]:
            problems += found
        elif words in markers:
            message = f"is already at line {markers[words].line}"
            problems.append(_problem(article, line, message, " ".join(words)))
        else:
            scenario, shown, profile = words
            markers[words] = Marker(
                scenario=scenario, shown=Shown(shown), profile=Profile(profile), line=line, end=end
            )
    if not pairs and not problems:
        problems = [Problem(message="has no marker", path=article, allowed=f"<!-- {_WANTED} -->")]
    if problems:
        raise InputError(sorted(problems, key=lambda problem: problem.line or 0))
    return tuple(markers.values())


def _pairs(article: Path, text: str) -> tuple[list[tuple[int, int, Words]], list[Problem]]:
    """Return (opening line, closing line, words) of every closed pair, and the mistakes."""
    pairs: list[tuple[int, int, Words]] = []
    problems: list[Problem] = []
    opened: tuple[int, Words] | None = None
    for line, comment in _comments(text):
        opening = _OPENING.fullmatch(comment)
        closing = _CLOSING.fullmatch(comment)
        if not opening and not closing:
            problems.append(_problem(article, line, "is misspelt", comment, allowed=_WANTED))
        if closing and opened is None:
            problems.append(_problem(article, line, "closes no marker", comment))
        if opening and opened is not None:
            problems.append(_unclosed(article, *opened))
        if closing and opened is not None:
            pairs.append((opened[0], line, opened[1]))
            opened = None
        if opening:
            opened = line, (opening[1], opening[2], opening[3])
    if opened is not None:
        problems.append(_unclosed(article, *opened))
    return pairs, problems


def _comments(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line, words) of every comment that begins like a marker, fenced code aside."""
    fence = ""
    for line, content in enumerate(_lines(text), 1):
        mark = _FENCE.fullmatch(content.rstrip("\r\n"))
        if fence:
            if mark and mark[1].startswith(fence) and not mark[2].strip():
                fence = ""
        elif mark:
            fence = mark[1]
        elif comment := _COMMENT.fullmatch(content):
            yield line, comment[1]


def _word_problems(article: Path, line: int, words: Words) -> Iterator[Problem]:
    _, shown, profile = words
    tables, profiles = [each.value for each in Shown], [each.value for each in Profile]
    if shown not in tables:
        yield replace(unknown("table", shown, tables, path=article), line=line)
    if profile not in profiles:
        yield replace(unknown("profile", profile, profiles, path=article), line=line)


def _unclosed(article: Path, line: int, words: Words) -> Problem:
    return _problem(article, line, "is not closed", " ".join(words), allowed="<!-- /harness -->")


def _problem(article: Path, line: int, message: str, value: str, allowed: str = "") -> Problem:
    return Problem(
        message=f"marker {message}", path=article, line=line, value=repr(value), allowed=allowed
    )


def _lines(text: str) -> list[str]:
    """Return the lines with their ends; only LF ends one, as in editors."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)
