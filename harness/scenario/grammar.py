"""What the YAML parser found, in words that say what to mend and where."""

from __future__ import annotations

from pathlib import Path

import yaml

from harness.errors import Problem

_INDENT = "this is indented differently from the lines above it"
_WORDS = {
    "could not find expected ':'": "a key needs ': ' after it",
    "mapping values are not allowed in this context": (
        "': ' is not expected here: mend the indentation, or quote text that holds it"
    ),
    "block sequence entries are not allowed in this context": (
        "'- ' is not expected here: start a list on its own line"
    ),
    "found unexpected end of stream": "the quote is not closed",
    "did not find expected key": f"expected a key; {_INDENT}, or a quote ended too early",
    "did not find expected '-' indicator": f"expected '- '; {_INDENT}",
    "did not find expected ',' or ']'": "expected ',' or ']'",
    "did not find expected ',' or '}'": "expected ',' or '}'",
    "did not find expected <document start>": "the file's one document ended above",
    "did not find expected node content": "expected a value",
}
# the mistake is where the thing begins, not where the parser gave up
_AT_ITS_BEGINNING = ("could not find expected ':'", "found unexpected end of stream")


def yaml_problem(error: yaml.MarkedYAMLError, text: str, path: Path) -> Problem:
    """Return the problem for what the parser found in `text`."""
    mark, found = error.problem_mark, error.problem or ""
    begins = error.context_mark
    assert mark is not None
    words = _words(found, text, mark)
    if begins is not None and found in _AT_ITS_BEGINNING:
        mark = begins
    elif begins is not None and "flow" in (error.context or ""):
        if mark.line >= len(text.rstrip().splitlines()):
            mark, words = begins, "the bracket is not closed"
        elif begins.line < mark.line:
            words += f" in what the bracket on line {begins.line + 1} begins"
    lines = text.splitlines()
    if mark.line < len(lines):
        line, column = mark.line + 1, mark.column + 1
    else:  # the parser reports the end on an extra line
        line, column = len(lines), len(lines[-1]) + 1
    return Problem(message=f"YAML: {words}", path=path, line=line, column=column)


def _words(found: str, text: str, mark: yaml.Mark) -> str:
    if "tab character" in found or found == "found character that cannot start any token":
        character = text.splitlines()[mark.line][mark.column]
        if character == "\t":
            return "a tab cannot indent: use spaces"
        return f"text that begins with {character} must be in quotes"
    return _WORDS.get(found, found)
