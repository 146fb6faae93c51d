"""What can go wrong, whose fault it is, and what the process exits with.

Every failure a user can see is one of three exceptions::

    HarnessError
    |- InputError    something written by a person is wrong       exit 2
    |- HostError     the machine, Docker or the network is short  exit 3
    '- Interrupted   the user asked to stop                       exit 130

An `InputError` carries *all* mistakes found, each a `Problem` with its place.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """The exit codes of every `harness` command; each has one meaning."""

    OK = 0  # all that binds is reproduced
    OUTSIDE = 1  # a figure that binds is outside its tolerance, or a file is out of date
    USAGE = 2  # a scenario, an argument or a file is wrong
    INFRASTRUCTURE = 3  # the machine or a run failed; the claims are untested
    INCONCLUSIVE = 4  # too few samples, or a metric is missing
    INTERRUPTED = 130  # Ctrl-C or SIGTERM, as shells report it


# The most certain counts: a figure outside its tolerance is a result, whatever else failed; wrong
# input stays wrong until a person mends it; a machine may do better tomorrow.
_BY_GRAVITY = (
    ExitCode.OK,
    ExitCode.INCONCLUSIVE,
    ExitCode.INFRASTRUCTURE,
    ExitCode.USAGE,
    ExitCode.OUTSIDE,
    ExitCode.INTERRUPTED,
)


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the gravest of several exit codes: 130, then 1, 2, 3, 4; 0 if there are none."""
    return max(codes, key=_BY_GRAVITY.index, default=ExitCode.OK)


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One mistake, and where it is.

    Attributes:
        message: the error, as a short clause.
        path: the file, or None for a command-line argument.
        line: 1-based line, None where the file has no lines.
        column: 1-based column.
        key: dotted key, e.g. ``profiles.cpu.params.batch_size``.
        value: the given value, already formatted.
        allowed: what would have been accepted.
        nearest: the closest accepted spelling, if one is close.
    """

    message: str
    path: Path | None = None
    line: int | None = None
    column: int | None = None
    key: str = ""
    value: str = ""
    allowed: str = ""
    nearest: str = ""

    @property
    def place(self) -> str:
        """``file:line:column``, as editors understand it."""
        parts = [str(self.path)] if self.path is not None else []
        if self.line is not None:
            parts.append(str(self.line))
            if self.column is not None:
                parts.append(str(self.column))
        return ":".join(parts)

    def __str__(self) -> str:
        head = ": ".join(part for part in (self.place, self.key, self.message) if part)
        tail = []
        if self.value:
            tail.append(f"got {self.value}")
        if self.allowed:
            tail.append(f"allowed: {self.allowed}")
        if self.nearest:
            tail.append(f"did you mean {self.nearest!r}?")
        return f"{head} ({'; '.join(tail)})" if tail else head


class HarnessError(Exception):
    """A failure with a clear message and an exit code."""

    exit_code = ExitCode.INFRASTRUCTURE


class InputError(HarnessError):
    """Something written by a person is wrong; holds every mistake found."""

    exit_code = ExitCode.USAGE

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=_in_file_order))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def _in_file_order(problem: Problem) -> tuple[str, int, int]:
    return str(problem.path or ""), problem.line or 0, problem.column or 0


class HostError(HarnessError):
    """The machine cannot do it: no daemon, no image, no disk, no GPU.

    Args:
        message: what is missing, with the value found.
        remedy: the next command to type.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message, self.remedy = message, remedy
        super().__init__(f"{message}\n  next: {remedy}" if remedy else message)

    def about(self, scenario: str) -> HostError:
        """Return the same with a scenario's id for ``SCENARIO``, which the raiser did not know."""
        message, remedy = (
            text.replace("SCENARIO", scenario) for text in (self.message, self.remedy)
        )
        return HostError(message, remedy)


class Interrupted(HarnessError):  # noqa: N818 - not an error, a wish
    """The user asked to stop; finished work is kept."""

    exit_code = ExitCode.INTERRUPTED


def first_line(error: Exception) -> str:
    """Return the first line of an error's text: the error without its remedy."""
    return str(error).partition("\n")[0]


def nearest(word: object, known: Iterable[str]) -> str:
    """Return the known word closest to `word`, or an empty string; capitals do not count.

    A word one slip of the hand away (a letter wrong, missing, too many, or two swapped) is close
    whatever its length; otherwise more than half of the letters must agree.
    """
    given = str(word).casefold()
    names = list(known)
    slips = [name for name in names if given and _one_slip(given, name.casefold())]
    by_case = {name.casefold(): name for name in slips or names}
    matches = difflib.get_close_matches(given, by_case, n=1, cutoff=0.0 if slips else 0.6)
    return by_case[matches[0]] if matches else ""


def _one_slip(one: str, other: str) -> bool:
    if one == other:
        return True
    shorter = min(len(one), len(other))
    begin = next((i for i in range(shorter) if one[i] != other[i]), shorter)
    rest, other_rest = one[begin:], other[begin:]
    alike = (
        (rest[1:], other_rest[1:]),  # a letter wrong
        (rest[1:], other_rest),  # one too many
        (rest, other_rest[1:]),  # one missing
        (rest[1::-1] + rest[2:], other_rest),  # two swapped
    )
    return any(left == right for left, right in alike)


def unknown(
    what: str, word: object, known: Iterable[str], *, path: Path | None = None, key: str = ""
) -> Problem:
    """Return the problem for a name that is not one of `known`."""
    names = sorted(known)
    shown = ", ".join(names[:12]) + (f", ... ({len(names)} in all)" if len(names) > 12 else "")  # noqa: PLR2004 - a line's worth
    return Problem(
        message=f"unknown {what}",
        path=path,
        key=key,
        value=repr(word),
        allowed=shown or "none",
        nearest=nearest(word, names),
    )
