"""Results inside an article, between markers that stay there (`harness.report.markers`).

An article is filled whole or not at all: every marker that cannot be filled is told, with its line,
and nothing is written. What is filled in never comes to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path

from harness import atomic
from harness.errors import InputError, Problem
from harness.reading import read_regular_file
from harness.records import record
from harness.report import clean
from harness.report.markers import Marker, lines_of, markers

PLOT_MARK = "<!-- harness:"  # in the first line of every plot that lies beside an article


@record
class Excerpt:
    """What stands for a marker.

    Attributes:
        text: for the article, in its own format.
        files: name -> content of what the text refers to; the folder is the article's.
    """

    text: str
    files: Mapping[str, str] = field(default_factory=dict)


# what stands for a marker, or None to leave its text as it is; raises InputError without a line
Fill = Callable[[Marker], Excerpt | None]


@record
class StaleLine:
    """A place in an article that says something else than the results.

    Attributes:
        line: 1-based.
        says: what stands there.
        true: what should.
        words: the marker's.
    """

    line: int
    says: str
    true: str
    words: str

    def __str__(self) -> str:
        return f"{self.line}: says {self.says}, is {self.true} (harness:{self.words})"


def read_article(article: Path) -> str:
    """Return the text of an article, its line ends as they are.

    Raises:
        InputError: it cannot be read, or is not UTF-8.
    """
    try:
        return read_regular_file(article).decode("utf-8")
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        message = "is not UTF-8"
    raise InputError([Problem(message=message, path=article)])


def splice(
    article: Path, fill: Fill, before_writing: Callable[[Path], None] = lambda _: None
) -> bool:
    """Put the results into an article, whole or not at all; an unchanged file stays untouched.

    Args:
        article: the file.
        fill: finds what stands for a marker.
        before_writing: may still refuse, by an `InputError`.

    Returns:
        Whether the article, or a file that it shows, changed.

    Raises:
        InputError: see `markers.markers`; or a marker cannot be filled. All of them.
    """
    text = read_article(article)
    filled = _filled(article, text, fill)
    parts, at, changed = [], 0, False
    for marker, excerpt in filled:
        parts += [text[at : marker.start], _between(text, marker, excerpt)]
        at = marker.end
    new = "".join([*parts, text[at:]])
    before_writing(article)
    for path, content in _files(article, filled):
        if not _is_file_with(path, content):
            atomic.write_text(path, content)
            changed = True
    if new != text:
        atomic.write_text(article, new)
    return changed or new != text


def stale(article: Path, fill: Fill) -> tuple[StaleLine, ...]:
    """Return what an article says that the results do not; changes nothing.

    Raises:
        InputError: see `splice`.
    """
    text = read_article(article)
    filled = _filled(article, text, fill)
    found = [each for marker, excerpt in filled for each in _differences(text, marker, excerpt)]
    for marker, excerpt in filled:
        for name, content in excerpt.files.items():
            if not _is_file_with(article.parent / name, content):
                true = "another plot"
                found.append(_difference(marker, marker.line, f"the file {name}", true))
    return tuple(sorted(found, key=lambda each: each.line))


def _filled(article: Path, text: str, fill: Fill) -> list[tuple[Marker, Excerpt]]:
    """Return the markers that are to be filled, and with what; of all that cannot be, why."""
    filled: list[tuple[Marker, Excerpt]] = []
    problems: list[Problem] = []
    for marker in markers(article, text):
        try:
            excerpt = fill(marker)
        except InputError as error:
            problems += [_here(each, article, marker) for each in error.problems]
            continue
        if excerpt is not None:
            filled.append((marker, excerpt))
    owners: dict[str, Marker] = {}
    for marker, excerpt in filled:
        for name, content in excerpt.files.items():
            if _is_foreign(article.parent / name):
                message = f"{name} is there, and no plot of the harness"
                problems.append(_here(Problem(message=message), article, marker))
            other = owners.setdefault(name, marker)
            if other is not marker and content != dict(filled)[other].files[name]:
                message = f"{name} is the file of the plot at line {other.line} already"
                problems.append(_here(Problem(message=message), article, marker))
    if problems:
        raise InputError(problems)
    return filled


def _here(problem: Problem, article: Path, marker: Marker) -> Problem:
    if problem.path is not None:  # a file of the scenario or of the results
        message = f"{problem.place}: {problem.message}"
        return replace(problem, message=message, path=article, line=marker.line, column=None)
    return replace(problem, path=article, line=marker.line)


def _between(text: str, marker: Marker, excerpt: Excerpt) -> str:
    """Return what stands between two markers: of a figure with the space that was around it."""
    if marker.is_inline:
        old = text[marker.start : marker.end]
        if not old.strip():
            return excerpt.text
        lead = old[: len(old) - len(old.lstrip())]
        return lead + excerpt.text + old[len(old.rstrip()) :]
    ending = "\r\n" if "\r\n" in text else "\n"
    return f"\n{excerpt.text}\n".replace("\n", ending)


def _files(article: Path, filled: Sequence[tuple[Marker, Excerpt]]) -> Iterator[tuple[Path, str]]:
    for _, excerpt in filled:
        for name, content in excerpt.files.items():
            yield article.parent / name, content


def _is_file_with(path: Path, content: str) -> bool:
    try:
        return read_regular_file(path) == content.encode()
    except OSError:
        return False


def _is_foreign(path: Path) -> bool:
    """Say whether a file is there that no plot of ours may replace."""
    try:
        content = read_regular_file(path)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return PLOT_MARK.encode() not in content[:200]


# --- what is stale --------------------------------------------------------------------------------


def _differences(text: str, marker: Marker, excerpt: Excerpt) -> Iterator[StaleLine]:
    """Yield each line that is not as the results have it; of a table the fields that are not."""
    old, new = text[marker.start : marker.end], _between(text, marker, excerpt)
    if old == new:
        return
    first = text.count("\n", 0, marker.start) + 1
    if marker.is_inline:
        lead = len(old) - len(old.lstrip())
        line = first + (old.count("\n", 0, lead) if old.strip() else 0)
        yield _difference(marker, line, old.strip() or "nothing", new.strip())
        return
    were, are = lines_of(old), lines_of(new)
    if len(were) != len(are):
        number = next(
            (at for at, (one, other) in enumerate(zip(were, are, strict=False)) if one != other),
            min(len(were), len(are)),
        )
        pair = (each[number] if number < len(each) else "" for each in (were, are))
        says, true = (each.strip() or "nothing" for each in pair)
        yield _difference(marker, first + number, says, true)
        return
    for number, (says, true) in enumerate(zip(were, are, strict=True)):
        if says != true:
            yield _difference(marker, first + number, *_fields(says, true))


def _fields(says: str, true: str) -> tuple[str, str]:
    """Return the fields in which two lines of a table differ; of other text all of both."""
    old, new = ([each.strip() for each in line.split("|")] for line in (says, true))
    differing = [at for at in range(len(new)) if len(old) == len(new) and old[at] != new[at]]
    if not differing:  # only the space between them
        return says.strip() or "nothing", true.strip() or "nothing"
    old_text, new_text = ("; ".join(row[at] for at in differing) for row in (old, new))
    return old_text or "nothing", new_text or "nothing"


def _difference(marker: Marker, line: int, says: str, true: str) -> StaleLine:
    words = marker.words.removeprefix("harness:")
    return StaleLine(
        line=line, says=clean.brief(says), true=clean.brief(true), words=clean.brief(words)
    )
