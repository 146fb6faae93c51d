"""What a command says beside its result, on standard error; colour only where a person sees it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from enum import IntEnum
from typing import TextIO

from harness.printable import printable

_LOG_COLUMNS = 150


class Verbosity(IntEnum):
    """How much is said."""

    QUIET = 0  # results and errors
    NORMAL = 1  # and progress
    VERBOSE = 2  # and reasons, paths, times


@dataclass(frozen=True, slots=True)
class Console:
    """Says lines on standard error; standard output is for results."""

    verbosity: Verbosity = Verbosity.NORMAL

    def say(self, line: str) -> None:
        """Say how a command gets on; not with ``--quiet``."""
        if self.verbosity >= Verbosity.NORMAL:
            print(printable(line), file=sys.stderr, flush=True)

    def explain(self, line: str) -> None:
        """Say a reason, a path or a time behind a result; only with ``--verbose``."""
        if self.verbosity >= Verbosity.VERBOSE:
            print(printable(line), file=sys.stderr, flush=True)


class Colour(IntEnum):
    """Colours of a terminal (SGR codes)."""

    RED = 31
    GREEN = 32
    YELLOW = 33


def paint(text: str, colour: Colour, stream: TextIO) -> str:
    """Return `text` in a colour if `stream` is a terminal that shows it, else as it is.

    No colour if ``NO_COLOR`` is set to anything (https://no-color.org).
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain or not stream.isatty() else f"\x1b[{colour.value}m{text}\x1b[0m"


def terminal_width() -> int:
    """Return the width to print in; output that is not a terminal is usually a log to read."""
    import shutil  # noqa: PLC0415 - its compressors take longer to load than all of --version

    return shutil.get_terminal_size((_LOG_COLUMNS, 0)).columns
