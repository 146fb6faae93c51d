"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import atomic
from harness.atomic import new_folder, sync, write_text
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


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "article.md"
    path.write_text("old", encoding="utf-8")
    path.chmod(mode)
    write_text(path, "new")
    assert (path.read_text(encoding="utf-8"), path.stat().st_mode & 0o777) == ("new", mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_that_is_replaced_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "article.md"
    path.write_text("old", encoding="utf-8")
    os.chown(path, 12345, 54321)
    write_text(path, "new")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


def test_every_name_of_a_file_shows_what_is_written(tmp_path: Path) -> None:
    path, other, link = (tmp_path / name for name in ("article.md", "hard.md", "soft.md"))
    path.write_text("old", encoding="utf-8")
    other.hardlink_to(path)
    link.symlink_to(path.name)
    for name, text in ((path, "one"), (other, "two"), (link, "three")):
        write_text(name, text)
        assert {each.read_text(encoding="utf-8") for each in (path, other, link)} == {text}
        assert link.is_symlink()
        assert path.samefile(other)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["article.md", "hard.md", "soft.md"]


@pytest.mark.parametrize("exchanges", [True, False])
def test_no_reader_finds_a_folder_missing_or_half_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, exchanges: bool
) -> None:
    """A kill at any system call leaves the old folder or the new one."""
    place = tmp_path / "made"
    if not exchanges:
        monkeypatch.setattr(atomic, "_exchange", lambda *_: False)
    for at in range(12):
        with new_folder(place) as new:
            (new / "text").write_text("old", encoding="utf-8")
        if child := os.fork():
            os.waitpid(child, 0)
        else:
            _killed_at(at, place)
        if exchanges:
            assert (place / "text").read_text(encoding="utf-8") in ("old", "new")
        with new_folder(place) as new:  # the next writer begins by putting things right
            assert (place / "text").read_text(encoding="utf-8") in ("old", "new")
            (new / "text").write_text("next", encoding="utf-8")
        assert [path.name for path in tmp_path.iterdir()] == ["made"]


def _killed_at(at: int, place: Path) -> None:
    """Replace a folder in a process that ends before its system call of that number."""
    left = [at]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def made(*words: Any, **named: Any) -> Any:
            if not left[0]:
                os._exit(0)
            left[0] -= 1
            return call(*words, **named)

        return made

    atomic._exchange = counted(atomic._exchange)
    os.rename, os.fsync = counted(os.rename), counted(os.fsync)
    os.rmdir, os.unlink = counted(os.rmdir), counted(os.unlink)
    try:
        with new_folder(place) as new:
            (new / "text").write_text("new", encoding="utf-8")
    finally:
        os._exit(0)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_syncs_no_folders_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(tmp_path / "table.md", "text")
    with new_folder(tmp_path / "made") as new:
        (new / "text").write_text("new", encoding="utf-8")
    assert (tmp_path / "made" / "text").read_text(encoding="utf-8") == "new"
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match="broken"):
        sync(tmp_path)
