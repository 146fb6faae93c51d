"""The command line's words and their help; `parse` turns them into the options of one command.

Nothing heavy is imported here, so that ``--help`` and ``--version`` answer at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import __version__
from harness.errors import InputError, unknown

if TYPE_CHECKING:
    from harness.session.options import Options

    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - its only name

PROFILES = ("auto", "spark", "cuda", "cpu", "evidence")
SHELLS = ("bash", "zsh", "fish")
# each a module of `harness.export`
EXPORTS = ("inspect", "trackio", "mlflow", "parquet", "every-eval-ever", "harbor", "verifiers")
ACTIONS = ("list", "show", "prune", "export", "import")
_RUNTIMES = ("auto", "local", "docker", "ray")


def parse(arguments: Sequence[str] | None = None) -> tuple[str, Options]:
    """Return the name of a command and its options.

    Raises:
        InputError: an unknown word or option; names the nearest known one.
        SystemExit: help or the version was asked for, or a word is missing.
    """
    given = vars(make_parser().parse_args(arguments))
    # only now: what answers without a command needs no record
    from harness.session.options import OF_COMMAND  # noqa: PLC0415

    name = given.pop("command")
    fixed: dict[str, Any] = {
        key: tuple(each) if isinstance(each, list) else each for key, each in given.items()
    }
    return name, OF_COMMAND[name](**fixed)


class _Parser(argparse.ArgumentParser):
    """Refuses an unknown word or option as everything else here: with the nearest known one."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the words of one command; argparse calls this for each level."""
        options, left = super().parse_known_args(args, namespace)
        for action in self._get_positional_actions():
            # argparse looks for a word that may be absent beside the one before it only
            is_absent = action.nargs == "?" and getattr(options, action.dest) is action.default
            if is_absent and left and not left[0].startswith("-"):
                setattr(options, action.dest, self._get_values(action, [left.pop(0)]))
        known = [name for name in self._option_string_actions if name.startswith("--")]
        wrong = [word.partition("=")[0] for word in left if word.startswith("-")]
        if wrong:
            raise InputError(unknown("option", word, known) for word in wrong)
        return options, left

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            what = action.option_strings[0] if action.option_strings else str(action.metavar)
            raise InputError([unknown(what, value, action.choices)])


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    parser: argparse.ArgumentParser = _Parser(
        prog="harness",
        description="Re-run the DGX Spark article experiments and check every published number.",
        epilog="exit codes: 0 reproduced, 1 a figure is outside its tolerance or a file is out of "
        "date, 2 wrong input, 3 the machine or a run failed, 4 inconclusive or missing, "
        "130 interrupted; of several scenarios the worst counts: 1, then 2, 3, 4",
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"harness {__version__}",
        help="print the version and stop",
    )
    _common(parser)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_listing(commands)
    _add_running(commands)
    _add_reporting(commands)
    _add_machine(commands)
    return parser


def _add_listing(commands: _Commands) -> None:
    _command(commands, "list", "list the scenarios and their profiles")
    command = _command(commands, "show", "show a scenario: its params and where each comes from")
    _scenarios(command)
    _experiment(command)
    command = _command(
        commands, "validate", "check scenarios, ledgers and the image lock; all mistakes at once"
    )
    _scenarios(command, nargs="*", otherwise="all scenarios if none is given")
    command.add_argument(
        "--schema",
        choices=("scenario", "expectations", "output"),
        help="print the JSON Schema of this file, or of what --json prints, and check nothing",
    )


def _add_running(commands: _Commands) -> None:
    command = _command(
        commands, "plan", "show what a run would do, its cost and what it reuses; runs nothing"
    )
    _scenarios(command)
    _experiment(command)
    _runtime(command)
    command = _command(
        commands,
        "rehearse",
        "try everything a run needs with two passes of each loop; forecast time, memory and energy",
    )
    _scenarios(command)
    _experiment(command)
    _runtime(command)
    command.add_argument(
        "--budget",
        default="5m",
        metavar="TIME",
        help="rehearse no further cell of the sweep after so long, e.g. 90s (default 5m)",
    )
    command = _command(
        commands, "run", "run what is not yet finished, check it and print the tables"
    )
    _scenarios(command)
    _experiment(command)
    _runtime(command)
    _outputs(command)
    command.add_argument(
        "--with-evidence",
        action="store_true",
        help="also recompute the published raw data, if it can be fetched",
    )
    command.add_argument(
        "-j",
        "--jobs",
        default="auto",
        metavar="N|auto",
        help="how many cells and replicates run side by side, within the machine's memory and "
        "cores, and one at a time on a GPU; auto: as many as the profile's limits leave room for, "
        "and one where it declares no cores; timings of runs that shared the machine are not "
        "compared (default auto)",
    )
    half_way = command.add_mutually_exclusive_group()
    half_way.add_argument(
        "--continue-across-changes",
        action="store_true",
        help="go on with what a run had finished although its code has changed; judge nothing",
    )
    half_way.add_argument(
        "--restart", action="store_true", help="begin runs anew that were ended half-way"
    )
    command.add_argument(
        "--all", action="store_true", help="also print every table, before the last screen"
    )
    _notify(command)
    command = _command(
        commands, "watch", "follow a run that is at work, in another terminal or in a browser"
    )
    command.add_argument(
        "scenario",
        nargs="?",
        metavar="SCENARIO",
        help=f"{_SCENARIO_HELP} (default whichever is at work)",
    )
    command.add_argument(
        "--web", action="store_true", help="serve a page on 127.0.0.1 instead of printing"
    )
    command.add_argument(
        "--port", type=int, metavar="PORT", help="of the page (default any that is free)"
    )
    command.add_argument("--once", action="store_true", help="print what is known now, and end")
    _notify(command)
    command.add_argument(
        "--tensorboard",
        type=Path,
        metavar="FOLDER",
        help="also write event files for TensorBoard into this folder (an extra)",
    )
    command.add_argument(
        "--trackio", action="store_true", help="also write the curves to trackio (an extra)"
    )


def _add_reporting(commands: _Commands) -> None:
    command = _command(
        commands, "check", "check stored results against the ledger; exit code by verdict"
    )
    _scenarios(command)
    _experiment(command)
    _outputs(command)
    command = _command(
        commands, "audit", "judge dead experiments by the ledger; say which entries cannot fail"
    )
    _scenarios(command, nargs="*", otherwise="none for every one with results")
    _profile(command)
    command.add_argument(
        "--published", action="store_true", help="the published results, not those of the store"
    )
    command = _command(
        commands, "pin", "record stored figures to the last bit, for this class of machine"
    )
    _scenarios(command)
    _profile(command)
    command.add_argument(
        "--why", default="", metavar="TEXT", help="why what is pinned already changes"
    )
    command.add_argument(
        "--again",
        type=Path,
        metavar="FOLDER",
        help="a store with a second execution of each run; what differs there is not pinned",
    )
    command = _command(
        commands, "report", "render stored results as text, csv, JSON, page or plots"
    )
    _scenarios(command, nargs="*", otherwise="with --splice, none for all that have a marker")
    _experiment(command)
    command.add_argument(
        "--format",
        choices=("text", "markdown", "csv", "json", "html"),
        default="text",
        help="print in this format (default text)",
    )
    command.add_argument(
        "--table",
        choices=("cells", "rows", "ledger"),
        help="print only these tables (default all; csv: cells)",
    )
    command.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="write page, tables and plots into this folder; of several scenarios, each into a "
        "folder of its name in it",
    )
    command.add_argument(
        "--splice",
        type=Path,
        metavar="ARTICLE",
        help="fill the markers of these scenarios in a Markdown, MyST, Quarto or HTML file, from "
        "the published results or from --store",
    )
    command.add_argument(
        "--stale",
        action="store_true",
        help="with --splice: change nothing; name each line that is out of date and the true "
        "value, and exit with 1 if there is one",
    )
    command = _command(
        commands, "open", "show the page of stored results in a browser, rollouts included"
    )
    _scenarios(command, nargs=1)
    _experiment(command)
    command.add_argument(
        "--no-browser", action="store_true", help="only write the pages and say where"
    )
    command = _command(commands, "site", "write all published results as a folder of web pages")
    command.add_argument(
        "--out", type=Path, metavar="FOLDER", help="this folder (default build/site in the project)"
    )
    command = _command(
        commands,
        "compare",
        "compare two stores of results, or two variants of a scenario, figure by figure",
    )
    _scenarios(command, nargs=1)
    command.add_argument(
        "other",
        type=Path,
        nargs="?",
        metavar="STORE",
        help="the other folder of results; without one, a key that --set gives twice makes two "
        "variants, which are run in blocks where the store does not have them",
    )
    _experiment(command)
    _runtime(command)
    command.add_argument(
        "--other-profile", metavar="PROFILE", help="the profile to look at there (default the same)"
    )
    command.add_argument(
        "--fail-over",
        action="append",
        default=[],
        metavar="METRIC=SHARE%",
        help="exit with 1 if B is shown to be worse than A by more, with 4 if nobody can tell; "
        "repeatable",
    )
    _add_nightly(commands)
    command = _command(commands, "export", "write stored results in the form of another tool")
    command.add_argument("scenario", metavar="SCENARIO", help=_SCENARIO_HELP)
    _profile(command)
    command.add_argument(
        "--to", required=True, choices=EXPORTS, metavar="FORM", help=", ".join(EXPORTS)
    )
    command.add_argument("path", type=Path, metavar="PATH", help="a new folder")
    command = _command(
        commands, "publish", "put finished runs into results/ as a bundle, with their tables"
    )
    _scenarios(command, nargs="*", otherwise="none with --all")
    _profile(command)
    command.add_argument(
        "--all", action="store_true", help="copy nothing; render every published table again"
    )
    command.add_argument(
        "--stale",
        action="store_true",
        help="change nothing, and exit with 1 if a table is out of date",
    )
    command.add_argument(
        "--sign",
        type=Path,
        metavar="KEY",
        help="sign the bundles with this SSH key, by ssh-keygen; with --all those that are there",
    )
    command = _command(
        commands, "verify", "derive all that is published from its bundles again, and compare"
    )
    command.add_argument(
        "results",
        nargs="?",
        type=Path,
        metavar="FOLDER",
        help="the published results (default results/ in the project)",
    )
    command.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help="a list of allowed signers (ssh-keygen); one of them must have signed each bundle",
    )


def _add_nightly(commands: _Commands) -> None:
    command = _command(
        commands, "history", "show what was measured night after night; import older results"
    )
    command.add_argument(
        "scenario", metavar="SCENARIO|import|rename", help=f"{_SCENARIO_HELP}; or what to do"
    )
    command.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="of import: stores, folders with stores in them, zip files of a nightly; of rename: "
        "the scenario, a metric's old name and its new one",
    )
    _profile(command)
    _metrics(command)
    command.add_argument("--plot", action="store_true", help="draw each figure over the nights")
    command.add_argument(
        "--format",
        choices=("text", "csv", "html"),
        default="text",
        help="print in this format (default text)",
    )
    command.add_argument(
        "--out", type=Path, metavar="FILE", help="write this file instead of printing"
    )
    command.add_argument("--why", default="", metavar="TEXT", help="of rename: the reason")
    command = _command(
        commands,
        "regress",
        "add the store's runs to the history, and say whether tonight is a regression: suspected "
        "by the nights before, confirmed by running the old version and the new one in turn",
    )
    command.add_argument("scenario", metavar="SCENARIO", help=_SCENARIO_HELP)
    _profile(command)
    _metrics(command)
    command.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="AXIS=VALUE",
        help="look only at these cells of the sweep; repeatable",
    )
    command.add_argument(
        "--no-confirm", action="store_true", help="run no pairs: say what is suspected"
    )
    command.add_argument(
        "--pairs",
        type=int,
        default=30,
        metavar="N",
        help="the most pairs of runs that confirm the figures of a cell (default 30)",
    )
    command.add_argument(
        "--budget",
        default="2h",
        metavar="TIME",
        help="begin no pair after so long, e.g. 30m (default 2h)",
    )
    command.add_argument(
        "--first-bad",
        action="store_true",
        help="look for the first bad commit of a confirmed regression, by pairs",
    )
    command.add_argument(
        "--bisect",
        nargs=2,
        default=[],
        metavar=("GOOD", "BAD"),
        help="look for the first bad commit between two, whatever the history says",
    )
    command.add_argument(
        "--accept", metavar="ID", help="take the level of a finding as the new baseline"
    )
    command.add_argument("--why", default="", metavar="TEXT", help="of --accept: the reason")
    _outputs(command)
    command.add_argument(
        "--notify",
        metavar="URL",
        help="tell this web hook of a new alarm; env:NAME or file:PATH keep a secret address out "
        "of the command line; other addresses need apprise (an extra)",
    )


def _metrics(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--metric", action="append", default=[], metavar="METRIC", help="only this; repeatable"
    )
    command.add_argument(
        "--history",
        type=Path,
        metavar="FOLDER",
        help="the folder of histories (default $HARNESS_HISTORY, else results/history in the "
        "project)",
    )


def _add_machine(commands: _Commands) -> None:
    command = _command(commands, "fetch", "download the published raw data and verify every file")
    _scenarios(command)
    command = _command(commands, "build", "build container images and lock their digests")
    command.add_argument("images", nargs="*", metavar="IMAGE", help="an image of the lock")
    command.add_argument("--all", action="store_true", help="every image of the lock")
    command.add_argument(
        "--resolve", action="store_true", help="build nothing; look up the digests of base images"
    )
    command.add_argument(
        "--accept", action="store_true", help="lock a digest that differs from the locked one"
    )
    command = _command(
        commands, "artefacts", "list, show, prune, export or import the finished steps of runs"
    )
    command.add_argument("action", choices=ACTIONS, metavar="ACTION", help=", ".join(ACTIONS))
    command.add_argument(
        "names",
        nargs="*",
        metavar="STEP",
        help="a key or a beginning of one, or the name of a step (default all); of import: a file",
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="of export: write this file")
    command.add_argument(
        "--all", action="store_true", help="of prune: also steps that stored runs have used"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="of prune: only say what would be deleted"
    )
    command = _command(
        commands, "doctor", "say what this machine can run, and the next command to type"
    )
    command.add_argument(
        "--probe",
        action="store_true",
        help="measure instead what the machine can do now, and say whether it is itself; exit code "
        "3 where it is not",
    )
    _address(command, default=None, otherwise="none: this machine alone")
    command = _command(
        commands, "completion", "print a script that completes this program's words in a shell"
    )
    command.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def _notify(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--notify",
        metavar="URL",
        help="tell this web hook when a run ends, stalls or fails; env:NAME or file:PATH keep a "
        "secret address out of the command line; other addresses need apprise (an extra)",
    )


def _command(commands: _Commands, name: str, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    _common(command, argument_default=argparse.SUPPRESS)
    return command


def _common(parser: argparse.ArgumentParser, argument_default: str | None = None) -> None:
    """Add options that may come before or after the command; after it, only given ones count."""
    flag: dict[str, Any] = {"action": "store_true"}
    path: dict[str, Any] = {"type": Path, "metavar": "FOLDER"}
    if argument_default is not None:
        flag["default"] = path["default"] = argument_default
    group = parser.add_argument_group("for every command")
    group.add_argument("--json", **flag, help="print JSON for a program to read")
    amount = group.add_mutually_exclusive_group()
    amount.add_argument("-q", "--quiet", **flag, help="print only results and errors")
    amount.add_argument("-v", "--verbose", **flag, help="also say reasons, paths and times")
    group.add_argument(
        "--project",
        **path,
        help="the checkout with scenarios/ (default $HARNESS_PROJECT, else the one that this "
        "program is installed from)",
    )
    group.add_argument(
        "--store", **path, help="the folder of results (default results/local in the project)"
    )


_SCENARIO_HELP = "a scenario: its id (a34-t2po-...), its number (a34, 34) or a unique beginning"


def _scenarios(
    command: argparse.ArgumentParser, *, nargs: str | int = "+", otherwise: str = ""
) -> None:
    words = f"{_SCENARIO_HELP}; {otherwise}" if otherwise else _SCENARIO_HELP
    command.add_argument("scenarios", nargs=nargs, metavar="SCENARIO", help=words)


def _profile(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--profile",
        default="auto",
        metavar="PROFILE",
        help=f"one of {', '.join(PROFILES)} (default auto)",
    )


def _experiment(command: argparse.ArgumentParser) -> None:
    _profile(command)
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set a param; repeatable"
    )
    command.add_argument(
        "--params", type=Path, metavar="FILE", help="set the params of this YAML file"
    )
    command.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="AXIS=VALUE",
        help="keep only these cells of the sweep; repeatable",
    )
    command.add_argument("--seed", type=int, metavar="N", help="instead of the declared seed")
    command.add_argument(
        "--replicates", type=int, metavar="N", help="instead of the declared number of replicates"
    )


def _runtime(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--runtime",
        choices=_RUNTIMES,
        default="auto",
        help="run as a process of this machine, in a container, or on the nodes of a Ray cluster "
        "(default auto)",
    )
    _address(command, default="auto", otherwise="the one that this machine is a node of")
    command.add_argument(
        "--timeout",
        metavar="TIME",
        help="end a run after so long, e.g. 90s, 30m, 20h, 3d, whatever its limits say",
    )


def _address(command: argparse.ArgumentParser, *, default: str | None, otherwise: str) -> None:
    command.add_argument(
        "--address",
        default=default,
        metavar="HOST:PORT|auto",
        help=f"of the Ray cluster (default {otherwise})",
    )


def _outputs(command: argparse.ArgumentParser) -> None:
    command.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML to this file")
    command.add_argument(
        "--summary", type=Path, metavar="FILE", help="append a Markdown summary to this file"
    )
