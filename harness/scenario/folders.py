"""Where scenarios live, and finding one by its name; light, so that `list` need not load them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from harness.errors import InputError, Problem, nearest, unknown

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
    """Return the scenario folders under `root`, sorted by name, and what is wrong with others."""
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
        yield Problem(message="is a link to nothing", path=path)
    elif path.is_dir() and not os.path.lexists(path / SCENARIO_FILE):
        named = nearest(SCENARIO_FILE, [each.name for each in path.iterdir()])
        yield Problem(message=f"has no {SCENARIO_FILE}", path=path, value=named)


def find(root: Path, word: str) -> Path:
    """Return the folder of the scenario named `word`: its id, or the part before the first dash.

    Raises:
        InputError: none, or more than one, is named so; says which is nearest.
    """
    names = [path.name for path in folders(root)]
    matches = [name for name in names if word in (name, name.partition("-")[0])]
    if len(matches) == 1:
        return root / matches[0]
    if matches:
        problem = Problem(
            message="more than one scenario", value=repr(word), allowed=", ".join(matches)
        )
        raise InputError([problem])
    short = [name.partition("-")[0] for name in names]
    raise InputError([unknown("scenario", word, [*names, *short])])
