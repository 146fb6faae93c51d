"""Structural mutants of the files that the program reads, drawn from a seed."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

# what stands where something else belongs; each is JSON that somebody could write
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    0.5,
    -0.0,
    1e300,
    10**40,
    "",
    " ",
    "x",
    "3",
    "finished",
    "\x1b[2J",
    "ä" * 300,
    [],
    [1],
    [[[]]],
    {},
    {"a": 1},
)
RAW = ("NaN", "Infinity", "-Infinity", "1e999", "9" * 321, "[" * 200 + "]" * 200, '"\\ud800"')
MARK = "\u241c mark"


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything within a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(items):
        yield (*at, key)
        if isinstance(item, dict | list):
            yield from places(item, (*at, key))


def holder(value: Any, path: tuple[Any, ...]) -> Any:
    """Return what holds the item of a path."""
    for key in path[:-1]:
        value = value[key]
    return value


def mutate(document: Any, random: Random) -> tuple[str, str]:  # noqa: C901, PLR0912 - a case a kind
    """Return what was done to a document at one place, and the text that it has become.

    The first word of what was done is its kind: ``left-out``, ``renamed``, ``replaced``, ``raw``,
    ``doubled``, ``swapped``, ``added``, ``cut`` or ``bytes``.
    """
    value = copy.deepcopy(document)
    kinds = ("left-out", "renamed", "replaced", "replaced", "replaced", "raw", "doubled")
    kind = random.choice((*kinds, "swapped", "added", "cut", "bytes"))
    text = json.dumps(value, indent=1)
    if kind == "cut":
        at = random.randrange(len(text) - 1)
        return f"cut at {at}", text[:at]
    if kind == "bytes":
        at, odd = random.randrange(len(text)), random.choice('\x00\x7f{}[]":,-9e\\')
        return f"bytes {odd!r} at {at}", text[:at] + odd + text[at + 1 :]
    path = random.choice([*places(value)])
    inside, key = holder(value, path), path[-1]
    where = ".".join(map(str, path))
    if kind == "left-out":
        del inside[key]
    elif kind == "renamed":
        if isinstance(inside, list):
            inside.insert(key, copy.deepcopy(inside[key]))
            return f"added a copy of {where}", json.dumps(value)
        inside[f"{key}x"] = inside.pop(key)
    elif kind == "replaced":
        odd = random.choice(ODD)
        if inside[key] == odd and type(inside[key]) is type(odd):
            odd = MARK
        inside[key] = odd
        return f"replaced {where} by {str(odd)[:20]!r}", json.dumps(value)
    elif kind == "raw":
        inside[key], odd = MARK, random.choice(RAW)
        return f"raw {odd[:20]} for {where}", json.dumps(value).replace(json.dumps(MARK), odd)
    elif kind == "doubled":
        if isinstance(inside, list):
            inside.append(copy.deepcopy(inside[key]))
            return f"added a copy of {where}", json.dumps(value)
        inside[MARK] = random.choice(ODD)
        text = json.dumps(value).replace(json.dumps(MARK), json.dumps(key))
        return f"doubled {where}", text
    elif kind == "swapped":
        others = [
            each
            for each in places(value)
            if each[: len(path)] != path and path[: len(each)] != each
        ]
        if not others:
            return mutate(document, random)
        other = random.choice(others)
        theirs, name = holder(value, other), other[-1]
        if inside[key] == theirs[name]:
            return mutate(document, random)
        inside[key], theirs[name] = theirs[name], inside[key]
        return f"swapped {where} and {'.'.join(map(str, other))}", json.dumps(value)
    elif isinstance(inside, list):
        inside.insert(key, random.choice(ODD))
        return f"added before {where}", json.dumps(value)
    else:
        inside["unheard_of"] = random.choice(ODD)
        return f"added unheard_of beside {where}", json.dumps(value)
    return f"{kind} {where}", json.dumps(value)
