"""Which source a result was made with: the commit, and how the tree differs from it."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from harness.printable import plain
from harness.probes.reading import NotSupported, Reasons, check_absent
from harness.records import record
from harness.results.redact import redact

# what running the harness changes makes no tree dirty: results, and the lock of the images built
# on this machine, which every run's environment names by digest
_BY_HAND = (".", ":(exclude)results", ":(exclude)containers/images.lock.yaml")
_TIMEOUT_S = 20.0


@record
class Code:
    """The state of a source tree; what running the harness changes aside.

    Attributes:
        commit: full hash.
        dirty: whether tracked or new files differ from the commit.
        difference: sha256 of the difference and of the names of new files; None for a clean tree.
        absent: field -> why it is None.
    """

    commit: str | None
    dirty: bool | None
    difference: str | None
    absent: Mapping[str, str]

    def __post_init__(self) -> None:
        check_absent(self)


@cache
def code_state(project: Path) -> Code:
    """Return the state of the source tree at `project`, asked of git once a process.

    A folder that merely lies within somebody else's work tree, as an unpacked archive may, has no
    state: that tree's commit says nothing of it.
    """
    why = Reasons()
    status = _git(project, "status", "--porcelain=v2", "--branch", "--untracked-files=all")
    if not isinstance(status, NotSupported) and not _is_tracked(project):
        reason = "the git tree around this folder does not hold its files"
        status = NotSupported(reason=reason)
    if isinstance(status, NotSupported):
        unknown = dict.fromkeys(("commit", "dirty", "difference"), status.reason)
        return Code(commit=None, dirty=None, difference=None, absent=unknown)
    lines = status.decode("utf-8", "replace").splitlines()
    head = next(line for line in lines if line.startswith("# branch.oid "))
    commit = head.removeprefix("# branch.oid ")
    none = NotSupported(reason="no commit yet")
    return Code(
        commit=why.known("commit", none if commit == "(initial)" else commit),
        dirty=bool(_changes(lines)),
        difference=why.known("difference", _difference(project, _changes(lines))),
        absent=why,
    )


def _is_tracked(project: Path) -> bool:
    """Say whether `project` is the top of its work tree, or that tree tracks files in it."""
    top = _git(project, "rev-parse", "--show-cdup")
    if top in (b"\n", b""):
        return True
    tracked = _git(project, "ls-files", "-z")
    return not isinstance(tracked, NotSupported) and bool(tracked)


def _changes(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith("# ")]


def _difference(project: Path, changes: list[str]) -> str | NotSupported:
    if not changes:
        return NotSupported(reason="the tree is as committed")
    diff = _git(project, "diff", "HEAD", "--binary", "--no-ext-diff", "--no-color")
    if isinstance(diff, NotSupported):
        return diff
    new = [line for line in changes if line.startswith("? ")]
    return hashlib.sha256(diff + "\n".join(new).encode()).hexdigest()


def _git(project: Path, *arguments: str) -> bytes | NotSupported:
    paths = () if arguments[0] == "rev-parse" else ("--", *_BY_HAND)
    command = ["git", "-C", str(project), *arguments, *paths]
    # a hook's GIT_DIR names its own repository, and we ask for the one around `project`
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith("GIT_CONFIG_")
    }
    # never in the way of the user's own git, and in words that its manual explains
    quiet = {**inherited, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, capture_output=True, check=True, timeout=_TIMEOUT_S, env=quiet
        )
    except FileNotFoundError:
        return NotSupported(reason="git is not installed")
    except subprocess.CalledProcessError as error:
        said, tree = error.stderr.decode("utf-8", "replace"), str(project.resolve())
        reason = plain(redact(said.partition("\n")[0].replace(tree, ".")))
        return NotSupported(reason=f"git exits {error.returncode}: {reason}")
    except subprocess.TimeoutExpired:
        return NotSupported(reason=f"git did not answer within {_TIMEOUT_S:g} s")
    return done.stdout
