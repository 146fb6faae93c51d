"""Which checkout a command works on, wherever it is called."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest

from harness.cli import main
from harness.errors import ExitCode, InputError
from harness.results.redact import redact
from harness.session.options import ListOptions
from harness.session.project import cache_folder, find_project, open_project


def checkout(folder: Path) -> Path:
    for name in ("harness", "scenarios"):
        (folder / name).mkdir(parents=True)
    return folder


def test_the_code_s_own_checkout_comes_before_the_one_around_us(tmp_path: Path) -> None:
    ours, around = checkout(tmp_path / "ours"), checkout(tmp_path / "around")
    assert find_project({}, code=ours, start=around / "scenarios") == ours


def test_an_installed_wheel_takes_the_checkout_around_us(tmp_path: Path) -> None:
    around, installed = checkout(tmp_path / "around"), tmp_path / "site-packages"
    (installed / "harness").mkdir(parents=True)
    assert find_project({}, code=installed, start=around / "scenarios") == around


def test_the_variable_comes_before_both(tmp_path: Path) -> None:
    ours = checkout(tmp_path / "ours")
    environ = {"HARNESS_PROJECT": str(tmp_path / "named")}
    assert find_project(environ, code=ours, start=ours) == tmp_path / "named"


def test_the_option_comes_before_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_PROJECT", str(tmp_path / "other"))
    project = open_project(ListOptions(project=checkout(tmp_path / "named")))
    assert project.root == tmp_path / "named"
    assert project.store == tmp_path / "named" / "results" / "local"


def test_no_checkout_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_PROJECT", str(tmp_path))
    with pytest.raises(InputError) as refused:
        open_project(ListOptions())
    assert str(refused.value) == (
        f"{tmp_path}: is not a checkout of this project: it has no scenarios/; "
        "name one with --project FOLDER or HARNESS_PROJECT=FOLDER"
    )


def test_the_program_runs_from_any_folder(project_root: Path, tmp_path: Path) -> None:
    """As an editable install makes it: the package is on the path, and we are elsewhere."""
    env = {name: value for name, value in os.environ.items() if name != "HARNESS_PROJECT"}
    done = subprocess.run(
        [sys.executable, "-m", "harness", "list"],
        cwd=tmp_path,
        env={**env, "PYTHONPATH": str(project_root), "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{len(list((project_root / 'scenarios').iterdir()))} scenarios" in done.stdout


def test_a_store_that_is_a_file_is_refused(
    project_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    words = ["check", "a24", "--project", str(project_root), "--store", str(tmp_path / "file")]
    assert main(words) == 2
    assert "is not a folder, so it cannot be a store of results" in capsys.readouterr().err


def test_a_user_without_a_home_is_given_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pwd, "getpwuid", _nobody)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert cache_folder() == tmp_path / f"cache-of-{os.getuid()}" / "spark-article-harness"
    assert redact("~/x and /home/x") == "~/x and /home/x"
    for command in ("list", "show a24", "plan a24 --profile cpu --runtime local", "doctor"):
        assert main(command.split()) in (ExitCode.OK, ExitCode.INFRASTRUCTURE), command


def _nobody(_: int) -> NoReturn:
    raise KeyError
