"""``harness build``: gigabytes are fetched only for images that were asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import main
from harness.commands import build
from harness.scenario.images import read_lock


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for the registry; gives the names that were looked up."""
    names: list[str] = []

    def resolve(_containers: Path, name: str, *, accept: bool) -> str:
        assert not accept
        names.append(name)
        return "sha256:0"

    monkeypatch.setattr(build, "resolve", resolve)
    return names


@pytest.mark.parametrize("options", [[], ["--resolve"]])
def test_no_image_named_is_refused_with_the_images_there_are(
    project_root: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", *options, "--project", str(project_root)]) == 2
    said = capsys.readouterr().err
    assert "--all" in said
    assert "allowed: cpu, curator, nemo, pretrain, rl" in said


def test_all_is_every_image_of_the_lock(project_root: Path, looked_up: list[str]) -> None:
    assert main(["build", "--resolve", "--all", "--project", str(project_root)]) == 0
    assert looked_up == list(read_lock(project_root / "containers"))


def test_a_named_image_is_the_only_one(project_root: Path, looked_up: list[str]) -> None:
    assert main(["build", "--resolve", "cpu", "--project", str(project_root)]) == 0
    assert looked_up == ["cpu"]
