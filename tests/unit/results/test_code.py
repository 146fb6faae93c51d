"""The commit that a result names is that of the code that made it, or absent with a reason."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.records import (
    FinishedRun,
    Measurement,
    Profile,
    RunOutcome,
    RunSpec,
    Status,
    Usage,
    to_json,
)
from harness.report.dossier import provenance
from harness.results.code import Code, code_state


def git(folder: Path, *words: str) -> str:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    named = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    done = subprocess.run(
        ["git", "-C", str(folder), *named, *words],  # noqa: S607 - the one that a user has
        capture_output=True,
        check=True,
        env=plain,
    )
    return done.stdout.decode().strip()


def repository(folder: Path) -> str:
    """Make a repository of one file in a folder and return its commit."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    (folder / "file").write_text(folder.name, encoding="utf-8")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    return git(folder, "rev-parse", "HEAD")


def state(folder: Path) -> Code:
    code_state.cache_clear()
    return code_state(folder)


def test_the_commit_is_that_of_the_tree(tmp_path: Path) -> None:
    commit = repository(tmp_path / "ours")
    found = state(tmp_path / "ours")
    assert (found.commit, found.dirty) == (commit, False)


def test_a_hook_of_another_repository_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, other = repository(tmp_path / "ours"), repository(tmp_path / "other")
    assert commit != other
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other" / ".git" / "index"))
    found = state(tmp_path / "ours")
    assert (found.commit, found.dirty) == (commit, False)
    (tmp_path / "archive").mkdir()
    assert state(tmp_path / "archive").commit is None


@pytest.mark.parametrize("ignored", [True, False])
def test_an_archive_inside_another_work_tree_has_no_commit(
    tmp_path: Path, *, ignored: bool
) -> None:
    repository(tmp_path / "other")
    archive = tmp_path / "other" / "unpacked"
    archive.mkdir()
    (archive / "file").write_text("ours", encoding="utf-8")
    if ignored:
        (tmp_path / "other" / ".gitignore").write_text("unpacked\n", encoding="utf-8")
    found = state(archive)
    assert (found.commit, found.dirty) == (None, None)
    assert found.absent["commit"] == "the git tree around this folder does not hold its files"


def test_a_folder_that_a_larger_repository_holds_has_its_commit(tmp_path: Path) -> None:
    repository(tmp_path / "other")
    inside = tmp_path / "other" / "inside"
    inside.mkdir()
    (inside / "file").write_text("ours", encoding="utf-8")
    git(tmp_path / "other", "add", ".")
    git(tmp_path / "other", "commit", "-q", "-m", "two")
    assert state(inside).commit == git(tmp_path / "other", "rev-parse", "HEAD")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_tree_of_another_owner_is_explained_in_the_words_of_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(tmp_path / "ours")
    for path in (tmp_path / "ours", *(tmp_path / "ours").rglob("*")):
        shutil.chown(path, 12345, 12345)
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    found = state(tmp_path / "ours")
    assert found.commit is None
    assert "dubious ownership" in found.absent["commit"]
    assert str(tmp_path) not in found.absent["commit"]
    run = FinishedRun(
        spec=RunSpec(scenario="a99", profile=Profile.CPU, workload="noop", params={}),
        outcome=RunOutcome(
            status=Status.FINISHED, runtime="local", device="", usage=Usage(wall_s=1.0)
        ),
        measurements=(),
        environment={"code": to_json(found)},
    )
    said = " ".join(provenance([run]))
    assert "served" not in said
    assert "Commit not recorded: git exits 128: fatal: detected dubious ownership" in said


def test_a_caption_says_which_engines_served() -> None:
    runs = [
        FinishedRun(
            spec=RunSpec(scenario="a99", profile=Profile.SPARK, workload="noop", params={}),
            outcome=RunOutcome(
                status=Status.FINISHED, runtime="docker", device="", usage=Usage(wall_s=1.0)
            ),
            measurements=[
                Measurement(metric=metric, value=engine, unit="text", where={})
                for metric, engine in (("serve.engine", version), ("chat.engine", "vllm 0.20.0"))
            ],
        )
        for version in ("vllm 0.32.0", "vllm 0.20.0")
    ]
    assert "Models served by vllm 0.20.0, vllm 0.32.0." in provenance(runs)
