"""Files and folders that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.atomic import new_folder, write_text
from harness.errors import HostError


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    with new_folder(tmp_path / "deep" / "made") as new:
        (new / "one").write_text("1")
        assert not (tmp_path / "deep" / "made").exists()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["made"]
    assert (tmp_path / "deep" / "made" / "one").read_text() == "1"


def test_a_folder_that_was_there_is_replaced(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with new_folder(tmp_path / "made") as folder:
            (folder / text).write_text(text)
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_what_fails_leaves_the_old_folder(tmp_path: Path) -> None:
    with new_folder(tmp_path / "made") as folder:
        (folder / "kept").write_text("kept")
    with pytest.raises(RuntimeError):
        _fail_half_way(tmp_path / "made")
    assert [path.name for path in tmp_path.rglob("*")] == ["made", "kept"]


def _fail_half_way(folder: Path) -> None:
    with new_folder(folder) as new:
        (new / "half").write_text("half")
        raise RuntimeError


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    for text in ("old\n", "text\n"):
        write_text(tmp_path / "new" / "table.md", text)
    assert (tmp_path / "new" / "table.md").read_text(encoding="utf-8") == "text\n"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["table.md"]


def test_a_file_that_cannot_be_written_is_a_fault_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(HostError, match=r"cannot write to .*table\.md"):
        write_text(tmp_path / "file" / "table.md", "text\n")
