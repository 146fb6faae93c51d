"""The page of a changed experiment, in a browser of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ExitCode
from tests.contract.small import NAME, called, make_project, runs_of

PROFILE = ("a99", "--profile", "cpu")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_project(tmp_path_factory.mktemp("open") / "project")
    done = called(project, "run", *PROFILE, "--set", "value=5", "--runtime", "local")
    assert b"harness open a99 --profile cpu --set=value=5" in done.stdout
    return project


def test_open_shows_the_runs_of_what_was_set(project: Path) -> None:
    done = called(project, "open", *PROFILE, "--set", "value=5", "--no-browser")
    assert done.returncode == ExitCode.OK, done.stderr
    page = Path(done.stdout.decode().strip())
    assert page.is_relative_to(project / "results" / "local" / ".pages" / NAME)
    text = page.read_text("utf-8")
    assert all(run.name[:8] in text for run in runs_of(project))


def test_open_without_it_says_what_is_not_there(project: Path) -> None:
    done = called(project, "open", *PROFILE, "--no-browser")
    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert b"no results of a99-small, profile cpu, in " in done.stderr
    assert b"next: harness run a99 --profile cpu" in done.stderr
    done = called(project, "open", *PROFILE, "--set", "value=6", "--no-browser")
    assert b"profile cpu with --set=value=6, in " in done.stderr
    assert b"next: harness run a99 --profile cpu --set=value=6" in done.stderr
