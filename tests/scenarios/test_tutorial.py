"""The tutorial does what it says: its files are written, its commands executed, its output seen.

What is compared is defined on the page itself, under "How this page is tested".
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TUTORIAL = "docs/tutorial.md"
_BLOCK = re.compile(r"^```(yaml|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_HARNESS = 'harness() { "$PYTHON" -m harness "$@"; }; '


@dataclass(frozen=True)
class File:
    """A file that the reader is asked to write."""

    path: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command, and what the page shows of its output."""

    line: str
    shown: str


def test_the_tutorial_does_what_it_says(tmp_path: Path, project_root: Path) -> None:
    copy = _copy(project_root, tmp_path / "project")
    executed = 0
    for step in steps((project_root / TUTORIAL).read_text(encoding="utf-8")):
        if isinstance(step, File):
            (copy / step.path).parent.mkdir(parents=True, exist_ok=True)
            (copy / step.path).write_text(step.text, encoding="utf-8")
            continue
        printed = _execute(step.line, copy)
        assert agrees(step.shown, printed), f"$ {step.line}\n{printed}"
        executed += 1
    assert executed > 10


def steps(page: str) -> Iterator[File | Command]:
    """Yield what a reader does, in order."""
    for kind, text in _BLOCK.findall(page):
        if kind == "yaml":
            yield File(text.partition("\n")[0].removeprefix("# "), text)
            continue
        for session in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            line, _, shown = session.partition("\n")
            yield Command(line, shown)


def agrees(shown: str, printed: str) -> bool:
    """Say whether output is what the page shows of it."""
    pattern = "".join(_pattern(line.rstrip()) for line in shown.splitlines())
    lines = [line.rstrip() + "\n" for line in printed.splitlines()]
    return re.fullmatch(pattern, "".join(lines)) is not None


def _pattern(line: str) -> str:
    if line == "...":
        return r"(?:[^\n]*\n)*"
    return r"[^\n]*".join(re.escape(part) for part in line.split("...")) + r"\n"


def test_dots_stand_for_text_or_lines() -> None:
    assert agrees("a ... c\n", "a b c\n")
    assert agrees("first\n...\nlast\n", "first\nsecond \nthird\nlast\n")
    assert agrees("...\n", "")
    assert not agrees("a ... c\n", "a b\nc\n")
    assert not agrees("first\n", "first\nsecond\n")


def _copy(project: Path, target: Path) -> Path:
    unwanted = shutil.ignore_patterns("*.pyc.*", "local")  # whatever is compiled goes along
    for folder in ("harness", "scenarios", "containers"):
        shutil.copytree(project / folder, target / folder, ignore=unwanted)
    return target


def _execute(line: str, folder: Path) -> str:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HARNESS_", "PYTHON", "COLUMNS"))
    }
    done = subprocess.run(
        ["/bin/bash", "-c", _HARNESS + line],
        cwd=folder,
        env={**environment, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"$ {line}\n{done.stdout}"
    return done.stdout
