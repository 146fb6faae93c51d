"""The program ``harness``: it runs one command, and exits with that command's code.

A command's module is loaded when the command is asked for. Its `main` takes the command's options
and returns the exit code; every failure a user can cause ends as one clear message.
"""

from __future__ import annotations

import gc
import signal
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import NoReturn

from harness.errors import ExitCode, HarnessError, HostError, Interrupted, worst
from harness.printable import printable_lines
from harness.session.console import Colour, paint
from harness.session.parser import parse
from harness.session.streams import guarded


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    signal.signal(signal.SIGTERM, _stop)
    # what a command has read lives until its end: Python need not look for garbage there so often
    gc.set_threshold(50_000)
    with guarded() as streams:
        code = _answer(arguments)
        if lost := streams.lost:  # the answer is what was asked for
            print(f"harness: standard output is incomplete: {lost}", file=sys.stderr)
            code = worst([code, ExitCode.INFRASTRUCTURE])
    return code


def _answer(arguments: Sequence[str] | None) -> ExitCode:
    began, name, command = time.monotonic(), "harness", ""
    as_json = "--json" in (sys.argv[1:] if arguments is None else arguments)
    try:
        command, options = parse(arguments)
        name = f"harness {command}"
        code: ExitCode = import_module(f"harness.commands.{command}").main(options)
        options.console.explain(f"{name}: exit code {code}, {time.monotonic() - began:.2f} s")
    except SystemExit as end:  # --help and --version, and what argparse refuses
        return ExitCode(end.code) if isinstance(end.code, int) else ExitCode.OK
    except HarnessError as error:
        failure: HarnessError = error
    except KeyboardInterrupt:
        failure = Interrupted("interrupted; what was finished is kept")
    except OSError as error:  # a disk or a file system that fails under us
        failure = HostError(str(error))
    except Exception as error:  # noqa: BLE001 - nobody is above us but the user
        from harness.session.unexpected import unexpected  # noqa: PLC0415 - hardly ever needed

        failure = unexpected(error)
    else:
        return code
    said = printable_lines(str(failure))
    print(f"{paint(name, Colour.RED, sys.stderr)}: {said}", file=sys.stderr)
    if as_json:
        from harness.session.output import Output, errors_of, print_output  # noqa: PLC0415 - rare

        errors = errors_of(failure)
        print_output(Output(command=command, exit_code=failure.exit_code, errors=errors))
    return failure.exit_code


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    message = "ended by SIGTERM; what was finished is kept"
    raise Interrupted(message)
