"""One command for several scenarios: one failure does not stop the next, the worst code counts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import ExitCode, HarnessError, HostError, Interrupted, worst
from harness.printable import printable_lines
from harness.records import record, to_json
from harness.session.console import Colour, paint
from harness.session.options import Options
from harness.session.output import (
    Output,
    OutputError,
    ScenarioOutput,
    command_of,
    errors_of,
    print_output,
)
from harness.session.unexpected import unexpected
from harness.units import counted

_MEANS = {
    ExitCode.OK: ("ok", Colour.GREEN),
    ExitCode.OUTSIDE: ("differs", Colour.RED),
    ExitCode.USAGE: ("wrong input", Colour.RED),
    ExitCode.INFRASTRUCTURE: ("failed", Colour.RED),
    ExitCode.INCONCLUSIVE: ("inconclusive", Colour.YELLOW),
}


@record
class Answer:
    """What a command has to say of one scenario.

    Attributes:
        text: for people, ended by a newline; empty with ``--json``.
        document: for programs, a record; None without ``--json``.
        errors: what went wrong, for programs.
    """

    code: ExitCode = ExitCode.OK
    text: str = ""
    document: Any = None
    errors: tuple[OutputError, ...] = ()


def answer_each(
    folders: Sequence[Path], ask: Callable[[Path], Answer], options: Options
) -> ExitCode:
    """Print the answer of each scenario as soon as it is there, and return the worst exit code.

    Of a single scenario the answer is all that is printed. Of several, each failure is told where
    it happens and in a summary at the end. As JSON they are one `Output`, by scenario.

    Raises:
        HarnessError: the only scenario failed, or the user interrupted.
    """
    if len(folders) == 1:
        try:
            answer = ask(folders[0])
        except HostError as error:
            raise error.about(folders[0].name) from None
        if options.json:
            _print_json({folders[0].name: answer}, options)
        else:
            print(printable_lines(answer.text), end="")
        return answer.code
    answers = {}
    for folder in folders:
        answers[folder.name] = answer = _ask(folder, ask)
        if not options.json and answer.text:
            print(printable_lines(answer.text), flush=True)
    code = worst(each.code for each in answers.values())
    if options.json:
        _print_json(answers, options)
    else:
        print(_summary(answers))
    return code


def _print_json(answers: Mapping[str, Answer], options: Options) -> None:
    print_output(
        Output(
            command=command_of(options),
            exit_code=worst(each.code for each in answers.values()),
            scenarios={
                name: ScenarioOutput(
                    exit_code=each.code, answer=to_json(each.document), errors=each.errors
                )
                for name, each in answers.items()
            },
        )
    )


def _ask(folder: Path, ask: Callable[[Path], Answer]) -> Answer:
    try:
        return ask(folder)
    except Interrupted:
        raise
    except HostError as error:
        failure: HarnessError = error.about(folder.name)
    except HarnessError as error:
        failure = error
    except OSError as error:
        failure = HostError(str(error))
    except Exception as error:  # noqa: BLE001 - the other scenarios have their turn all the same
        failure = unexpected(error)
    said = printable_lines(str(failure))
    print(f"{paint(folder.name, Colour.RED, sys.stderr)}: {said}", file=sys.stderr, flush=True)
    return Answer(code=failure.exit_code, errors=errors_of(failure))


def _summary(answers: dict[str, Answer]) -> str:
    width = max(map(len, answers))
    lines = [f"{counted(len(answers), 'scenario')}:"]
    for name, answer in answers.items():
        word, colour = _MEANS[answer.code]
        lines.append(f"  {name:{width}}  {paint(word, colour, sys.stdout)}")
    return "\n".join(lines)
