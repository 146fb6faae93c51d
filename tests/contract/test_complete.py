"""No command says that a scenario is reproduced while runs that it declares are missing."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness.errors import ExitCode

from .small import called, make_project, runs_of

RUN = ("run", "a99", "--profile", "cpu", "--runtime", "local")
CHECK = ("check", "a99", "--profile", "cpu")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_project(tmp_path_factory.mktemp("finished") / "project")
    assert called(project, *RUN).returncode == ExitCode.OK
    return project


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "project"))


def test_all_declared_runs_pass(project: Path) -> None:
    done = called(project, *CHECK, "--junit", str(project / "junit.xml"))
    assert done.returncode == ExitCode.OK
    assert b"missing" not in done.stdout
    assert ET.parse(project / "junit.xml").getroot().get("errors") == "0"  # noqa: S314


@pytest.mark.parametrize("num_lost", [1, 2])
def test_a_missing_run_is_seen_wherever_a_result_is_read(
    project: Path, num_lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    for run in runs_of(project)[:num_lost]:
        shutil.rmtree(run)
    junit, summary = project / "junit.xml", project / "summary.md"
    words = (*CHECK, "--junit", str(junit), "--summary", str(summary))
    done = called(project, *words)
    said = f"{num_lost} of 3 declared runs missing"
    assert done.returncode == ExitCode.INCONCLUSIVE
    assert said in done.stdout.decode()
    place = f"::warning file=scenarios/a99-small/expectations.yaml,line=1,title=MISSING::{said}"
    assert place in done.stdout.decode().splitlines()
    assert said in summary.read_text(encoding="utf-8")
    root = ET.parse(junit).getroot()  # noqa: S314
    assert (root.get("tests"), root.get("errors"), root.get("failures")) == ("2", "1", "0")
    case = root.find(".//testcase[@name='declared runs']/error")
    assert case is not None
    assert case.get("message") == said


def test_fewer_replicates_than_declared_are_incomplete(project: Path, tmp_path: Path) -> None:
    done = called(project, *CHECK, "--replicates", "1")
    assert done.returncode == ExitCode.INCONCLUSIVE
    assert b"2 of 3 declared runs missing" in done.stdout
    assert b"2 declared runs left out: beyond --replicates 1" in done.stdout
    fresh = make_project(tmp_path / "fresh")
    done = called(fresh, *RUN, "--replicates", "1")
    assert done.returncode == ExitCode.INCONCLUSIVE
    assert len(runs_of(fresh)) == 1
    assert called(fresh, *RUN, "--replicates", "4").returncode == ExitCode.OK


def test_a_failed_run_counts_as_missing(project: Path) -> None:
    run = runs_of(project)[0]
    outcome = run / "outcome.json"
    text = outcome.read_text(encoding="utf-8")
    outcome.write_text(text.replace('"finished"', '"failed"'), encoding="utf-8")
    run.rename(run.with_name(f"{run.name}.failed-1"))
    done = called(project, *CHECK)
    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert b"1 of 3 declared runs missing" in done.stdout


def test_a_linked_scenario_folder_is_annotated_under_its_link(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    folder = project / "scenarios" / "a99-small"
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    shutil.rmtree(runs_of(project)[0])
    done = called(project, *CHECK)
    assert done.returncode == ExitCode.INCONCLUSIVE, done.stderr.decode()
    assert b"::warning file=scenarios/a99-small/expectations.yaml,line=1" in done.stdout


def test_remedies_name_the_scenario(project: Path) -> None:
    file = project / "scenarios" / "a99-small" / "scenario.yaml"
    text = file.read_text(encoding="utf-8")
    limits = "cpu: {summary: on this machine, limits: {memory_gib: 100000}}"
    file.write_text(text.replace("cpu: {summary: on this machine}", limits), encoding="utf-8")
    shutil.rmtree(project / "results")
    for words in (RUN, ("plan", *RUN[1:])):
        done = called(project, *words)
        assert done.returncode == ExitCode.INFRASTRUCTURE
        said = (done.stdout + done.stderr).decode()
        assert "next: harness run a99-small --profile evidence" in said
        assert "SCENARIO" not in said
