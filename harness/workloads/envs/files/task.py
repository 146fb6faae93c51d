"""A file task: what is asked, what the workspace holds at the start, and what must hold at the end.

The fields are article 32's, section "The task record", and one of our own: ``oracle``, the commands
of an author who knows a solution.
"""

from __future__ import annotations

import re
import warnings
from enum import StrEnum
from functools import lru_cache

from harness.records import record
from harness.sandbox.workspace import Workspace

SKILLS = (
    *(f"file.{verb}" for verb in ("read", "write", "move", "copy", "delete", "list")),
    *(f"shell.{verb}" for verb in ("mkdir", "rm", "find", "grep", "sed", "cat", "head", "tail")),
    "shell.wc",
)


class AssertionKind(StrEnum):
    """What an assertion says of its path."""

    EXISTS = "file_exists"
    NOT_EXISTS = "file_not_exists"
    CONTAIN = "file_contents_contain"
    MATCH = "file_contents_match_regex"
    UNCHANGED = "file_unchanged"


class Difficulty(StrEnum):
    """How many steps a task takes: 1 to 3, 4 to 7, 8 and more."""

    EASY = "easy"
    MEDIUM = "medium"
    HARD = "hard"


@record
class Assertion:
    """One thing that must hold at the end; `must_contain` or `regex` as its kind needs."""

    kind: AssertionKind
    path: str
    must_contain: tuple[str, ...] = ()
    regex: str = ""


@record
class SeedFile:
    """A file at the start: text, or a stub of `size` zero bytes that stands for a binary."""

    path: str
    text: str | None = None
    size: int = 0

    @property
    def content(self) -> bytes:
        """Its bytes."""
        return bytes(self.size) if self.text is None else self.text.encode()


@record
class Task:
    """One task, as an agent is given it and as it is graded."""

    task_id: str
    role: str
    context: str
    intent: str
    seed: tuple[SeedFile, ...]
    skills: tuple[str, ...]
    assertions: tuple[Assertion, ...]
    difficulty: Difficulty
    estimated_steps: int
    oracle: tuple[str, ...] = ()

    @property
    def workspace(self) -> Workspace:
        """The workspace at the start."""
        return {file.path: file.content for file in self.seed}


@lru_cache(maxsize=4096)
def compiled(regex: str) -> re.Pattern[str] | None:
    """Return the pattern as the grader searches it, without flags; None where it is not one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "possible nested set": legal, and not ours
            return re.compile(regex)
    except (re.error, OverflowError, RecursionError):
        return None
