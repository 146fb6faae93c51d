"""``harness completion``: a script that completes this program's words in a shell.

The script is made from the parser, so it knows every command, option and choice. Scenarios and
images are listed from the project's folders when a word is completed, without starting Python.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path

from harness.errors import ExitCode
from harness.records import record
from harness.session.options import CompletionOptions
from harness.session.parser import PROFILES, make_parser
from harness.session.project import PROJECT_VARIABLE, find_project


class WordKind(StrEnum):
    """What a word of the command line is."""

    FLAG = "flag"  # an option without a value
    CHOICE = "choice"  # one of a few words
    SCENARIO = "scenario"
    IMAGE = "image"
    FILE = "file"
    FOLDER = "folder"
    TEXT = "text"  # anything


@record
class Word:
    """An option, or a positional word, and its possible values.

    Attributes:
        options: its spellings, e.g. ``-q`` and ``--quiet``; empty for a positional word.
        choices: for `WordKind.CHOICE`.
        repeats: whether it may be given several times.
    """

    options: tuple[str, ...]
    kind: WordKind
    help: str
    choices: tuple[str, ...] = ()
    repeats: bool = False


@record
class Command:
    """One command and the words that it takes."""

    name: str
    help: str
    words: tuple[Word, ...]


def main(options: CompletionOptions) -> ExitCode:
    """Print the script."""
    project = options.project or find_project()
    print(script(options.shell, make_parser(), project.resolve()), end="")
    return ExitCode.OK


def script(shell: str, parser: argparse.ArgumentParser, project: Path) -> str:
    """Return the script for one shell.

    Args:
        shell: ``bash``, ``zsh`` or ``fish``.
        parser: the whole command line.
        project: where scenarios and images are listed, unless HARNESS_PROJECT names another.
    """
    write = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]
    return "\n".join([*write(_words(parser), _commands(parser), project), ""])


def _commands(parser: argparse.ArgumentParser) -> list[Command]:
    (action,) = (
        each
        for each in parser._actions  # noqa: SLF001 - argparse has no other way to ask
        if isinstance(each, argparse._SubParsersAction)  # noqa: SLF001
    )
    helps = {each.dest: each.help or "" for each in action._choices_actions}  # noqa: SLF001
    return [
        Command(name=name, help=helps[name], words=tuple(_words(command)))
        for name, command in action.choices.items()
    ]


def _words(parser: argparse.ArgumentParser) -> list[Word]:
    return [
        Word(
            options=tuple(action.option_strings),
            kind=_kind(action),
            help=" ".join((action.help or "").split()),
            choices=_choices(action),
            repeats=isinstance(action, argparse._AppendAction) or action.nargs in ("+", "*"),  # noqa: SLF001
        )
        for action in parser._actions  # noqa: SLF001
        if not isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
    ]


def _choices(action: argparse.Action) -> tuple[str, ...]:
    return PROFILES if action.metavar == "PROFILE" else tuple(map(str, action.choices or ()))


def _kind(action: argparse.Action) -> WordKind:
    if action.nargs == 0:
        return WordKind.FLAG
    if _choices(action):
        return WordKind.CHOICE
    named = {"SCENARIO": WordKind.SCENARIO, "IMAGE": WordKind.IMAGE}
    if kind := named.get(str(action.metavar)):
        return kind
    if action.type is Path:
        return WordKind.FOLDER if action.metavar in ("FOLDER", "STORE") else WordKind.FILE
    return WordKind.TEXT


def _folder(project: Path) -> str:
    """Return the project's folder as bash and zsh read it within double quotes."""
    return re.sub(r'([\\"$`])', r"\\\1", str(project))


# --- bash -----------------------------------------------------------------------------------------


def _bash(common: Sequence[Word], commands: Sequence[Command], project: Path) -> Iterator[str]:
    yield "# bash completion of harness; load it with: source <(harness completion bash)"
    yield from _bash_listing("scenarios", "scenario.yaml", project)
    yield from _bash_listing("containers", "Dockerfile", project)
    names = " ".join(command.name for command in commands)
    yield "_harness() {"
    yield '  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command="" i'
    yield "  COMPREPLY=()"
    yield "  for ((i = 1; i < COMP_CWORD; i++)); do"
    yield "    case ${COMP_WORDS[i]} in"
    yield "      --project | --store) ((i++)) ;;"
    yield f"      {names.replace(' ', ' | ')}) command=${{COMP_WORDS[i]}}; break ;;"
    yield "    esac"
    yield "  done"
    yield "  case $command in"
    command_word = Word(
        options=(), kind=WordKind.CHOICE, help="a command", choices=tuple(names.split())
    )
    yield from _bash_case('""', [*common, command_word])
    for command in commands:
        yield from _bash_case(command.name, command.words)
    yield "  esac"
    yield "}"
    yield "complete -F _harness harness"


def _bash_listing(folder: str, marker: str, project: Path) -> Iterator[str]:
    """Yield a function that prints the names of the folders in which a file `marker` is."""
    yield f"_harness_{folder}() {{"
    yield "  local each"
    yield f'  for each in "${{{PROJECT_VARIABLE}:-{_folder(project)}}}/{folder}"/*/{marker}; do'
    yield '    [ -f "$each" ] || continue'
    yield "    each=${each%/*}"
    yield '    echo "${each##*/}"'
    yield "  done"
    yield "}"


def _bash_case(name: str, words: Sequence[Word]) -> Iterator[str]:
    yield f"    {name})"
    yield "      case $before in"
    for word in words:
        if word.options and word.kind is not WordKind.FLAG:
            yield f"        {' | '.join(word.options)}) {_bash_reply(word)}; return ;;"
    yield "      esac"
    spellings = " ".join(option for word in words for option in word.options)
    yield "      case $word in"
    yield f'        -*) COMPREPLY=($(compgen -W "{spellings}" -- "$word")) ;;'
    positional = [_bash_reply(word) for word in words if not word.options]
    if positional:
        yield f"        *) {'; '.join(positional)} ;;"
    yield "      esac ;;"


def _bash_reply(word: Word) -> str:
    source = {
        WordKind.CHOICE: f'-W "{" ".join(word.choices)}"',
        WordKind.SCENARIO: '-W "$(_harness_scenarios)"',
        WordKind.IMAGE: '-W "$(_harness_containers)"',
        WordKind.FOLDER: "-d",
        WordKind.FILE: "-f",
    }.get(word.kind)
    return f'COMPREPLY+=($(compgen {source} -- "$word"))' if source else ":"


# --- zsh ------------------------------------------------------------------------------------------


def _zsh(common: Sequence[Word], commands: Sequence[Command], project: Path) -> Iterator[str]:
    yield "#compdef harness"
    yield "# zsh completion of harness; load it with: source <(harness completion zsh)"
    yield from _zsh_listing("scenarios", "scenario.yaml", project)
    yield from _zsh_listing("containers", "Dockerfile", project)
    yield "_harness() {"
    yield "  local curcontext=$curcontext state line"
    yield "  local -a commands"
    yield "  commands=("
    for command in commands:
        yield f"    {shlex.quote(f'{command.name}:{command.help}')}"
    yield "  )"
    yield "  _arguments -C \\"
    for word in common:
        yield f"    {_zsh_argument(word)} \\"
    yield "    '1: :->command' '*:: :->words'"
    yield "  case $state in"
    yield "    command) _describe command commands ;;"
    yield "    words)"
    yield "      case $words[1] in"
    for command in commands:
        yield f"        {command.name})"
        arguments = " \\\n            ".join(map(_zsh_argument, command.words))
        yield f"          _arguments \\\n            {arguments} ;;"
    yield "      esac ;;"
    yield "  esac"
    yield "}"
    yield "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then"
    yield '  _harness "$@"'
    yield "else"
    yield "  compdef _harness harness"
    yield "fi"


def _zsh_listing(folder: str, marker: str, project: Path) -> Iterator[str]:
    yield f"_harness_{folder}() {{"
    yield "  local -a names"
    root = f'"${{{PROJECT_VARIABLE}:-{_folder(project)}}}"'
    yield f"  names=({root}/{folder}/*/{marker}(N:h:t))"
    yield f"  _describe {folder} names"
    yield "}"


def _zsh_argument(word: Word) -> str:
    """Return one argument of ``_arguments``: spellings, help, and possible values."""
    text = re.sub(r"([\[\]:])", r"\\\1", word.help)
    takes = {
        WordKind.CHOICE: f":word:({' '.join(word.choices)})",
        WordKind.SCENARIO: ":scenario:_harness_scenarios",
        WordKind.IMAGE: ":image:_harness_containers",
        WordKind.FOLDER: ":folder:_files -/",
        WordKind.FILE: ":file:_files",
        WordKind.TEXT: ":value: ",
        WordKind.FLAG: "",
    }[word.kind]
    if not word.options:
        return shlex.quote(f"*{takes}" if word.repeats else takes)
    if len(word.options) == 1:
        star = "*" if word.repeats else ""
        return shlex.quote(f"{star}{word.options[0]}[{text}]{takes}")
    excludes = f"({' '.join(word.options)})"
    return f"'{excludes}'{{{','.join(word.options)}}}{shlex.quote(f'[{text}]{takes}')}"


# --- fish -----------------------------------------------------------------------------------------


def _fish(common: Sequence[Word], commands: Sequence[Command], project: Path) -> Iterator[str]:
    yield "# fish completion of harness; load it with: harness completion fish | source"
    yield from _fish_listing("scenarios", "scenario.yaml", project)
    yield from _fish_listing("containers", "Dockerfile", project)
    yield "complete -c harness -f"
    names = " ".join(command.name for command in commands)
    before = f"not __fish_seen_subcommand_from {names}"
    for word in common:
        yield _fish_line(before, word)
    for command in commands:
        help_ = shlex.quote(command.help)
        yield f"complete -c harness -n {shlex.quote(before)} -a {command.name} -d {help_}"
    for command in commands:
        for word in command.words:
            yield _fish_line(f"__fish_seen_subcommand_from {command.name}", word)


def _fish_listing(folder: str, marker: str, project: Path) -> Iterator[str]:
    yield f"function __harness_{folder}"
    quoted = re.sub(r"([\\'])", r"\\\1", str(project))
    yield f"  set -l project '{quoted}'"
    yield f'  set -q {PROJECT_VARIABLE}; and set project "${PROJECT_VARIABLE}"'
    yield f"  for each in $project/{folder}/*/{marker}"
    yield "    basename (dirname $each)"
    yield "  end"
    yield "end"


def _fish_line(condition: str, word: Word) -> str:
    parts = ["complete", "-c", "harness", "-n", shlex.quote(condition)]
    for option in word.options:
        parts += ["-l", option[2:]] if option.startswith("--") else ["-s", option[1:]]
    parts += {
        WordKind.CHOICE: ["-x", "-a", shlex.quote(" ".join(word.choices))],
        WordKind.SCENARIO: ["-x", "-a", "'(__harness_scenarios)'"],
        WordKind.IMAGE: ["-x", "-a", "'(__harness_containers)'"],
        WordKind.FOLDER: ["-x", "-a", "'(__fish_complete_directories)'"],
        WordKind.FILE: ["-r", "-F"],
        WordKind.TEXT: ["-x"],
        WordKind.FLAG: [],
    }[word.kind]
    return " ".join([*parts, "-d", shlex.quote(word.help)])
