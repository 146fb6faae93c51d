"""Whether a regex can match at all, shown by a text that it matches.

No general answer is quick, so a text is built from the pattern's own parse tree and tried: if the
pattern finds itself in it, it can match. That "no" may be wrong only for patterns that look around
or refer back in ways the builder does not follow; those in tasks are literals, classes and anchors.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator
from itertools import islice, product
from typing import Any

from harness.workloads.clawgym.task import compiled

_parse: Callable[[str], Any] = re._parser.parse  # type: ignore[attr-defined] # noqa: SLF001 - the only parser there is
_TRIED = 256  # texts, before a pattern is given up
_LONGEST = 100_000  # letters of a repeat
_CATEGORIES = {
    "CATEGORY_DIGIT": re.compile(r"\d"),
    "CATEGORY_NOT_DIGIT": re.compile(r"\D"),
    "CATEGORY_SPACE": re.compile(r"\s"),
    "CATEGORY_NOT_SPACE": re.compile(r"\S"),
    "CATEGORY_WORD": re.compile(r"\w"),
    "CATEGORY_NOT_WORD": re.compile(r"\W"),
}


def satisfiable(regex: str) -> bool:
    """Whether some text matches `regex` as the grader searches it."""
    pattern = compiled(regex)
    if pattern is None:
        return False
    return any(pattern.search(text) for text in islice(_texts(_parse(regex), {}), _TRIED))


def _texts(tree: Any, groups: dict[int, str]) -> Iterator[str]:
    """Yield texts for a sequence of parsed items; a few choices of each, combined."""
    choices = [list(islice(_choices(name, value, groups), 4)) for name, value in tree]
    yield from ("".join(parts) for parts in product(*choices))


def _choices(  # noqa: C901, PLR0912 - the closed list of what a regex is made of
    name: Any, value: Any, groups: dict[int, str]
) -> Iterator[str]:
    match str(name):
        case "LITERAL":
            yield chr(value)
        case "NOT_LITERAL":
            yield "b" if chr(value) == "a" else "a"
        case "ANY":
            yield "a"
        case "IN":
            yield _member(value)
        case "BRANCH":
            for branch in value[1]:
                yield from islice(_texts(branch, groups), 2)
        case "SUBPATTERN":
            number, *_, tree = value
            for text in _texts(tree, groups):
                groups[number] = text
                yield text
        case "GROUPREF":
            yield groups.get(value, "")
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            low, _, tree = value
            for text in islice(_texts(tree, groups), 2):
                yield from (
                    text * times for times in (low, low + 1) if len(text) * times < _LONGEST
                )
        case "ATOMIC_GROUP":
            yield from _texts(value, groups)
        case "AT":
            yield from ("", "\n", " ")
        case "ASSERT":
            yield ""
            yield from _texts(value[1], groups)
        case _:  # what must not follow is left out
            yield ""


def _member(items: Any) -> str:
    """Return a letter of a class; a printable one where there is one."""
    own = [chr(value if name == "LITERAL" else value[0]) for name, value in _named(items)]
    letters = (*string.printable, *own)
    return next((letter for letter in letters if _holds(items, letter)), "")


def _named(items: Any) -> list[tuple[str, Any]]:
    return [(str(name), value) for name, value in items if str(name) in {"LITERAL", "RANGE"}]


def _holds(items: Any, letter: str) -> bool:
    code, inside, negated = ord(letter), False, False
    for name, value in items:
        match str(name):
            case "NEGATE":
                negated = True
            case "LITERAL":
                inside |= code == value
            case "RANGE":
                inside |= value[0] <= code <= value[1]
            case _:
                inside |= _CATEGORIES[str(value)].match(letter) is not None
    return inside is not negated
