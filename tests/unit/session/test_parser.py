"""From words to the record of options of one command."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import InputError
from harness.session.options import (
    OF_COMMAND,
    BuildOptions,
    CompareOptions,
    Options,
    RunOptions,
    ValidateOptions,
)
from harness.session.parser import make_parser, parse


def commands() -> dict[str, argparse.ArgumentParser]:
    (listed,) = [each.choices for each in make_parser()._actions if each.dest == "command"]
    assert isinstance(listed, dict)
    return listed


def every_parser() -> Iterator[argparse.ArgumentParser]:
    yield make_parser()
    yield from commands().values()


@pytest.mark.parametrize("name", OF_COMMAND)
def test_a_command_declares_just_the_fields_of_its_record(name: str) -> None:
    declared = {each.dest for each in commands()[name]._actions} - {"help"}
    assert declared == {each.name for each in fields(OF_COMMAND[name])}


def test_every_command_has_a_record_and_a_module_whose_main_takes_it(project_root: Path) -> None:
    modules = {each.stem for each in (project_root / "harness" / "commands").glob("[a-z]*.py")}
    assert set(OF_COMMAND) == set(commands()) == modules - {"output_schema"}  # of all of them
    for name, record in OF_COMMAND.items():
        source = (project_root / "harness" / "commands" / f"{name}.py").read_text(encoding="utf-8")
        assert f"def main(options: {record.__name__}) -> ExitCode:" in source


def test_every_option_has_help() -> None:
    for parser in every_parser():
        for action in parser._actions:
            assert action.help or action.dest == "command", (parser.prog, action)


def test_words_become_a_frozen_record() -> None:
    words = [
        "run",
        "a24",
        "34",
        "--set",
        "electricity_usd_per_kwh=0.3",
        "--only",
        "a=1",
        "--only",
        "a=2",
    ]
    name, options = parse([*words, "--seed", "7", "--with-evidence", "-v"])
    assert name == "run"
    assert options == RunOptions(
        scenarios=("a24", "34"),
        set=("electricity_usd_per_kwh=0.3",),
        only=("a=1", "a=2"),
        seed=7,
        with_evidence=True,
        verbose=True,
    )
    with pytest.raises(FrozenInstanceError):
        options.json = True  # type: ignore[misc]


def test_defaults_are_those_of_the_records() -> None:
    assert parse(["validate"])[1] == ValidateOptions()
    assert parse(["build"])[1] == BuildOptions()
    compared = CompareOptions(scenarios=("a24",), other=Path("there"))
    assert parse(["compare", "a24", "there"])[1] == compared
    assert parse(["compare", "a24", "--profile", "auto", "there"])[1] == compared


@pytest.mark.parametrize(
    "words", ["-q --project x list", "list -q --project x", "-q list --project x"]
)
def test_what_every_command_takes_stands_before_or_after_it(words: str) -> None:
    options = parse(words.split())[1]
    assert (options.quiet, options.verbose, options.project) == (True, False, Path("x"))


def test_nothing_is_said_both_more_and_less(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["list", "-q", "-v"])
    assert "not allowed with" in capsys.readouterr().err


def test_an_unknown_option_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean '--profile'"):
        parse(["run", "a24", "--proflie", "cpu"])


def test_records_that_are_never_parsed_have_the_same_defaults() -> None:
    assert Options() == Options(json=False, quiet=False, verbose=False, project=None, store=None)


def test_the_version_needs_no_records_of_options() -> None:
    program = (
        "import sys\nfrom harness.cli import main\n"
        "try: main(['--version'])\nexcept SystemExit: pass\n"
        "print(*sorted(name for name in sys.modules if name.startswith('harness')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.splitlines()[1].split())
    assert "harness.session.options" not in loaded
    assert "harness.records" not in loaded


def test_listing_needs_nothing_that_opens_results(
    project_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    program = (
        "import sys\nfrom harness.cli import main\n"
        "assert main(['list', '--quiet', '--project', sys.argv[1]]) == 0\n"
        "print(*sorted(sys.modules))"
    )
    command = [sys.executable, "-c", program, str(project_root)]
    subprocess.run(command, check=True)  # reads the scenarios, and writes down what it read
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "harness.commands.list" in loaded
    assert not loaded & {"harness.results.store", "harness.results.bundle", "harness.report.tables"}
    assert not loaded & {"tarfile", "pydantic", "docker", "matplotlib"}


@pytest.mark.parametrize("word", ["-q", "-v"])
def test_quiet_and_verbose_change_what_stands_on_standard_error(
    word: str, project_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--project", str(project_root), "--store", str(tmp_path)]
    assert main(["run", "a24", "--profile", "cpu", *folders, word]) == 0
    printed = capsys.readouterr()
    assert "CLAIMS  84: 83 hold here, 0 fail" in printed.out
    if word == "-q":
        assert printed.err == ""
        assert "harness report" not in printed.out
    else:
        said = printed.err.splitlines()
        assert f"project: {project_root}" in said
        assert "profile: cpu (asked for)" in said
        assert sum(line.startswith(f"  stored in {tmp_path}") for line in said) == 3
        assert said[-1].startswith("harness run: exit code 0, ")
