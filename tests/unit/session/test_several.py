"""Several scenarios in one call."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import ExitCode, HostError, InputError, Interrupted, Problem, worst
from harness.session.options import CheckOptions, Options
from harness.session.several import Answer, answer_each

FOLDERS = [Path("scenarios") / name for name in ("a1-one", "a2-two", "a3-three")]


def test_the_worst_code_counts_in_the_documented_order() -> None:
    order = [
        ExitCode.OK,
        ExitCode.INCONCLUSIVE,
        ExitCode.INFRASTRUCTURE,
        ExitCode.USAGE,
        ExitCode.OUTSIDE,
        ExitCode.INTERRUPTED,
    ]
    assert set(order) == {*ExitCode}
    for place, code in enumerate(order):
        for other in order[: place + 1]:
            assert worst([code, other]) is worst([other, code]) is code
    assert worst([]) is ExitCode.OK


def _answer(folder: Path) -> Answer:
    if folder.name == "a1-one":
        raise InputError([Problem(message="is damaged", path=folder)])
    if folder.name == "a2-two":
        message = "no GPU"
        raise HostError(message, "nvidia-smi")
    return Answer(text="table\n", document={"table": 1})


def test_one_failure_does_not_stop_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer_each(FOLDERS, _answer, Options()) is ExitCode.USAGE
    printed = capsys.readouterr()
    assert printed.err == (
        "a1-one: scenarios/a1-one: is damaged\na2-two: no GPU\n  next: nvidia-smi\n"
    )
    assert printed.out == (
        "table\n\n3 scenarios:\n  a1-one    wrong input\n  a2-two    failed\n  a3-three  ok\n"
    )


def test_as_json_they_are_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer_each(FOLDERS, _answer, CheckOptions(json=True)) is ExitCode.USAGE
    document = json.loads(capsys.readouterr().out)
    one, two, three = (document["scenarios"].pop(each.name) for each in FOLDERS)
    assert document == {
        "schema_version": 1,
        "command": "check",
        "exit_code": 2,
        "answer": None,
        "scenarios": {},
        "errors": [],
    }
    assert (one["exit_code"], one["answer"]) == (2, None)
    assert {"message": "is damaged", "file": "scenarios/a1-one"}.items() <= one["errors"][0].items()
    assert (two["exit_code"], two["answer"]) == (3, None)
    assert {"message": "no GPU", "next": "nvidia-smi"}.items() <= two["errors"][0].items()
    assert three == {"exit_code": 0, "answer": {"table": 1}, "errors": []}


def test_of_one_scenario_the_answer_is_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer_each(FOLDERS[2:], _answer, Options()) is ExitCode.OK
    assert capsys.readouterr().out == "table\n"
    with pytest.raises(HostError):
        answer_each(FOLDERS[1:2], _answer, Options())


def test_a_broken_disk_fails_one_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    def ask(folder: Path) -> Answer:
        if folder.name == "a1-one":
            raise OSError(5, "Input/output error", "disk")
        return Answer()

    assert answer_each(FOLDERS, ask, Options()) is ExitCode.INFRASTRUCTURE
    assert "a1-one: [Errno 5] Input/output error: 'disk'" in capsys.readouterr().err


def test_an_interruption_stops_all() -> None:
    asked = []

    def ask(folder: Path) -> Answer:
        asked.append(folder)
        raise Interrupted

    with pytest.raises(Interrupted):
        answer_each(FOLDERS, ask, Options())
    assert asked == FOLDERS[:1]


def test_every_name_is_looked_up_before_anything_starts(
    project_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--project", str(project_root), "--store", str(tmp_path / "store")]
    assert main(["run", "a24", "a3", "zzz", "--profile", "cpu", *folders]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert "a3: is the beginning of more than one scenario (allowed: a32-" in said
    assert "unknown scenario (got 'zzz'; allowed: a18, a19, " in said
    assert not (tmp_path / "store").exists()


def test_several_are_run_and_checked_into_one_junit_file(
    project_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--project", str(project_root), "--store", str(tmp_path / "store")]
    assert main(["run", "24", "A23", "a24", "--profile", "cpu", *folders, "-q"]) == 0
    assert capsys.readouterr().out.endswith(
        "2 scenarios:\n  a24-derisk-cloud-pretraining  ok\n  a23-what-the-agent-built      ok\n"
    )
    junit = tmp_path / "junit.xml"
    words = ["check", "a23", "a24", "a19", *folders, "--junit", str(junit), "--json"]
    assert main(words) == ExitCode.INFRASTRUCTURE
    document = json.loads(capsys.readouterr().out)
    codes = {name: each["exit_code"] for name, each in document["scenarios"].items()}
    assert list(codes.values()) == [0, 0, 3]
    assert (
        "no results of a19-"
        in document["scenarios"]["a19-gb10-pretrain-envelope"]["errors"][0]["message"]
    )
    suites = junit.read_text(encoding="utf-8")
    assert suites.count("<testsuite ") == 2
