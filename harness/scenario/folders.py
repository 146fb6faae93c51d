"""Where scenarios live, and finding one by its name; light, so that `list` need not load them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from harness.errors import InputError, Problem, nearest

SCENARIO_FILE = "scenario.yaml"
EXPECTATIONS_FILE = "expectations.yaml"


def folders(root: Path) -> list[Path]:
    """Return the scenario folders under `root`, sorted by name.

    Raises:
        InputError: there are none, or a folder has no scenario.yaml.
    """
    found, problems = survey(root)
    if problems:
        raise InputError(problems)
    return found


def survey(root: Path) -> tuple[list[Path], list[Problem]]:
    """Return the scenario folders under `root`, sorted by name, and the problems of others."""
    if not root.is_dir():
        return [], [Problem(message="no such folder of scenarios", path=root)]
    visible = sorted(path for path in root.iterdir() if path.name[0] not in "._")
    problems = [problem for path in visible for problem in _problems(path)]
    mistaken = {problem.path for problem in problems}
    found = [path for path in visible if path.is_dir() and path not in mistaken]
    if not found and not problems:
        problems = [Problem(message="holds no scenario", path=root)]
    return found, problems


def _problems(path: Path) -> Iterator[Problem]:
    if path.is_symlink() and not path.exists():
        yield Problem(message="is a broken link", path=path)
    elif path.is_dir() and not os.path.lexists(path / SCENARIO_FILE):
        named = nearest(SCENARIO_FILE, [each.name for each in path.iterdir()])
        yield Problem(message=f"has no {SCENARIO_FILE}", path=path, value=named)


def find(root: Path, word: str) -> Path:
    """Return the folder of the scenario that `word` names; see `find_all`."""
    return find_all(root, [word])[0]


def find_all(root: Path, words: Iterable[str]) -> list[Path]:
    """Return the folder of each scenario that a word names; named twice, it is there once.

    Raises:
        InputError: every word that names none, or more than one.
    """
    names = [path.name for path in folders(root)]
    found: list[Path] = []
    problems: list[Problem] = []
    for word in words:
        try:
            found.append(root / scenario_named(word, names))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return list(dict.fromkeys(found))


def scenario_named(word: str, names: Sequence[str]) -> str:
    """Return the one of `names` that `word` names; capitals do not count.

    That is a whole id; else the part before its first dash, with or without its letter
    (``a34``, ``34``); else a beginning that no other id has (``a34-t2``, ``34-t2``).

    Raises:
        InputError: it names none, or more than one; says which.
    """
    given = word.casefold()
    spellings = (given, f"a{given}") if given[:1].isdigit() else (given,)
    shorts = [name.partition("-")[0] for name in names]
    wholes = [name for name in names if name in spellings]
    numbers = [name for name, short in zip(names, shorts, strict=True) if short in spellings]
    beginnings = [name for name in names if given and name.startswith(spellings)]
    matches = wholes or numbers or beginnings
    if len(matches) == 1:
        return matches[0]
    if matches:
        message = "is the beginning of more than one scenario"
        raise InputError([Problem(message=message, key=word, allowed=", ".join(matches))])
    close = nearest(word, [*names, *shorts])
    known = ", ".join(dict.fromkeys(shorts))
    problem = Problem(message="unknown scenario", value=repr(word), allowed=known, nearest=close)
    raise InputError([problem])
