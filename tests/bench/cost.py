"""Measuring: the CPU seconds of a program and of everything it started."""

from __future__ import annotations

import os
import resource
import statistics
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from harness.records import record

ROOT = Path(__file__).parents[2]


@record
class Program:
    """A command to be measured.

    Attributes:
        arguments: the command line; its first word is a path.
        env: variables beside those of this process.
        says: what it prints when it does what is meant to be measured.
    """

    arguments: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    says: str = ""


@record
class Cost:
    """One thing measured several times.

    Attributes:
        samples_s: seconds, in the order they were taken.
    """

    samples_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """The figure that is compared."""
        return statistics.median(self.samples_s)

    @property
    def lowest_s(self) -> float:
        """The sample that other programs on the machine disturbed least."""
        return min(self.samples_s)

    @property
    def highest_s(self) -> float:
        """The sample that they disturbed most."""
        return max(self.samples_s)


def cpu_s(program: Program, output: Path) -> float:
    """Run a program to its end; return the user and system time of it and its children, s.

    Raises:
        RuntimeError: it did something else than what is meant to be measured.
    """
    spent = usage(program, output)
    return spent.ru_utime + spent.ru_stime


def usage(program: Program, output: Path) -> resource.struct_rusage:
    """Run a program to its end; return what it and its children used.

    Args:
        program: what to run.
        output: a file for what it prints.

    Raises:
        RuntimeError: it did something else than what is meant to be measured.
    """
    with output.open("wb") as file:
        pid = os.posix_spawn(
            program.arguments[0],
            program.arguments,
            {**os.environ, "PYTHONPATH": str(ROOT), **program.env},
            file_actions=[(os.POSIX_SPAWN_DUP2, file.fileno(), stream) for stream in (1, 2)],
        )
        _, status, spent = os.wait4(pid, 0)
    printed = output.read_text(encoding="utf-8", errors="replace")
    if status or program.says not in printed:
        code, command = os.waitstatus_to_exitcode(status), " ".join(program.arguments)
        message = f"{command}\nexits {code} and says {printed[-2000:]}"
        raise RuntimeError(message)
    return spent
