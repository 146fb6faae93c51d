"""The command line: what can be asked, and what the process exits with.

Nothing heavy is imported here. A command's module is loaded when the command is asked for, and
its `main` returns the exit code; every failure a user can cause ends as one clear message.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from harness import __version__
from harness.errors import ExitCode, HarnessError, InputError, Interrupted, unknown

if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - its only name

_PROFILES = ("auto", "spark", "cuda", "cpu", "evidence")
_RUNTIMES = ("auto", "local", "docker")


_BROKEN_PIPE = 141  # as a shell reports a program that SIGPIPE ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    signal.signal(signal.SIGTERM, _stop)
    name = "harness"
    try:
        options = _parser().parse_args(arguments)
        name = f"harness {options.command}"
        code: ExitCode = import_module(f"harness.commands.{options.command}").main(options)
        sys.stdout.flush()
    except HarnessError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("harness: interrupted; what was finished is kept", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # the reader of our output left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except OSError as error:  # a disk or a file system that fails under us
        print(f"{name}: {error}", file=sys.stderr)
        return ExitCode.INFRASTRUCTURE
    return code


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    message = "ended by SIGTERM; what was finished is kept"
    raise Interrupted(message)


class _Parser(argparse.ArgumentParser):
    """Refuses an unknown word or option as everything else here: with the nearest known one."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the words of one command; argparse itself asks each for what it knows."""
        options, left = super().parse_known_args(args, namespace)
        known = [name for name in self._option_string_actions if name.startswith("--")]
        wrong = [word.partition("=")[0] for word in left if word.startswith("-")]
        if wrong:
            raise InputError(unknown("option", word, known) for word in wrong)
        return options, left

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            what = action.option_strings[0] if action.option_strings else str(action.metavar)
            raise InputError([unknown(what, value, action.choices)])


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _Parser(
        prog="harness",
        description="Re-run and check the DGX Spark article experiments.",
        epilog="exit codes: 0 reproduced, 1 outside, 2 wrong input, 3 the machine or a run broke, "
        "4 inconclusive or missing, 130 interrupted",
    )
    parser.add_argument("--version", action="version", version=f"harness {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_listing(commands)
    _add_running(commands)
    _add_reporting(commands)
    _add_machine(commands)
    return parser


def _add_listing(commands: _Commands) -> None:
    _command(commands, "list", "list the scenarios and their profiles")
    command = _command(commands, "show", "show one scenario: params and where each came from")
    _scenario(command)
    _profile(command)
    _overrides(command)
    command = _command(
        commands, "validate", "check scenarios, ledgers and locks; all mistakes at once"
    )
    command.add_argument("scenario", nargs="*", help="scenario ids; all where none is given")
    command.add_argument(
        "--schema", choices=("scenario", "expectations"), help="print the JSON Schema and stop"
    )


def _add_running(commands: _Commands) -> None:
    for name, text in (
        ("plan", "show what a run would do, cost and reuse; writes no result"),
        ("run", "run what is not yet finished, check it and print the tables"),
    ):
        command = _command(commands, name, text)
        _scenario(command)
        _profile(command)
        _overrides(command)
        command.add_argument("--runtime", choices=_RUNTIMES, default="auto")
        if name == "run":
            _outputs(command)
            command.add_argument(
                "--with-evidence",
                action="store_true",
                help="also recompute the published data, where it can be had",
            )


def _add_reporting(commands: _Commands) -> None:
    command = _command(
        commands, "check", "check stored results against the ledger; exit code by verdict"
    )
    _scenario(command)
    _profile(command)
    _overrides(command)
    command.add_argument("--junit", type=Path, metavar="FILE", help="also write JUnit XML")
    command.add_argument(
        "--summary", type=Path, metavar="FILE", help="also append a markdown summary"
    )
    command = _command(commands, "report", "render stored results")
    _scenario(command)
    _profile(command)
    _overrides(command)
    command.add_argument(
        "--format", choices=("text", "markdown", "csv", "json", "html"), default="text"
    )
    command.add_argument(
        "--table", choices=("cells", "rows", "ledger"), help="only these; default all, csv: cells"
    )
    command.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write page, tables and plots here"
    )
    command.add_argument(
        "--splice", type=Path, metavar="ARTICLE", help="fill the article's markers"
    )
    command.add_argument(
        "--stale", action="store_true", help="with --splice: change nothing, fail if out of date"
    )
    command = _command(commands, "compare", "compare two stores, cell by cell")
    _scenario(command)
    _profile(command)
    command.add_argument("other", type=Path, help="the other store")
    command.add_argument("--other-profile", help="the profile to look at there (default the same)")
    command = _command(
        commands, "publish", "copy finished runs into results/ and render their tables"
    )
    command.add_argument("scenario", nargs="?", help="scenario id; none with --all")
    _profile(command)
    command.add_argument("--all", action="store_true", help="render every published table again")
    command.add_argument(
        "--stale", action="store_true", help="change nothing, fail where a table is out of date"
    )


def _add_machine(commands: _Commands) -> None:
    command = _command(commands, "fetch", "fetch a scenario's published evidence and verify it")
    _scenario(command)
    command = _command(commands, "build", "build, resolve and lock container images")
    command.add_argument("image", nargs="*", help="image names")
    command.add_argument("--all", action="store_true", help="every image of the lock")
    command.add_argument("--resolve", action="store_true", help="only look base digests up")
    command.add_argument(
        "--accept", action="store_true", help="record a digest that differs from the lock"
    )
    _command(commands, "doctor", "say what this machine can run, and the next command to type")


def _command(commands: _Commands, name: str, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    command.add_argument("--json", action="store_true", help="print JSON for a program to read")
    command.add_argument("--root", type=Path, help="the project folder (found from here upwards)")
    command.add_argument("--store", type=Path, help="the folder of results (default results/local)")
    return command


def _scenario(command: argparse.ArgumentParser) -> None:
    command.add_argument("scenario", help="scenario id, or its part before the first dash (a19)")


def _profile(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--profile", default="auto", help=f"one of {', '.join(_PROFILES)} (default auto)"
    )


def _overrides(command: argparse.ArgumentParser) -> None:
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    command.add_argument("--params", type=Path, metavar="FILE", help="a YAML file of params")
    command.add_argument(
        "--only", action="append", default=[], metavar="AXIS=VALUE", help="keep these cells"
    )
    command.add_argument("--seed", type=int, help="instead of the declared seed")
    command.add_argument("--replicates", type=int, help="instead of the declared number")


def _outputs(command: argparse.ArgumentParser) -> None:
    command.add_argument("--junit", type=Path, metavar="FILE", help="also write JUnit XML")
    command.add_argument("--summary", type=Path, metavar="FILE", help="also append Markdown")
