"""How this program was installed, and so how something is added to it.

A session of nox makes an environment from a lock, with hashes: what pip puts into it beside the
lock would be another version on every machine, so no remedy asks for that.
"""

from __future__ import annotations

import shlex
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import harness

_NAME = "spark-article-harness"
_ROOT = Path(harness.__file__).resolve().parent.parent
_STAMP = "made-from.json"  # of an environment that noxfile.py has made
_LOCKED = {"notify": "watch.txt", "tensorboard": "watch.txt"}  # extras that no session's lock has


def to_install(extra: str) -> str:
    """Return the command that installs what an extra asks for where this program runs."""
    if not _is_locked():
        return _installer("install", *(_asked_by(extra) or ["--editable", f"{_ROOT}[{extra}]"]))
    if extra in _LOCKED:
        lock = str(_ROOT / "requirements" / _LOCKED[extra])
        return _installer("install", "--require-hashes", "--requirement", lock)
    if extra in {"exports", "trackio", "verifiers"}:  # other versions than the locks hold
        project = shlex.quote(f"{_ROOT}[{extra}]")
        return f"python3 -m venv {extra} && {extra}/bin/pip install --editable {project}"
    return _made_again()


def to_upgrade(package: str) -> str:
    """Return the command that brings a newer version of a package that this program needs."""
    if _is_locked():
        return "git pull, then the same nox session: the environment's lock decides its version"
    return _installer("install", "--upgrade", package)


def _asked_by(extra: str) -> list[str]:
    """Return what an extra asks for; nothing where only the path of Python leads to us."""
    try:
        requirements = metadata.requires(_NAME) or []
    except metadata.PackageNotFoundError:
        return []
    marked = (requirement.partition(";") for requirement in requirements)
    return [asked.strip() for asked, _, marker in marked if f'"{extra}"' in marker]


def _is_locked() -> bool:
    return (Path(sys.prefix) / _STAMP).exists()


def _made_again() -> str:
    stamp = shlex.quote(str(Path(sys.prefix) / _STAMP))
    return f"rm {stamp}, then the same nox session: it makes the environment again"


def _installer(*arguments: str) -> str:
    """Return a command of the installer that this Python has: pip, else uv."""
    if find_spec("pip") is not None:
        return shlex.join([sys.executable, "-m", "pip", *arguments])
    verb, *rest = arguments
    return shlex.join(["uv", "pip", verb, "--python", sys.executable, *rest])
