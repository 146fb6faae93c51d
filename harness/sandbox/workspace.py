"""A workspace as a value, each path with its bytes, and how it is written to and read from disk.

Paths are relative, with ``/``. A directory that holds nothing is a path that ends in ``/``, with no
bytes; any other directory is known by what lies below it. A workspace's sorted paths are therefore
the listing that an agent is shown (article 32, section "The sandbox").

A link to a regular file inside the workspace reads as that file. Any other link (out of the
workspace, to a directory, to nothing), and whatever is neither file, directory nor link, is left
out: nothing outside is ever read, and no pipe is ever waited for.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from harness.errors import HarnessError, InputError, Problem
from harness.sandbox.limits import MAX_WORKSPACE_BYTES, MAX_WORKSPACE_PATHS

Workspace = Mapping[str, bytes]


class WorkspaceOverflow(HarnessError):  # noqa: N818 - a state, not a mistake
    """A model left more in its workspace than is read back; its rollout failed with this cause."""


def path_problem(path: str) -> str:
    """Return why `path` cannot name a file of a workspace; empty when it can."""
    parts = path.removesuffix("/").split("/")
    if not path or "\0" in path:
        return "path is empty or holds a NUL"
    if path.startswith("/"):
        return "path is absolute"
    if any(part in {"", ".", ".."} for part in parts):
        return "path is not in its shortest form, or leaves the workspace"
    return ""


def workspace_problems(workspace: Workspace) -> Iterator[Problem]:
    """Yield every reason why `workspace` cannot be laid out as files."""
    for path, content in workspace.items():
        if message := path_problem(path):
            yield Problem(message=message, key=path or "''")
        elif path.endswith("/") and content:
            yield Problem(message="a directory holds bytes", key=path)
        for above in _above(path):
            if above in workspace:
                is_empty = above.endswith("/")
                message = "lies in an empty directory" if is_empty else "lies below a file"
                yield Problem(message=message, key=path, value=above)


def _above(path: str) -> Iterator[str]:
    """Yield what `path` excludes: each directory above it, as a file and as an empty directory."""
    if path.endswith("/"):
        yield path[:-1]
    for parent in list(PurePosixPath(path).parents)[:-1]:
        yield str(parent)
        yield f"{parent}/"


def write_tree(root: Path, workspace: Workspace) -> None:
    """Lay `workspace` out in the directory `root`, which exists and is empty.

    Raises:
        InputError: a path leaves the workspace, or is both a file and a directory.
    """
    if problems := tuple(workspace_problems(workspace)):
        raise InputError(problems)
    for path, content in workspace.items():
        place = root / path
        if path.endswith("/"):
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def read_tree(
    root: Path,
    *,
    max_bytes: int = MAX_WORKSPACE_BYTES,
    max_paths: int = MAX_WORKSPACE_PATHS,
) -> Workspace:
    """Return what lies in the directory `root`; nothing may be writing there meanwhile.

    Raises:
        WorkspaceOverflow: more bytes or paths than allowed, or a directory that cannot be read.
    """
    workspace: dict[str, bytes] = {}
    left = max_bytes
    for path, size in _entries(root.resolve()):
        left -= size
        if left < 0 or len(workspace) >= max_paths:
            message = f"the workspace holds more than {max_bytes} bytes or {max_paths} paths"
            raise WorkspaceOverflow(message)
        workspace[path] = b"" if path.endswith("/") else (root / path).read_bytes()
    return dict(sorted(workspace.items()))


def list_tree(root: Path) -> tuple[str, ...]:
    """Return the sorted paths that `read_tree` would return, without reading any file."""
    return tuple(sorted(path for path, _ in _entries(root.resolve())))


def is_there(workspace: Workspace, path: str) -> bool:
    """Whether a file or a directory of this name exists."""
    name = path.removesuffix("/")
    below = f"{name}/"
    return name in workspace or any(each.startswith(below) for each in workspace)


def _entries(root: Path) -> Iterator[tuple[str, int]]:
    """Yield every regular file and empty directory below `root`, with its size in bytes."""
    begin = len(f"{root}/")
    for folder, folders, files in os.walk(root, onerror=_refuse, followlinks=False):
        for name in (*folders, *files):
            place = os.path.join(folder, name)  # noqa: PTH118 - a deep tree makes many long paths
            if (size := _size_of_file(root, place)) is not None:
                yield place[begin:], size
        if not folders and not files and len(folder) > begin:
            yield f"{folder[begin:]}/", 0


def _refuse(error: OSError) -> None:
    """Refuse what a model made unreadable or gave too long a path, instead of skipping it."""
    message = f"the workspace holds a directory that cannot be read: {error.strerror}"
    raise WorkspaceOverflow(message) from error


def _size_of_file(root: Path, place: str) -> int | None:
    """Bytes of a regular file, or of the one inside `root` that a link leads to; else None."""
    facts = os.lstat(place)
    if not stat.S_ISLNK(facts.st_mode):
        return facts.st_size if stat.S_ISREG(facts.st_mode) else None
    try:
        behind = os.open(place, os.O_PATH)  # names what is there, and opens nothing
    except OSError:  # it leads to nothing, or in a loop
        return None
    try:
        facts = os.fstat(behind)
        # resolving a long path by hand would take a call for each of its parts
        target = Path(f"/proc/self/fd/{behind}").readlink()
    finally:
        os.close(behind)
    is_inside = stat.S_ISREG(facts.st_mode) and target.is_relative_to(root)
    return facts.st_size if is_inside else None
