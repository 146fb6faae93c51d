"""Whatever an agent leaves: links lead to files of the workspace, and to nothing else."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.sandbox import workspace as module
from harness.sandbox.workspace import WorkspaceOverflow, list_tree, read_tree

NAMES = ("a", "b", "c")
SECRET = b"not of the workspace"
_PART = st.sampled_from([*NAMES, ".", "..", "", "tree", "outside"])
_TARGET = st.one_of(
    st.lists(_PART, min_size=1, max_size=6).map("/".join),
    # by the path of the root itself, and by that of what lies beside it
    st.lists(_PART, max_size=4).map(lambda parts: "/".join(("{root}", *parts))),
    st.sampled_from(["/", "/proc/self/cwd", "/proc/self/root", "/etc/passwd", "{above}/outside"]),
)
_PATH = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
_TREE = st.lists(
    st.tuples(st.sampled_from(["file", "folder", "link"]), _PATH, _TARGET), max_size=12
)


def lay_out(root: Path, given_: Sequence[tuple[str, str, str]]) -> None:
    """Make what can be made of it."""
    for kind, path, target in given_:
        place = root / path
        try:
            if os.path.realpath(place.parent) != str(place.parent):
                continue  # below a link: not of the tree
            place.parent.mkdir(parents=True, exist_ok=True)
            if kind == "file":
                with place.open("xb") as file:
                    file.write(path.encode())
            elif kind == "folder":
                place.mkdir()
            else:
                place.symlink_to(target.format(root=root, above=root.parent))
        except OSError:
            continue


def expected(root: Path) -> dict[str, bytes]:
    """What lies there, by the standard library's own way through links."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            place = Path(folder, name)
            try:
                real = Path(os.path.realpath(place, strict=True))
            except OSError:
                continue
            if real.is_file() and real.is_relative_to(root):
                found[str(place.relative_to(root))] = real.read_bytes()
        if not folders and not files and folder != str(root):
            found[f"{Path(folder).relative_to(root)}/"] = b""
    return found


def _no_such_call(_root: int, _path: str) -> int:
    raise OSError(errno.ENOSYS, "openat2")


@given(_TREE)
def test_a_link_reads_as_the_file_inside_that_it_leads_to_and_as_nothing_else(
    given_: list[tuple[str, str, str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        above = Path(folder).resolve()
        (above / "outside").write_bytes(SECRET)
        root = above / "tree"
        root.mkdir()
        lay_out(root, given_)
        found = read_tree(root)
        assert found == expected(root)
        assert list_tree(root) == tuple(sorted(found))
        with patch.object(module, "_open_beneath", _no_such_call):  # an older kernel
            assert read_tree(root) == found


def test_a_chain_of_links_is_followed_as_far_as_the_kernel_does(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(b"found")
    for number in range(1, 45):
        (tmp_path / f"{number}").symlink_to(f"{number - 1}")
    by_the_kernel = read_tree(tmp_path)
    assert sorted(map(int, by_the_kernel)) == [*range(41)]
    with patch.object(module, "_open_beneath", _no_such_call):
        assert read_tree(tmp_path) == by_the_kernel


def test_links_that_take_too_long_to_follow_are_an_overflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READING_S", 0.05)
    (tmp_path / "d").mkdir()
    detour = "d/../" * 700
    (tmp_path / "0").write_bytes(b"")
    for number in range(1, 39):
        (tmp_path / f"{number}").symlink_to(f"{detour}{number - 1}")
    for number in range(300):
        (tmp_path / f"link{number}").symlink_to(f"{detour}38")
    for read in (read_tree, list_tree):
        with pytest.raises(WorkspaceOverflow, match="s of a processor"):
            read(tmp_path)
