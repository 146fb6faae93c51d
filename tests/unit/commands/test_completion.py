"""The scripts are loaded into real shells, which complete real lines with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.commands.completion import script
from harness.session.parser import SHELLS, make_parser

# asks bash what Tab would offer for the words given, the last of which is unfinished
BASH = """\
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_harness
printf '%s\\n' "${COMPREPLY[@]}"
"""
# types a line into an interactive zsh, presses Tab, and prints what the line has become
ZSH = """\
zmodload zsh/zpty
zpty shell 'zsh -f -i'
zpty -w shell "PS1= ; unsetopt zle_bracketed_paste; autoload -Uz compinit; compinit -u -d $3
source $1; show() { print -r -- \\"<<\\$BUFFER>>\\"; }; zle -N show; bindkey '^X' show; print go-on"
while zpty -r shell out; do [[ $out = *go-on* && $out != *print* ]] && break; done
zpty -w -n shell "$2"$'\\t\\x18'
zpty -r -m shell out '*<<*>>*'
zpty -d shell
print -r -- ${${out##*<<}%%>>*}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in a folder whose name a shell must not take apart."""
    root = tmp_path / "a $HOME `project`"
    for name in ("a24-cloud", "a34-t2po-rl", "a35-loop"):
        (root / "scenarios" / name).mkdir(parents=True)
        (root / "scenarios" / name / "scenario.yaml").touch()
    (root / "scenarios" / "notes").mkdir()
    for name in ("cpu", "nemo"):
        (root / "containers" / name).mkdir(parents=True)
        (root / "containers" / name / "Dockerfile").touch()
    return root


def written(shell: str, project: Path) -> str:
    place = project.parent / f"completion.{shell}"
    place.write_text(script(shell, make_parser(), project), encoding="utf-8")
    return str(place)


def in_shell(shell: str, *arguments: str, **variables: str) -> str:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    env = {name: value for name, value in os.environ.items() if name != "HARNESS_PROJECT"}
    done = subprocess.run(
        [shell, *arguments],
        env={**env, **variables},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout


CASES = [
    ("harness publ", ["publish"]),
    ("harness run a3", ["a34-t2po-rl", "a35-loop"]),
    ("harness -q run a2", ["a24-cloud"]),
    ("harness run a24 --prof", ["--profile"]),
    ("harness run a24 --profile ev", ["evidence"]),
    ("harness report a24 --format ma", ["markdown"]),
    ("harness build ne", ["nemo"]),
    ("harness completion z", ["zsh"]),
    ("harness validate --schema exp", ["expectations"]),
]


@pytest.mark.parametrize(("line", "offered"), CASES)
def test_bash_completes(project: Path, line: str, offered: list[str]) -> None:
    place = written("bash", project)
    assert in_shell("bash", "-uc", BASH, "bash", place, *line.split(" ")).split() == offered


@pytest.mark.parametrize(("line", "offered"), CASES)
def test_fish_completes(project: Path, line: str, offered: list[str]) -> None:
    command = f"source '{written('fish', project)}'; complete -C '{line}'"
    told = in_shell("fish", "--no-config", "-c", command, HOME=str(project.parent))
    assert [each.partition("\t")[0] for each in told.splitlines()] == offered


@pytest.mark.parametrize(("line", "offered"), [each for each in CASES if len(each[1]) == 1])
def test_zsh_completes(project: Path, line: str, offered: list[str]) -> None:
    place, dump = written("zsh", project), str(project.parent / "dump")
    typed = in_shell("zsh", "-f", "-c", ZSH, "zsh", place, line, dump).strip("\n ")
    assert typed == " ".join([*line.split(" ")[:-1], *offered])


def test_another_project_is_listed_where_the_variable_names_it(project: Path) -> None:
    other = project.parent / "other"
    (other / "scenarios" / "b1-other").mkdir(parents=True)
    (other / "scenarios" / "b1-other" / "scenario.yaml").touch()
    place = written("bash", project)
    words = ["harness", "show", ""]
    told = in_shell("bash", "-uc", BASH, "bash", place, *words, HARNESS_PROJECT=str(other))
    assert told.split() == ["b1-other"]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_in_the_script(shell: str, project: Path) -> None:
    text = script(shell, make_parser(), project)
    (commands,) = [each.choices for each in make_parser()._actions if each.dest == "command"]
    assert isinstance(commands, dict)
    for name, command in commands.items():
        assert name in text
        for option in command._option_string_actions:
            bare = option.lstrip("-")
            assert (
                f"-l {bare}" in text or f"-s {bare}" in text if shell == "fish" else option in text
            )


def test_the_program_prints_the_script(project_root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "completion", "bash", "--project", str(project_root)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == script("bash", make_parser(), project_root)
