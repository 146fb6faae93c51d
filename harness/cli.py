"""The program ``harness``: it runs one command, and exits with that command's code.

A command's module is loaded when the command is asked for. Its `main` takes the command's options
and returns the exit code; every failure a user can cause ends as one clear message.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import NoReturn

from harness.errors import ExitCode, HarnessError, Interrupted
from harness.session.console import Colour, paint
from harness.session.parser import parse

_BROKEN_PIPE = 141  # as a shell reports a program that SIGPIPE ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    signal.signal(signal.SIGTERM, _stop)
    # what a command has read lives until its end: Python need not look for garbage there so often
    gc.set_threshold(50_000)
    began, name = time.monotonic(), "harness"
    try:
        command, options = parse(arguments)
        name = f"harness {command}"
        code: ExitCode = import_module(f"harness.commands.{command}").main(options)
        options.console.explain(f"{name}: exit code {code}, {time.monotonic() - began:.2f} s")
        sys.stdout.flush()
    except HarnessError as error:
        print(f"{paint(name, Colour.RED, sys.stderr)}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{name}: interrupted; what was finished is kept", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # the reader of our output left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except OSError as error:  # a disk or a file system that fails under us
        print(f"{paint(name, Colour.RED, sys.stderr)}: {error}", file=sys.stderr)
        return ExitCode.INFRASTRUCTURE
    return code


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    message = "ended by SIGTERM; what was finished is kept"
    raise Interrupted(message)
