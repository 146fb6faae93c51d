"""What ``--json`` prints: one document of one form, whatever the command and however it ends.

``schema_version`` changes when a key changes its meaning or goes away; a key may be added at any
time. Each command's ``answer`` has a type (`harness.commands.output_schema`), from which
``docs/schema/output.json`` follows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from harness.errors import ExitCode, HarnessError, HostError, InputError, Problem
from harness.printable import plain, printable_lines
from harness.records import record, to_json
from harness.session.options import OF_COMMAND, Options

OUTPUT_VERSION = 1


@record
class OutputError:
    """One thing that went wrong.

    Attributes:
        message: in a clause; of a mistake in a file without its place.
        file: where the mistake is; None for the command line and the machine.
        line: from 1.
        column: from 1.
        key: dotted.
        value: what was given, as Python writes it.
        allowed: what would have been accepted.
        nearest: the closest accepted spelling.
        next: the command to type next.
    """

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    key: str = ""
    value: str = ""
    allowed: str = ""
    nearest: str = ""
    next: str = ""


@record
class ScenarioOutput:
    """What a command has to say of one scenario.

    Attributes:
        answer: None where it failed.
        errors: why it did.
    """

    exit_code: int
    answer: Any = None
    errors: tuple[OutputError, ...] = ()


@record
class Output:
    """The document.

    Attributes:
        command: its name; empty where the command line names none.
        exit_code: of the process.
        answer: of a command that is not asked of scenarios, or None.
        scenarios: the answers of one that is, by scenario id.
        errors: what ended the command before its answer.
    """

    command: str
    exit_code: int
    answer: Any = None
    scenarios: Mapping[str, ScenarioOutput] = field(default_factory=dict)
    errors: tuple[OutputError, ...] = ()
    schema_version: int = OUTPUT_VERSION


@record
class SaidAnswer:
    """The answer of a command that has only words for what it did, a line each."""

    said: tuple[str, ...]


def command_of(options: Options) -> str:
    """Return the name of the command that some options are of."""
    return next(name for name, kind in OF_COMMAND.items() if kind is type(options))


def print_answer(options: Options, answer: object, code: ExitCode = ExitCode.OK) -> None:
    """Print the answer of a command that is not asked of scenarios."""
    print_output(Output(command=command_of(options), exit_code=code, answer=to_json(answer)))


def print_said(options: Options, lines: Sequence[str], code: ExitCode = ExitCode.OK) -> ExitCode:
    """Print what a command that changes something did, a line each; return its exit code."""
    if options.json:
        print_answer(options, SaidAnswer(said=tuple(lines)), code)
    else:
        for line in lines:
            print(line)
    return code


def print_output(output: Output) -> None:
    """Print a document."""
    print(json.dumps(to_json(output), indent=1))


def errors_of(failure: HarnessError) -> tuple[OutputError, ...]:
    """Return what a failure says, mistake by mistake."""
    if isinstance(failure, InputError):
        return tuple(map(error_of, failure.problems))
    if isinstance(failure, HostError):
        message = printable_lines(failure.message)
        return (OutputError(message=message, next=plain(failure.remedy)),)
    return (OutputError(message=printable_lines(str(failure))),)


def error_of(problem: Problem) -> OutputError:
    """Return one mistake."""
    return OutputError(
        message=plain(problem.message),
        file=plain(str(problem.path)) if problem.path is not None else None,
        line=problem.line,
        column=problem.column,
        key=plain(problem.key),
        value=plain(problem.value),
        allowed=plain(problem.allowed),
        nearest=plain(problem.nearest),
    )
