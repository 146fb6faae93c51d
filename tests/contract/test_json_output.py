"""What every command prints with ``--json`` is of the schema in docs/schema/output.json."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from harness.commands.output_schema import OF_ALL, OF_SCENARIOS, output_schema
from harness.errors import ExitCode
from harness.session.options import OF_COMMAND

from .publication import committed
from .small import NAME, called, make_project, runs_of

SMALL = ("a99", "--profile", "cpu")
LOCAL = (*SMALL, "--runtime", "local")
COMMANDS: dict[str, tuple[str, ...]] = {
    "run": LOCAL,
    "rehearse": LOCAL,
    "list": (),
    "show": SMALL,
    "validate": (),
    "plan": LOCAL,
    "watch": (),
    "check": SMALL,
    "audit": SMALL,
    "pin": SMALL,
    "report": SMALL,
    "compare": ("a99", "results/local"),
    "publish": ("--all",),
    "verify": (),
    "fetch": ("a99",),
    "build": ("own", "--resolve"),
    "artefacts": ("list",),
    "doctor": (),
    "open": (*SMALL, "--no-browser"),
    "site": (),
    "history": SMALL,
    "regress": SMALL,
    "export": (*SMALL, "--to", "parquet", "results/../exported"),
}


@pytest.fixture(scope="module")
def schema(project_root: Path) -> Draft202012Validator:
    text = (project_root / "docs" / "schema" / "output.json").read_text(encoding="utf-8")
    document = json.loads(text)
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose runs are finished and published."""
    project = make_project(tmp_path_factory.mktemp("json") / "project")
    lock = project / "containers" / "images.lock.yaml"
    lock.write_text("own: {base: null, base_digest: null, built: {}}\n", encoding="utf-8")
    (project / "containers" / "own").mkdir()
    (project / "containers" / "own" / "Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    committed(project)
    assert called(project, "run", *LOCAL).returncode == ExitCode.OK
    assert called(project, "publish", *SMALL).returncode == ExitCode.OK
    return project


def printed(project: Path, *words: str) -> tuple[int, dict[str, Any]]:
    done = called(project, *words, "--json")
    return done.returncode, json.loads(done.stdout)


def test_the_schema_is_exported(project_root: Path) -> None:
    text = (project_root / "docs" / "schema" / "output.json").read_text(encoding="utf-8")
    assert json.loads(text) == output_schema(), "nox -s schema writes it again"


def test_every_command_has_a_schema_and_a_test() -> None:
    expected = {*OF_COMMAND} - {"completion"}  # which prints a program for a shell
    assert {*OF_SCENARIOS, *OF_ALL} == expected == {*COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_answer_of_each_command(
    project: Path, schema: Draft202012Validator, command: str
) -> None:
    if command == "export":
        pytest.importorskip("pyarrow", reason="needs the packages of exports: nox -s exports")
    words = [word.replace("results/", f"{project}/results/") for word in COMMANDS[command]]
    code, document = printed(project, command, *words)
    schema.validate(document)
    assert document["command"] == command
    assert document["exit_code"] == code == ExitCode.OK
    answers = [each["answer"] for each in document["scenarios"].values()] or [document["answer"]]
    assert all(answers)
    assert not document["errors"]


def test_figures_are_numbers_and_name_their_runs(project: Path) -> None:
    _, document = printed(project, "check", *SMALL)
    answer = document["scenarios"][NAME]["answer"]
    (entry,) = answer["entries"]
    assert entry["measured"] == 3.0
    assert entry["expect"]["value"] == 3
    assert (entry["measured_text"], entry["unit"]) == ("3", "1")
    ids = {path.name for path in runs_of(project)}
    assert {*answer["run_ids"]} == {each["run_id"] for each in entry["samples"]} == ids
    assert [each["value"] for each in entry["samples"]] == [3.0, 3.0, 3.0]


def test_written_files_are_an_answer(
    project: Path, schema: Draft202012Validator, tmp_path: Path
) -> None:
    _, document = printed(project, "report", *SMALL, "--out", str(tmp_path / "report"))
    schema.validate(document)
    assert str(tmp_path / "report" / "table.md") in document["scenarios"][NAME]["answer"]["written"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("check", "a77"), ExitCode.USAGE, {"value": "'a77'"}),
        (("check", *SMALL, "--sed", "1"), ExitCode.USAGE, {"nearest": "--seed"}),
        (("chek", "a99"), ExitCode.USAGE, {"nearest": "check"}),
        (("check", "a99", "--store", "/nowhere"), ExitCode.INFRASTRUCTURE, {"file": None}),
    ],
)
def test_errors_are_json_too(
    project: Path,
    schema: Draft202012Validator,
    words: tuple[str, ...],
    code: ExitCode,
    said: dict[str, Any],
) -> None:
    found, document = printed(project, *words)
    schema.validate(document)
    assert found == document["exit_code"] == code
    (error,) = document["errors"]
    assert {name: error[name] for name in said} == said


def test_a_mistake_in_a_file_has_its_place(
    project: Path, schema: Draft202012Validator, tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(project, tmp_path / "project"))
    path = broken / "scenarios" / NAME / "scenario.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("replicates: 3", "replicats: 3"), encoding="utf-8")
    code, document = printed(broken, "validate")
    schema.validate(document)
    assert code == ExitCode.USAGE
    (error,) = document["errors"]
    assert (error["file"], error["line"]) == (
        str(path),
        text.split("replicates")[0].count("\n") + 1,
    )
    assert error["nearest"] == "replicates"


def test_changes_are_problems(project: Path, schema: Draft202012Validator, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(project, tmp_path / "project"))
    table = copy / "results" / NAME / "cpu.ledger.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("value", "worth"), encoding="utf-8")
    code, document = printed(copy, "verify")
    schema.validate(document)
    assert code == document["exit_code"] == ExitCode.OUTSIDE
    assert [each["file"] for each in document["answer"]["problems"]] == [str(table)]
