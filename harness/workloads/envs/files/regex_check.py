"""Whether a regex can match at all, shown by a text that it matches; and whether it can stall.

No general answer is quick, so texts are built from the pattern's own parse tree and tried: if the
pattern finds itself in one, it can match. Where it does not, the answer is "no", unless the pattern
looks around or refers back: the builder follows neither, and they get the benefit of the doubt.

A regex stalls where a repeat can be taken in many ways and what follows it then fails. So every
repeat's own text is written many times over, with a letter after it that no pattern asks for.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator
from itertools import islice, product
from typing import Any

from harness.workloads.envs.files.regex_search import Found, search
from harness.workloads.envs.files.task import compiled

_parse: Callable[[str], Any] = re._parser.parse  # type: ignore[attr-defined] # noqa: SLF001 - the only parser there is
_TRIED = 4096  # texts, before a pattern is given up
_AROUND = tuple(product(("", "a", " ", "\n"), repeat=2))  # what may stand before and after
_LONGEST = 100_000  # letters of a repeat
_AT_ONCE = 64  # texts of one question
_PUMPED = 50  # times a repeat's text; with two ways to take each, more than can be tried
_UNASKED = "\0"
_CATEGORIES = {
    "CATEGORY_DIGIT": re.compile(r"\d"),
    "CATEGORY_NOT_DIGIT": re.compile(r"\D"),
    "CATEGORY_SPACE": re.compile(r"\s"),
    "CATEGORY_NOT_SPACE": re.compile(r"\S"),
    "CATEGORY_WORD": re.compile(r"\w"),
    "CATEGORY_NOT_WORD": re.compile(r"\W"),
}


def satisfiable(regex: str) -> bool:
    """Whether some text matches `regex` as the grader searches it, as far as this can be told."""
    if compiled(regex) is None:
        return False
    tree = _parse(regex)
    texts = islice(_texts(tree), _TRIED)
    while batch := list(islice(texts, _AT_ONCE)):
        tried = [f"{left}{text}{right}" for text in batch for left, right in _AROUND]
        if search(regex, tried) is not Found.NO:
            return True  # also where it takes too long: nobody knows
    return _is_beyond(tree)


def stalls(regex: str) -> bool:
    """Whether some text keeps the search for `regex` going for too long, as far as can be told."""
    if compiled(regex) is None:
        return False
    return search(regex, list(_pumped(_parse(regex)))) is Found.TOO_SLOW


def _pumped(tree: Any) -> Iterator[str]:
    """Yield what leads up to each repeat, the repeat many times over, and what cannot follow."""
    before = ""
    for name, value in tree:
        yield from (f"{before}{text * _PUMPED}{_UNASKED}" for text in _repeated([(name, value)]))
        before += next(_choices(str(name), value), "")


def _repeated(tree: Any) -> Iterator[str]:
    """Yield the texts of all that is repeated, at any depth."""
    for name, value in tree:
        match str(name):
            case "MAX_REPEAT" | "MIN_REPEAT":
                yield from islice(_texts(value[2]), 2)
                yield from _repeated(value[2])
            case "SUBPATTERN":
                yield from _repeated(value[-1])
            case "BRANCH":
                yield from (text for branch in value[1] for text in _repeated(branch))
            case _:
                pass


def _is_beyond(tree: Any) -> bool:
    """Whether a parsed pattern looks around or refers back."""
    shown = repr(tree)
    return any(name in shown for name in ("ASSERT", "GROUPREF"))


def _texts(tree: Any) -> Iterator[str]:
    """Yield texts for a sequence of parsed items; a few choices of each, combined."""
    choices = [list(islice(_choices(str(name), value), 4)) for name, value in tree]
    yield from ("".join(parts) for parts in product(*choices))


def _choices(name: str, value: Any) -> Iterator[str]:
    """Yield texts for one parsed item; nothing for what consumes nothing."""
    match name:
        case "LITERAL":
            yield chr(value)
        case "NOT_LITERAL":
            yield from (letter for letter in "ab " if ord(letter) != value)
        case "ANY":
            yield from "a "
        case "IN":
            yield from _members(value)
        case "BRANCH":
            yield from (text for branch in value[1] for text in islice(_texts(branch), 2))
        case "SUBPATTERN":
            yield from _texts(value[-1])
        case "ATOMIC_GROUP":
            yield from _texts(value)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            low, _, tree = value
            for text in islice(_texts(tree), 2):
                yield from (
                    text * times for times in (low, low + 1) if len(text) * times < _LONGEST
                )
        case _:
            yield ""


def _members(items: Any) -> Iterator[str]:
    """Yield a letter of a class that is part of a word, and one that is not, where it has them."""
    own = [chr(value if name == "LITERAL" else value[0]) for name, value in _named(items)]
    held = [letter for letter in (*own, *string.printable) if _holds(items, letter)]
    for of_word in (True, False):
        letters = (letter for letter in held if (letter == "_" or letter.isalnum()) is of_word)
        yield from islice(letters, 1)


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
