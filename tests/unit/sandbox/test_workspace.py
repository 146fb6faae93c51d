from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.sandbox.limits import MAX_LISTING_BYTES
from harness.sandbox.workspace import (
    WorkspaceOverflow,
    is_there,
    list_tree,
    path_problem,
    read_tree,
    workspace_problems,
    write_tree,
)


@pytest.mark.parametrize(
    "path",
    [
        *("", "/a", "a//b", "a/../b", "./a", "..", "a/.", "a\0b", "/", "a//"),
        *("a" * 256, "\u00e4" * 128, "a/" * 2001 + "a", "\ud800"),
    ],
)
def test_a_path_that_leaves_the_workspace_is_refused(path: str) -> None:
    assert path_problem(path)


@pytest.mark.parametrize(
    "path", ["a", "a/b.c", ".github/x", "a b", "a/", "...", "ä", "a" * 255, "\udcff"]
)
def test_any_other_path_is_none_of_our_business(path: str) -> None:
    assert path_problem(path) == ""


@pytest.mark.parametrize(
    "workspace",
    [{"a": b"", "a/b": b""}, {"a": b"", "a/": b""}, {"a/": b"", "a/b": b""}, {"a/": b"x"}],
)
def test_what_is_both_file_and_directory_cannot_be_laid_out(
    workspace: dict[str, bytes], tmp_path: Path
) -> None:
    assert list(workspace_problems(workspace))
    with pytest.raises(InputError):
        write_tree(tmp_path, workspace)
    assert list(tmp_path.iterdir()) == []


def test_what_is_laid_out_is_read_back(tmp_path: Path) -> None:
    workspace = {".hidden/x": b"1", "a/b/c.txt": b"\x00\xff", "empty/": b"", "top": b""}
    write_tree(tmp_path, workspace)
    assert read_tree(tmp_path) == workspace
    assert list_tree(tmp_path) == tuple(workspace)


def test_nothing_outside_is_ever_read(tmp_path: Path) -> None:
    root, secret = tmp_path / "root", tmp_path / "secret"
    (root / "in").mkdir(parents=True)
    secret.write_text("secret")
    (root / "in" / "file").write_text("ours")
    (root / "to-file").symlink_to("in/file")
    (root / "out").symlink_to(secret)
    (root / "out-relative").symlink_to("../secret")
    (root / "out-directory").symlink_to(tmp_path)
    (root / "directory").symlink_to("in")
    (root / "loop").symlink_to("loop")
    (root / "nowhere").symlink_to("nothing")
    os.mkfifo(root / "pipe")
    assert read_tree(root) == {"in/file": b"ours", "to-file": b"ours"}


def test_a_root_that_is_a_link_is_the_workspace(tmp_path: Path) -> None:
    write_tree(tmp_path, {"real/a": b"1"})
    (tmp_path / "link").symlink_to("real")
    assert read_tree(tmp_path / "link") == {"a": b"1"}


def test_too_much_is_an_overflow(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": bytes(10), "b": bytes(10)})
    assert len(read_tree(tmp_path, max_bytes=20, max_paths=2)) == 2
    with pytest.raises(WorkspaceOverflow):
        read_tree(tmp_path, max_bytes=19)
    with pytest.raises(WorkspaceOverflow):
        read_tree(tmp_path, max_paths=1)


def test_a_directory_is_there_when_something_lies_in_it() -> None:
    workspace = {"a/b/c": b"", "e/": b""}
    assert all(is_there(workspace, path) for path in ("a", "a/", "a/b", "a/b/c", "e", "e/"))
    assert not any(is_there(workspace, path) for path in ("b", "a/b/c/d", "a/bc", "f"))


def test_what_may_be_laid_out_may_be_read_back(tmp_path: Path) -> None:
    """As many bytes of paths as there may be, each file in a folder of its own."""
    count = 2100
    width = (MAX_LISTING_BYTES // count - 1) // 2
    paths = [f"{number:0{width}}/{number:0{width}}" for number in range(count)]
    assert 0.99 * MAX_LISTING_BYTES < sum(map(len, paths)) <= MAX_LISTING_BYTES
    workspace = dict.fromkeys(paths, b"")
    assert list(workspace_problems(workspace)) == []
    more = dict.fromkeys([*paths, *(f"{number}" * 200 for number in range(9))], b"")
    assert len(list(workspace_problems(more))) == 1
    write_tree(tmp_path, workspace)
    assert list_tree(tmp_path) == tuple(sorted(workspace))
