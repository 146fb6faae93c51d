"""An expectation that is changed after a run, by the commands."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main

SCENARIO = "a24-derisk-cloud-pretraining"


@pytest.fixture
def project(project_root: Path, tmp_path: Path) -> Path:
    """A project of one scenario that is a calculator, run once."""
    for name in ("containers", f"scenarios/{SCENARIO}"):
        shutil.copytree(project_root / name, tmp_path / name)
    (tmp_path / ".gitignore").write_text("/results/local/\n", encoding="utf-8")
    author = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    for words in (("init",), ("add", "--all"), ("commit", "--message", "All of it")):
        command = ["git", "-C", str(tmp_path), *author, words[0], "--quiet", *words[1:]]
        if words[0] == "add":
            command.remove("--quiet")
        subprocess.run(command, check=True)
    assert main(["run", "a24", "--profile", "cpu", "-q", "--project", str(tmp_path)]) == 0
    return tmp_path


def checked(
    project: Path, capsys: pytest.CaptureFixture[str], *words: str
) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    main(["check", "a24", "--profile", "cpu", "--json", "--project", str(project), *words])
    document = json.loads(capsys.readouterr().out)
    entries = document["scenarios"][SCENARIO]["answer"]["entries"]
    return {each["expectation"]: each for each in entries}


def test_a_bound_moved_after_a_run_saves_and_spoils_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = project / "scenarios" / SCENARIO / "expectations.yaml"
    before = checked(project, capsys)
    assert not any(each["changed"] for each in before.values())
    text = ledger.read_text(encoding="utf-8")
    moved = text.replace("expect: {low: 5.0, high: 70.0}", "expect: {low: 69.0, high: 70.0}")
    assert moved != text
    ledger.write_text(moved, encoding="utf-8")
    after = checked(project, capsys)
    changed = {name: each for name, each in after.items() if each["changed"]}
    assert changed
    for name, each in changed.items():
        assert each["kind"] == before[name]["kind"] == "REPRODUCED"
        assert each["expected_text"] == before[name]["expected_text"]
        assert each["detail"].startswith("changed after results: judged as it was; the present ")
    assert any("gives OUTSIDE" in each["detail"] for each in changed.values())
    assert main(["check", "a24", "--profile", "cpu", "--project", str(project)]) == 0
    assert f"{len(changed)} changed after results" in capsys.readouterr().out

    # made again, the present text judges them
    words = ["--profile", "cpu", "--project", str(project), "--store", str(project / "second")]
    assert main(["run", "a24", "-q", *words]) == 1
    assert "changed after results" not in capsys.readouterr().out


def test_published_results_keep_the_ledger_that_they_were_made_with(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = checked(project, capsys)
    assert main(["publish", "a24", "--profile", "cpu", "--project", str(project)]) == 0
    ledger = project / "scenarios" / SCENARIO / "expectations.yaml"
    text = ledger.read_text(encoding="utf-8")
    ledger.write_text(text.replace("{low: 5.0, high: 70.0}", "{low: 69.0, high: 70.0}"), "utf-8")
    shutil.rmtree(project / "results" / "local")
    after = checked(project, capsys, "--store", str(project / "results"))
    assert any(each["changed"] for each in after.values())
    assert {name: each["kind"] for name, each in after.items()} == {
        name: each["kind"] for name, each in before.items()
    }
