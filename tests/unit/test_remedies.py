"""What messages tell a user to type next: commands that exist, and that fit the installation."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

from harness import installed
from harness.errors import HostError
from harness.installed import to_install, to_upgrade
from harness.workloads import __main__ as workloads

# `HostError.about` puts the scenario in, wherever these are shown
_KNOW_NO_SCENARIO = {
    "runtime/host.py",
    "runtime/memory.py",
    "runtime/sandbox_server.py",
    "runtime/watch.py",
}


@cache
def texts(source: Path) -> tuple[tuple[str, str], ...]:
    """Return (module, text) for every text in the code that is no docstring."""
    return tuple(_texts(source))


def _texts(source: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(source.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        prose = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or id(node) in prose:
                continue
            if isinstance(node.value, str):
                yield str(path.relative_to(source)), node.value


def test_no_remedy_puts_a_package_beside_a_lock(project_root: Path) -> None:
    found = [
        (module, text)
        for module, text in texts(project_root / "harness")
        if re.search(r"\b(pip3?|pipx|uv|conda) (install|inject|pip)\b", text)
    ]
    assert {module for module, _ in found} == {"installed.py"}, found


def test_no_remedy_prints_a_placeholder(project_root: Path) -> None:
    found = {
        module
        for module, text in texts(project_root / "harness")
        if re.search(r"\b(harness|nox) .*\b[A-Z]{4,}\b", text)
    }
    assert found == _KNOW_NO_SCENARIO


def test_every_remedy_names_a_command_that_exists(project_root: Path) -> None:
    commands = {path.stem for path in (project_root / "harness" / "commands").glob("*.py")}
    noxfile = (project_root / "noxfile.py").read_text(encoding="utf-8")
    sessions = {
        name.replace("_", "-") for name in re.findall(r"^def (\w+)\(session", noxfile, re.MULTILINE)
    }
    named = []
    for module, text in texts(project_root / "harness"):
        named += [
            (module, kind, name)
            for kind, name in re.findall(r"(?:^|; |then |or )(harness|nox -s) ([a-z]+)", text)
        ]
    assert len(named) > 20
    assert [
        each
        for each in named
        if each[2] not in (commands if each[1] == "harness" else {*sessions, "reproduce"})
    ] == []


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/env/bin/python")
    return tmp_path


def test_an_extra_is_installed_as_the_program_was(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requires = ["rich>=14", 'matplotlib>=3.10; extra == "plots"', "scipy; extra == 'other'"]
    monkeypatch.setattr(metadata, "requires", lambda _: requires)
    assert to_install("plots") == "/env/bin/python -m pip install 'matplotlib>=3.10'"
    monkeypatch.setattr(installed, "find_spec", lambda _: None)
    assert to_install("plots") == "uv pip install --python /env/bin/python 'matplotlib>=3.10'"
    assert to_upgrade("docker") == "uv pip install --python /env/bin/python --upgrade docker"
    assert not (prefix / "made-from.json").exists()


def test_a_program_that_is_not_installed_names_its_checkout(
    prefix: Path, monkeypatch: pytest.MonkeyPatch, project_root: Path
) -> None:
    def nothing(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    assert prefix.is_dir()
    monkeypatch.setattr(metadata, "requires", nothing)
    assert to_install("plots").endswith(f"--editable '{project_root}[plots]'")


def test_an_environment_with_a_lock_gets_nothing_beside_it(
    prefix: Path, project_root: Path
) -> None:
    (prefix / "made-from.json").touch()
    assert to_install("plots").startswith(f"rm {prefix}/made-from.json, then the same nox session")
    assert "nox" in to_upgrade("docker")
    for extra in ("notify", "tensorboard"):
        lock = project_root / "requirements" / "watch.txt"
        assert to_install(extra).endswith(f"install --require-hashes --requirement {lock}")
        assert lock.is_file()
    assert to_install("trackio").startswith("python3 -m venv trackio && ")


def test_a_workload_says_its_own_scenario(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        message = "no GPU"
        raise HostError(message, "harness run SCENARIO --profile cpu")

    spec = tmp_path / "spec.json"
    spec.write_text('{"scenario": "a99-nap", "profile": "cpu", "workload": "noop", "params": {}}')
    monkeypatch.setattr(workloads, "run", refuse)
    assert workloads.main(["noop", str(spec), str(tmp_path)]) == 3
    assert capsys.readouterr().err == "no GPU\n  next: harness run a99-nap --profile cpu\n"
