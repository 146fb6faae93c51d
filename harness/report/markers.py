"""Markers: the comments in an article that say which results stand between them.

::

    <!-- harness:a34 headline cpu -->
    ... replaced by the table ...
    <!-- /harness -->

    GRPO passes <!-- harness:a34 figure printed.assertions.grpo-34 .1f -->49.9<!-- /harness --> %.

A marker of a table, a plot or a list is alone on its line; one of a figure stands in a sentence.
In MyST a line ``% harness:...`` and a line ``% /harness`` do as well. Markers in code are examples,
and left alone. The words are split as a shell splits them.
"""

from __future__ import annotations

import re
import shlex
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from enum import StrEnum
from pathlib import Path

from harness.errors import InputError, Problem, unknown
from harness.reading import shown as cut
from harness.records import Profile, record

HTML_SUFFIXES = frozenset({".html", ".htm", ".xhtml"})
CLOSING = "<!-- /harness -->"
_BEGINNING = re.compile(r"<!--[ \t]*(?=/?[ \t]*harness\b)")
# up to the next comment and bounded, so that a megabyte of beginnings is read in a second
_COMMENT = re.compile(r"<!--[ \t]*(/?[ \t]*harness\b[^\n<]{0,2000}?)[ \t]*-->")
_MYST = re.compile(r"^[ \t]*%[ \t]*(harness:[^\n]*?|/[ \t]*harness)[ \t]*\r?$", re.MULTILINE)
_CLOSES = re.compile(r"/[ \t]*harness")
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})(.*)")
_BACKTICKS = re.compile(r"(?<!\\)(?:\\\\)*(`+)|(\n[ \t]*\r?\n)")
_HTML_CODE = re.compile(r"<(script|style|textarea|title)\b", re.IGNORECASE)
_FORMAT = re.compile(r"[ +]?,?(\.\d{1,2})?[defg%]")


class Shown(StrEnum):
    """What a marker asks for."""

    CELLS = "cells"
    ROWS = "rows"
    LEDGER = "ledger"
    HEADLINE = "headline"
    PLOT = "plot"
    ERRORS = "errors"
    FIGURE = "figure"


class Of(StrEnum):
    """Which number of a claim a figure is."""

    MEASURED = "measured"
    CLAIMED = "claimed"
    RECORDED = "recorded"
    DERIVED = "derived"
    TRUE = "true"  # derived, else recorded


# what follows the scenario and the kind; square brackets: may be left out
_USAGE = {
    Shown.CELLS: "cells PROFILE [columns=A,B] [COLUMN=VALUE,...]",
    Shown.ROWS: "rows PROFILE [columns=A,B] [COLUMN=VALUE,...]",
    Shown.LEDGER: "ledger PROFILE [columns=A,B] [COLUMN=VALUE,...]",
    Shown.HEADLINE: "headline PROFILE",
    Shown.PLOT: "plot NAME PROFILE [path=FILE.svg] [alt=TEXT]",
    Shown.ERRORS: "errors",
    Shown.FIGURE: "figure ID [FORMAT] [of=...] [unit=...] [profile=...] [KEY=VALUE]",
}
_POSITIONS = {  # how many words without an equals sign: at least, at most
    Shown.PLOT: (2, 2),
    Shown.ERRORS: (0, 0),
    Shown.FIGURE: (1, 2),
}
_OPTIONS = {  # those that do not choose rows; None: every other one does
    Shown.CELLS: None,
    Shown.ROWS: None,
    Shown.LEDGER: None,
    Shown.HEADLINE: (),
    Shown.PLOT: ("path", "alt"),
    Shown.ERRORS: (),
    Shown.FIGURE: None,
}
RESERVED = ("columns", "path", "alt", "of", "unit", "profile")
WANTED = "harness:SCENARIO WHAT ..., or /harness"


@record
class Marker:
    """A pair of markers.

    Attributes:
        scenario: as written: a scenario's id, or its part before the first dash.
        profile: None where none is named.
        name: of a figure its claim or metric, of a plot its file's name.
        format: of a figure, for Python's `format`; empty for what is usual.
        options: every ``key=value``, in the order written.
        line: of the opening marker, 1-based.
        start: offset of the first character between the two.
        end: offset of the closing marker, or of its line.
        words: the opening as written.
    """

    scenario: str
    shown: Shown
    profile: Profile | None = None
    name: str = ""
    format: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    line: int
    start: int
    end: int
    words: str

    @property
    def is_inline(self) -> bool:
        """Whether it stands inside a sentence."""
        return self.shown is Shown.FIGURE

    @property
    def rows(self) -> dict[str, tuple[str, ...]]:
        """The columns or row keys that choose rows, and their values."""
        chosen = {key: each for key, each in self.options.items() if key not in RESERVED}
        return {key: tuple(each.split(",")) for key, each in chosen.items()}


def markers(article: Path, text: str) -> tuple[Marker, ...]:
    """Return every pair of markers in the text of an article.

    Raises:
        InputError: there is none, or one is misspelt, unclosed, stray or not on a line of its own;
            all of them, with their lines.
    """
    pairs, problems = _pairs(article, text)
    found = []
    for opening, closing in pairs:
        try:
            found.append(_marker(article, text, opening, closing))
        except InputError as error:
            problems += error.problems
    if not pairs and not problems:
        example = f"<!-- {WANTED} -->"
        problems = [Problem(message="has no marker", path=article, allowed=example)]
    if problems:
        raise InputError(problems)
    return tuple(found)


@record
class _Comment:
    """A comment that begins like a marker: its words, its first character and the one after it."""

    words: str
    start: int
    end: int
    line: int


def _pairs(article: Path, text: str) -> tuple[list[tuple[_Comment, _Comment]], list[Problem]]:
    pairs: list[tuple[_Comment, _Comment]] = []
    problems: list[Problem] = []
    opened: _Comment | None = None
    for comment in _comments(article, text):
        is_opening = comment.words.startswith("harness:")
        is_closing = bool(_CLOSES.fullmatch(comment.words))
        if not comment.end:
            problems.append(_problem(article, comment, "does not end on its line", "-->"))
            continue
        if not is_opening and not is_closing:
            problems.append(_problem(article, comment, "is misspelt", WANTED))
            continue
        if is_closing and opened is None:
            problems.append(_problem(article, comment, "closes no marker"))
        elif is_closing and opened is not None:
            pairs.append((opened, comment))
            opened = None
        else:
            if opened is not None:
                problems.append(_problem(article, opened, "is not closed", CLOSING))
            opened = comment
    if opened is not None:
        problems.append(_problem(article, opened, "is not closed", CLOSING))
    return pairs, problems


def _comments(article: Path, text: str) -> Iterator[_Comment]:
    """Yield every comment that begins like a marker, code aside; without an end, `end` is 0."""
    is_html = article.suffix.lower() in HTML_SUFFIXES
    seen = _without_scripts(text) if is_html else _without_code(text)
    found = {each.start(): each for each in _COMMENT.finditer(seen)}
    if not is_html:
        found |= {each.start(): each for each in _MYST.finditer(seen)}
    starts = sorted({*found, *(each.start() for each in _BEGINNING.finditer(seen))})
    ends = [each.start() for each in re.finditer("\n", text)]
    for start in starts:
        line = bisect_right(ends, start - 1) + 1
        if match := found.get(start):
            yield _Comment(words=match[1], start=start, end=match.end(), line=line)
        else:
            rest = text[start : start + 200].partition("\n")[0]
            yield _Comment(words=rest, start=start, end=0, line=line)


# --- code, which holds examples -------------------------------------------------------------------


def _without_code(text: str) -> str:
    """Return Markdown with spaces in place of fenced code and code spans, every offset the same."""
    lines, fence = [], ""
    for line in lines_of(text):
        mark = _FENCE.fullmatch(line.rstrip("\r\n"))
        was_code = bool(fence)
        if fence:
            if mark and mark[1].startswith(fence) and not mark[2].strip():
                fence = ""
        elif mark and not (mark[1][0] == "`" and "`" in mark[2]):
            fence = mark[1]
        lines.append(_blank(line) if was_code or fence else line)
    seen = "".join(lines)
    return _covered(seen, _code_spans(seen))


def _code_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans between equal runs of backticks within a paragraph."""
    runs: list[tuple[int, int]] = []  # start and length
    for match in [*_BACKTICKS.finditer(text), None]:
        if match is not None and match[1]:
            runs.append((match.start(1), len(match[1])))
            continue
        yield from _matched(runs)
        runs = []


def _matched(runs: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    places: dict[int, list[int]] = {}
    for index, (_, length) in enumerate(runs):
        places.setdefault(length, []).append(index)
    index = 0
    while index < len(runs):
        start, length = runs[index]
        later = places[length]
        at = bisect_right(later, index)
        if at < len(later):
            index = later[at]
            yield start, runs[index][0] + length
        index += 1


def _without_scripts(text: str) -> str:
    """Return HTML with spaces in place of elements whose text is not read as HTML."""
    spans, at, lower = [], 0, text.lower()
    while match := _HTML_CODE.search(text, at):
        end = lower.find(f"</{match[1].lower()}", match.end())
        at = len(text) if end < 0 else end
        spans.append((match.start(), at))
    return _covered(text, spans)


def _covered(text: str, spans: Iterator[tuple[int, int]] | Sequence[tuple[int, int]]) -> str:
    parts, at = [], 0
    for start, end in spans:
        parts += [text[at:start], _blank(text[start:end])]
        at = end
    return "".join([*parts, text[at:]])


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


def lines_of(text: str) -> list[str]:
    """Return the lines with their ends; only LF ends one, as in editors."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


# --- the words of a marker ------------------------------------------------------------------------


def _marker(article: Path, text: str, opening: _Comment, closing: _Comment) -> Marker:
    try:
        head, *words = shlex.split(opening.words)
    except ValueError:  # a quotation mark that is not closed
        raise InputError([_problem(article, opening, "has an open quotation", WANTED)]) from None
    scenario = head.removeprefix("harness:")
    if not scenario or not words:
        raise InputError([_problem(article, opening, "is misspelt", WANTED)])
    kinds = [each.value for each in Shown]
    if words[0] not in kinds:
        raise _at(article, opening, unknown("thing to show", words[0], kinds))
    shown = Shown(words[0])
    marker = Marker(
        scenario=scenario,
        shown=shown,
        line=opening.line,
        start=opening.end,
        end=closing.start,
        words=opening.words,
        options=dict(each.split("=", 1) for each in words[1:] if "=" in each),
    )
    marker = _with_positions(
        article, opening, marker, [each for each in words[1:] if "=" not in each]
    )
    _check_options(article, opening, marker)
    return marker if marker.is_inline else _on_lines(article, text, marker, opening, closing)


def _with_positions(
    article: Path, opening: _Comment, marker: Marker, given: Sequence[str]
) -> Marker:
    """Return the marker with what its words say by their place."""
    least, most = _POSITIONS.get(marker.shown, (1, 1))
    if not least <= len(given) <= most:
        usage = f"harness:{marker.scenario} {_USAGE[marker.shown]}"
        raise InputError([_problem(article, opening, "is misspelt", usage)])
    if marker.shown is Shown.FIGURE:
        marker = replace(marker, name=given[0], format=given[1] if len(given) > 1 else "")
        if marker.format and not _FORMAT.fullmatch(marker.format):
            allowed = "such as .1f, ,.0f, d, .3g, .2e, .1%"
            raise InputError([_problem(article, opening, "has no such format", allowed)])
        given = [marker.options["profile"]] if "profile" in marker.options else []
    elif marker.shown is Shown.PLOT:
        marker, given = replace(marker, name=given[0]), given[1:]
    profiles = [each.value for each in Profile]
    for word in given:
        if word not in profiles:
            raise _at(article, opening, unknown("profile", word, profiles))
        marker = replace(marker, profile=Profile(word))
    return marker


def _check_options(article: Path, opening: _Comment, marker: Marker) -> None:
    known = _OPTIONS[marker.shown]
    for key in marker.options:
        if known is not None and key not in known:
            raise _at(article, opening, unknown("option", key, known))
    of, kinds = marker.options.get("of", Of.TRUE), [each.value for each in Of]
    if marker.shown is Shown.FIGURE and of not in kinds:
        raise _at(article, opening, unknown("number of a claim", of, kinds))


def _on_lines(
    article: Path, text: str, marker: Marker, opening: _Comment, closing: _Comment
) -> Marker:
    """Return the marker with all lines between its own as what it holds."""
    for one in (opening, closing):
        line_start = text.rfind("\n", 0, one.start) + 1
        line_end = text.find("\n", one.end)
        rest = text[one.end : None if line_end < 0 else line_end]
        if text[line_start : one.start].strip() or rest.strip():
            message = f"stands inside a line; {marker.shown} need lines of their own"
            raise InputError([_problem(article, one, message)])
    return replace(
        marker,
        start=text.index("\n", opening.end) + 1,
        end=text.rfind("\n", 0, closing.start) + 1,
    )


def _at(article: Path, comment: _Comment, problem: Problem) -> InputError:
    return InputError([replace(problem, path=article, line=comment.line)])


def _problem(article: Path, comment: _Comment, message: str, allowed: str = "") -> Problem:
    return Problem(
        message=f"marker {message}",
        path=article,
        line=comment.line,
        value=cut(comment.words),
        allowed=allowed,
    )
