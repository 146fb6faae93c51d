"""Folders that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.atomic_dir import whole_folder


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "deep" / "made") as new:
        (new / "one").write_text("1")
        assert not (tmp_path / "deep" / "made").exists()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["made"]
    assert (tmp_path / "deep" / "made" / "one").read_text() == "1"


def test_a_folder_that_was_there_is_replaced(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with whole_folder(tmp_path / "made") as folder:
            (folder / text).write_text(text)
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_what_fails_leaves_the_old_folder(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "made") as folder:
        (folder / "kept").write_text("kept")
    with pytest.raises(RuntimeError):
        _fail_half_way(tmp_path / "made")
    assert [path.name for path in tmp_path.rglob("*")] == ["made", "kept"]


def _fail_half_way(folder: Path) -> None:
    with whole_folder(folder) as new:
        (new / "half").write_text("half")
        raise RuntimeError
